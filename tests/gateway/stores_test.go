package gateway_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/tests/internal/dbtest"
)

// Two gateways share a store: a user who signs in at one is signed in at the other, until
// the sign-out.
func TestStores(t *testing.T) {
	t.Parallel()
	for kind, address := range map[string]func(t *testing.T) string{
		"postgres": func(t *testing.T) string { return dbtest.Postgres(t).URL },
		"mysql":    func(t *testing.T) string { return dbtest.MariaDB(t).DSN },
		"redis":    func(t *testing.T) string { return dbtest.Redis(t).URL },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			auth, service := newAuth(t), newService(t)
			config := configuration(t, "gateway.yaml", auth.URL, "http://127.0.0.1:3000", service.URL, "store: sqlite", "store: "+kind, "  file:", "  #")
			env := []string{"SESSION_KEYS=" + session.GenerateKey().Encode(), "STORE_DSN=" + address(t)}
			one, two := startGateway(t, config, env...), startGateway(t, config, env...)

			res, body := send(t, "GET", "http://"+one.admin+"/readyz", "", nil)
			if res.StatusCode != 200 {
				t.Errorf("/readyz: %d %s", res.StatusCode, body)
			}
			res, body = send(t, "POST", "http://"+one.addr+"/login", "", url.Values{"email": {admin}, "password": {password}})
			if res.StatusCode != 303 {
				t.Fatalf("sign-in: %d %.300s", res.StatusCode, body)
			}
			// A cookie jar would not send Secure cookies here.
			var cookies []string
			for _, c := range res.Cookies() {
				cookies = append(cookies, c.Name+"="+c.Value)
			}
			cookie := strings.Join(cookies, "; ")
			if res, body := send(t, "GET", "http://"+two.addr+"/admin/x", cookie, nil); res.StatusCode != 200 || !strings.Contains(body, `"URI":"/admin/x"`) {
				t.Errorf("the other gateway: %d %.300s", res.StatusCode, body)
			}
			if res, body := send(t, "POST", "http://"+two.addr+"/logout", cookie, url.Values{}); res.StatusCode != 303 {
				t.Errorf("sign-out: %d %.300s", res.StatusCode, body)
			}
			if res, _ := send(t, "GET", "http://"+one.addr+"/x", cookie, nil); res.StatusCode != 401 {
				t.Errorf("after the sign-out at the other gateway: %d", res.StatusCode)
			}
		})
	}
}

// send sends a request with cookies, and a form unless it is nil.
func send(t *testing.T, method, address, cookies string, form url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookies != "" {
		req.Header.Set("Cookie", cookies)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}
