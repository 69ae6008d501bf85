package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// forwarding has the functions that start proxies that forward requests by themselves.
var forwarding = map[string]func(t *testing.T, g program, service string) *front{
	"nginx": func(t *testing.T, g program, service string) *front {
		return nginx(t, "nginx-auth.conf", "127.0.0.1:8080", g.addr, "127.0.0.1:8081", g.admin, "127.0.0.1:3000", service)
	},
	"caddy": func(t *testing.T, g program, service string) *front {
		return caddy(t, "Caddyfile-auth", "127.0.0.1:8080", g.addr, "127.0.0.1:8081", g.admin, "127.0.0.1:3000", service)
	},
}

// The gateway decides for nginx's auth_request and for Caddy's forward_auth.
func TestAuthRequest(t *testing.T) {
	t.Parallel()
	for name, start := range forwarding {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth, service := newAuth(t), newService(t)
			g := startGateway(t, configuration(t, "gateway-auth.yaml", auth.URL))
			f := start(t, g, strings.TrimPrefix(service.URL, "http://"))
			if refuses(f); service.reached() != 0 {
				t.Errorf("%d refused requests have reached the service", service.reached())
			}
			client := f.signIn(admin, "/_session/login")
			account, _ := auth.Account(admin)
			got := f.get(client, "/x?a=1", "X-Forwarded-User", "forged", "X_Forwarded_User", "forged", "X-Forwarded_User", "forged", "X-Forwarded-Email", "forged", "X-Forwarded-Roles", "forged", "Cookie", "mine=1")
			if h := got.Header; h.Get("X-Forwarded-User") != account.ID || h.Get("X-Forwarded-Roles") != "user,admin" || h.Get("Cookie") != "mine=1" || got.URI != "/x?a=1" {
				t.Errorf("%s %v", got.URI, h)
			}
			if text := fmt.Sprint(got.Header); strings.Contains(text, "forged") || strings.Contains(text, "gateway") {
				t.Errorf("the service received %s", text)
			}
			if got := f.get(client, "/x"); strings.Contains(got.Header.Get("Cookie"), "gateway") {
				t.Errorf("the service received %v", got.Header)
			}
			if res, body := f.Do(client, "POST", "/x", "hello", "Origin", origin); res.StatusCode != 200 || !strings.Contains(body, `"Body":"hello"`) {
				t.Errorf("a form: %d %s", res.StatusCode, body)
			}
			before := service.reached()
			for _, request := range []struct{ method, path, field, value string }{
				{"POST", "/x", "Origin", "https://evil.example"},
				{"GET", "/x/%2e%2e/y", "Accept", "*/*"},
			} {
				res, _ := f.Do(client, request.method, request.path, "", request.field, request.value)
				if res.StatusCode < 400 || service.reached() != before {
					t.Errorf("%v: %d", request, res.StatusCode)
				}
			}
			signOut(f, client, "/_session/logout")
			if res, _ := f.Do(client, "GET", "/x", ""); res.StatusCode != 401 {
				t.Errorf("after the sign-out: %d", res.StatusCode)
			}
		})
	}
}

// refuses sends requests that the proxy must reject.
func refuses(f *front) {
	f.T.Helper()
	visitor := f.Browser()
	if res, _ := f.Do(visitor, "GET", "/x?a=1", "", "Accept", "text/html"); res.StatusCode != 303 || !strings.HasSuffix(res.Header.Get("Location"), "/_session/login?return_to=%2Fx%3Fa%3D1") {
		f.T.Errorf("a visitor: %d %q", res.StatusCode, res.Header.Get("Location"))
	}
	for _, request := range []struct {
		client *http.Client
		path   string
		status int
	}{
		{visitor, "/x", 401},
		{visitor, "/session-auth", 0},
		{visitor, "/auth", 401},
		{f.signIn(viewer, "/_session/login"), "/x", 403},
	} {
		res, _ := f.Do(request.client, "GET", request.path, "", "X-Forwarded-User", "forged", "X-Forwarded-Uri", request.path)
		if res.StatusCode != request.status && (request.status != 0 || res.StatusCode != 404 && res.StatusCode != 401) {
			f.T.Errorf("%s: %d", request.path, res.StatusCode)
		}
	}
}
