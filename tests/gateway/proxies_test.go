package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/synmetrix/session/authtest"
)

// starters has the functions that start a proxy in front of a gateway.
var starters = map[string]func(t *testing.T, g program) *front{
	"nginx": func(t *testing.T, g program) *front { return nginx(t, "nginx.conf", "127.0.0.1:8080", g.addr) },
	"caddy": func(t *testing.T, g program) *front { return caddy(t, "Caddyfile", "127.0.0.1:8080", g.addr) },
}

// The gateway protects the service by its configuration file, with a proxy in front.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	for name, start := range starters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth, service := newAuth(t), newService(t)
			f := start(t, startGateway(t, configuration(t, "gateway.yaml", auth.URL, "http://127.0.0.1:3000", service.URL)))
			signsIn(f, auth, service)
			streams(f)
			webSockets(f)
		})
	}
}

// signsIn checks which users reach the service, and the requests that it receives.
func signsIn(f *front, auth *authtest.Server, service *service) {
	f.T.Helper()
	visitor := f.Browser()
	if res, _ := f.Do(visitor, "GET", "/x?a=1", "", "Accept", "text/html"); res.StatusCode != 303 || res.Header.Get("Location") != "/login?return_to=%2Fx%3Fa%3D1" {
		f.T.Errorf("a visitor: %d %q", res.StatusCode, res.Header.Get("Location"))
	}
	if res, _ := f.Do(visitor, "GET", "/x", ""); res.StatusCode != 401 {
		f.T.Errorf("a visitor's script: %d", res.StatusCode)
	}
	if res, body := f.Do(visitor, "GET", "/login", "", "Accept", "text/html"); res.StatusCode != 200 || !strings.Contains(body, "<form") || strings.Contains(body, "HTTPS") {
		f.T.Errorf("the login page: %d %s", res.StatusCode, body)
	}
	user := f.signIn(viewer, "/login")
	before := service.reached()
	if res, _ := f.Do(user, "GET", "/admin/x", ""); res.StatusCode != 403 {
		f.T.Errorf("a user without the role: %d", res.StatusCode)
	}
	if res, _ := f.Do(user, "POST", "/x", "", "Origin", "https://evil.example"); res.StatusCode != 403 {
		f.T.Errorf("a form of another origin: %d", res.StatusCode)
	}
	if service.reached() != before {
		f.T.Error("a refused request has reached the service")
	}

	client := f.signIn(admin, "/login")
	got := f.get(client, "/x", "X-Forwarded-For", "203.0.113.9", "X-Forwarded-User", "forged", "X_Forwarded_User", "forged", "Cookie", "mine=1")
	account, _ := auth.Account(admin)
	for name, want := range map[string]string{
		"X-Forwarded-User": account.ID, "X-Forwarded-Roles": "user,admin", "Cookie": "mine=1",
		"X-Forwarded-Proto": "https", "X-Forwarded-Host": "app.example.org",
	} {
		if got.Header.Get(name) != want {
			f.T.Errorf("%s is %q, want %q", name, got.Header[name], want)
		}
	}
	if text := fmt.Sprint(got.Header); strings.Contains(text, "forged") || got.Host != "app.example.org" {
		f.T.Errorf("%s %s", got.Host, text)
	}
	// The client is this machine, whatever X-Forwarded-For it sends. This machine is also
	// a trusted proxy, so the field counts if the proxy keeps it.
	if addr := got.Header.Get("X-Forwarded-For"); addr != "127.0.0.1" && addr != "203.0.113.9" || strings.Contains(addr, ",") {
		f.T.Errorf("X-Forwarded-For is %q", addr)
	}
	f.get(client, "/admin/x")
	f.get(visitor, "/health")
	res, body := f.Do(client, "POST", "/x", strings.Repeat("x", 2<<20), "Origin", origin)
	var posted received
	if err := json.Unmarshal([]byte(body), &posted); err != nil || len(posted.Body) != 2<<20 {
		f.T.Errorf("a large form: %d %v", res.StatusCode, err)
	}
}

// streams checks that events arrive at once, and that the stream ends with the session.
func streams(f *front) {
	f.T.Helper()
	client := f.signIn(admin, "/login")
	ctx, cancel := context.WithTimeout(f.T.Context(), patience)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", origin+"/events", nil)
	res, err := client.Do(req)
	if err != nil {
		f.T.Fatal(err)
	}
	defer res.Body.Close()
	events := bufio.NewReader(res.Body)
	if line, err := events.ReadString('\n'); line != "data: hello\n" {
		f.T.Fatalf("%d %q %v", res.StatusCode, line, err)
	}
	signOut(f, client, "/logout")
	for err == nil {
		_, err = events.ReadString('\n')
	}
	if ctx.Err() != nil {
		f.T.Error("the event stream is still open after the sign-out")
	}
}

func signOut(f *front, client *http.Client, path string) {
	f.T.Helper()
	if res, body := f.Do(client, "POST", path, "", "Origin", origin); res.StatusCode >= 400 {
		f.T.Errorf("sign-out: %d %s", res.StatusCode, body)
	}
}

// webSockets checks that WebSockets of other origins are rejected, and that WebSockets
// end with the session.
func webSockets(f *front) {
	f.T.Helper()
	client := f.signIn(admin, "/login")
	ctx, cancel := context.WithTimeout(f.T.Context(), patience)
	defer cancel()
	dial := func(from string) (*websocket.Conn, *http.Response, error) {
		c := *client
		c.Timeout = 0
		return websocket.Dial(ctx, origin+"/live", &websocket.DialOptions{HTTPClient: &c, HTTPHeader: http.Header{"Origin": {from}}})
	}
	if _, res, err := dial("https://evil.example"); err == nil || res == nil || res.StatusCode != 403 {
		f.T.Errorf("a WebSocket of another origin: %v", err)
	}
	conn, _, err := dial(origin)
	if err != nil {
		f.T.Fatal(err)
	}
	defer conn.CloseNow()
	if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		f.T.Fatal(err)
	}
	if _, text, err := conn.Read(ctx); string(text) != "user,admin: hello" {
		f.T.Fatalf("%q %v", text, err)
	}
	signOut(f, client, "/logout")
	if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
		f.T.Errorf("the WebSocket after the sign-out: %v", err)
	}
}

// Cookie sessions near the limits of the proxies work, and one over the limit is
// rejected.
func TestLargeCookies(t *testing.T) {
	t.Parallel()
	for name, start := range starters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth, service := newAuth(t, accountsWithRoles(10, 60, 300, 1000)...), newService(t)
			config := configuration(t, "gateway.yaml", auth.URL, "http://127.0.0.1:3000", service.URL, "store: sqlite", "store: cookie", "  file:", "  #")
			f := start(t, startGateway(t, config))
			for roles, chunks := range map[int]int{10: 1, 60: 1, 300: 4} {
				client := f.signIn(manyRoles(roles), "/login")
				got := f.get(client, "/x")
				if n := strings.Count(got.Header.Get("X-Forwarded-Roles"), ","); n != roles {
					t.Errorf("%d roles of %d", n, roles)
				}
				req, _ := http.NewRequest("GET", origin, nil)
				cookies, size := 0, 0
				for _, c := range client.Jar.Cookies(req.URL) {
					size += len(c.Name) + len(c.Value) + len("=; ")
					if strings.Trim(strings.TrimPrefix(c.Name, "__Host-gateway"), "-0123456789") == "" {
						cookies++
					}
				}
				t.Logf("%d roles: %d cookies for the tokens, %d bytes of cookies", roles, cookies, size)
				if cookies < chunks {
					t.Errorf("%d roles are in %d cookies, want %d", roles, cookies, chunks)
				}
			}
			form := "email=" + manyRoles(1000) + "&password=" + strings.ReplaceAll(password, " ", "+")
			res, body := f.Do(f.Browser(), "POST", "/login", form, "Content-Type", "application/x-www-form-urlencoded", "Origin", origin)
			if res.StatusCode != 500 || !strings.Contains(body, "<title>Too large</title>") {
				t.Errorf("a session that is too large: %d %.300s", res.StatusCode, body)
			}
		})
	}
}

func manyRoles(n int) string { return fmt.Sprintf("roles-%d@example.com", n) }

// accountsWithRoles returns accounts with these numbers of roles.
func accountsWithRoles(counts ...int) []authtest.Account {
	var accounts []authtest.Account
	for _, n := range counts {
		a := authtest.Account{Email: manyRoles(n), Password: password, Roles: []string{"user"}}
		for i := range n {
			a.Roles = append(a.Roles, fmt.Sprintf("team-%03d-dashboard-editor", i))
		}
		accounts = append(accounts, a)
	}
	return accounts
}

// Without the buffers of the configuration, nginx itself rejects large cookies.
func TestNginxDefaults(t *testing.T) {
	t.Parallel()
	auth, service := newAuth(t, accountsWithRoles(300)...), newService(t)
	config := configuration(t, "gateway.yaml", auth.URL, "http://127.0.0.1:3000", service.URL, "store: sqlite", "store: cookie", "  file:", "  #")
	g := startGateway(t, config)
	f := nginx(t, "nginx.conf", "127.0.0.1:8080", g.addr, "large_client_header_buffers", "#", "proxy_buffer_size", "#", "proxy_buffers", "#", "proxy_buffering off", "#")
	form := "email=" + manyRoles(300) + "&password=" + strings.ReplaceAll(password, " ", "+")
	if res, body := f.Do(f.Browser(), "POST", "/login", form, "Content-Type", "application/x-www-form-urlencoded", "Origin", origin); res.StatusCode != 502 {
		t.Errorf("a large response: %d %s", res.StatusCode, body)
	}
	if res, body := f.Do(f.Browser(), "GET", "/health", "", "Cookie", "a="+strings.Repeat("x", 16<<10)); res.StatusCode != 400 || !strings.Contains(body, "Cookie Too Large") {
		t.Errorf("a large request: %d %s", res.StatusCode, body)
	}
}
