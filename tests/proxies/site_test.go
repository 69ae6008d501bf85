// Package proxies_test tests the dashboard behind nginx and Caddy, with the configuration
// files in examples/proxies.
package proxies_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/front"
	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, "dashboard") }

const password = "correct horse battery staple"

// withRoles returns the address of the account with n roles. Their names are as long as
// team-001-analyst.
func withRoles(n int) string { return fmt.Sprintf("roles-%d@example.com", n) }

func accounts() []authtest.Account {
	var list []authtest.Account
	for _, n := range []int{1, 10, 60, 100, 300} {
		a := authtest.Account{Email: withRoles(n), Password: password, Roles: []string{"user"}}
		for i := 1; i < n; i++ {
			a.Roles = append(a.Roles, fmt.Sprintf("team-%03d-analyst", i))
		}
		list = append(list, a)
	}
	return list
}

// dashboard starts the program and returns its address, host:port.
func dashboard(t *testing.T, env ...string) string {
	t.Helper()
	auth := authtest.NewServer(t, authtest.Options{PasswordCost: -1, Accounts: accounts()})
	p := proc.Start(t, "dashboard", append([]string{
		"AUTH_URL=" + auth.URL, "SESSION_KEYS=" + session.GenerateKey().Encode(), "TRUSTED_PROXIES=127.0.0.1/32",
	}, env...))
	return strings.TrimPrefix(p.URL, "http://")
}

// starters has the functions that start a proxy with a configuration file in front of a
// program.
var starters = map[string]func(t *testing.T, addr, suffix string, pairs ...string) *front.Front{
	"nginx": func(t *testing.T, addr, suffix string, pairs ...string) *front.Front {
		return front.Nginx(t, file("nginx"+suffix+".conf"), append([]string{"127.0.0.1:8080", addr}, pairs...)...)
	},
	"caddy": func(t *testing.T, addr, suffix string, pairs ...string) *front.Front {
		return front.Caddy(t, file("Caddyfile"+suffix), append([]string{"127.0.0.1:8080", addr}, pairs...)...)
	},
}

func file(name string) string { return filepath.Join("../../examples/proxies", name) }

// post posts the sign-in form below a prefix.
func post(f *front.Front, client *http.Client, prefix, email string, fields ...string) (*http.Response, string) {
	f.T.Helper()
	form := url.Values{"email": {email}, "password": {password}, "return_to": {prefix + "/dashboard"}}
	return f.Do(client, "POST", prefix+"/login", form.Encode(), append([]string{
		"Content-Type", "application/x-www-form-urlencoded", "Origin", front.Origin, "Accept", "text/html",
	}, fields...)...)
}

// signIn signs in through the proxy. It returns the client and the response.
func signIn(f *front.Front, prefix, email string) (*http.Client, *http.Response) {
	f.T.Helper()
	client := f.Browser()
	res, body := post(f, client, prefix, email)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != prefix+"/dashboard" {
		f.T.Fatalf("sign-in of %s: %d %q %.300s", email, res.StatusCode, res.Header.Get("Location"), body)
	}
	return client, res
}

// setCookieBytes returns the size of a response's Set-Cookie fields, with their names.
func setCookieBytes(h http.Header) (n int) {
	for _, line := range h.Values("Set-Cookie") {
		n += len("Set-Cookie: \r\n") + len(line)
	}
	return n
}

// cookieBytes returns the size of the line in which a browser sends its cookies.
func cookieBytes(client *http.Client) int {
	origin, _ := url.Parse(front.Origin)
	var pairs []string
	for _, c := range client.Jar.Cookies(origin) {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return len("Cookie: " + strings.Join(pairs, "; "))
}
