package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAuthEndpoint(t *testing.T) {
	s := start(t, stored)
	h := s.authHandler()
	account, _ := s.auth.Account(admin)
	clients := map[string]*http.Client{"": s.browser(""), viewer: s.browser(viewer), admin: s.browser(admin)}
	page := map[string]string{"Accept": "text/html"}
	host := strings.TrimPrefix(s.srv.URL, "https://")
	for _, tt := range []struct {
		name, email, query string
		header             map[string]string
		status             int
		location           string
	}{
		{"a visitor who follows a link", "", "", map[string]string{"X-Original-URL": "https://app.example/x?a=1", "Accept": "text/html"}, 401, "/login?return_to=%2Fx%3Fa%3D1"},
		{"a visitor's script", "", "", map[string]string{"X-Forwarded-Uri": "/x"}, 401, ""},
		{"a visitor's form", "", "", map[string]string{"X-Forwarded-Uri": "/x", "X-Forwarded-Method": "POST", "Accept": "text/html"}, 401, ""},
		{"a user", viewer, "", map[string]string{"X-Original-URI": "/x"}, 202, ""},
		{"a user with the path alone", viewer, "", map[string]string{"X-Original-URL": "https://app.example"}, 202, ""},
		{"a user without the role", viewer, "?role=admin&role=editor", map[string]string{"X-Forwarded-Uri": "/x"}, 403, ""},
		{"a user with one of the roles", admin, "?role=editor&role=admin", map[string]string{"X-Forwarded-Uri": "/x"}, 202, ""},
		{"no address", admin, "", page, 400, ""},
		{"an empty role", admin, "?role=", map[string]string{"X-Forwarded-Uri": "/x"}, 400, ""},
		{"another parameter", admin, "?roles=admin", map[string]string{"X-Forwarded-Uri": "/x"}, 400, ""},
		{"a query that cannot be parsed", admin, "?role=admin;role=x", map[string]string{"X-Forwarded-Uri": "/x"}, 400, ""},
		{"an unclean path", admin, "", map[string]string{"X-Forwarded-Uri": "/x/%2e%2e/admin"}, 403, ""},
		{"an unclean path in a full address", admin, "", map[string]string{"X-Original-URL": "https://app.example//admin"}, 403, ""},
		{"two addresses", admin, "", map[string]string{"X-Original-URL": "https://app.example/x", "X-Forwarded-Uri": "/y"}, 400, ""},
		{"two equal addresses", admin, "", map[string]string{"X-Original-URL": "https://app.example/x", "X-Forwarded-Uri": "/x"}, 202, ""},
		{"two methods", admin, "", map[string]string{"X-Forwarded-Uri": "/x", "X-Original-Method": "GET", "X-Forwarded-Method": "POST"}, 400, ""},
		{"a form of the same origin", admin, "", map[string]string{"X-Forwarded-Uri": "/x", "X-Forwarded-Method": "POST", "X-Forwarded-Host": "app.example", "Origin": "https://app.example"}, 202, ""},
		{"a form of another origin", admin, "", map[string]string{"X-Forwarded-Uri": "/x", "X-Forwarded-Method": "POST", "Origin": "https://evil.example"}, 403, ""},
		{"a WebSocket of the same origin", admin, "", map[string]string{"X-Forwarded-Uri": "/x", "Sec-WebSocket-Key": "x", "Origin": "https://" + host}, 202, ""},
		{"a WebSocket of another origin", admin, "", map[string]string{"X-Forwarded-Uri": "/x", "Sec-WebSocket-Key": "x", "Origin": "https://evil.example"}, 403, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequest("GET", "http://"+host+"/auth"+tt.query, nil)
			req.RemoteAddr = "127.0.0.1:1"
			req.Header.Set("Cookie", "mine=1; "+s.cookies(clients[tt.email]))
			for name, value := range tt.header {
				req.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			res := w.Result()
			if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location {
				t.Errorf("%d %q", res.StatusCode, res.Header.Get("Location"))
			}
			identified := res.Header.Get("X-Forwarded-User") != "" || res.Header.Get("Authorization") != ""
			if identified != (tt.status == 202) || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v", res.StatusCode, res.Header)
			}
			if h := res.Header; tt.email == admin && tt.status == 202 &&
				(h.Get("X-Forwarded-User") != account.ID || h.Get("X-Forwarded-Cookie") != "mine=1" || h.Get("X-Forwarded-Roles") != "user,admin,a%2Cb%20%C3%BC" || !strings.HasPrefix(h.Get("Authorization"), "Bearer ")) {
				t.Errorf("%v", h)
			}
		})
	}
}

func (s *site) authHandler() http.Handler {
	s.t.Helper()
	h, err := s.gateway.AuthHandler()
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// Only trusted proxies may use the endpoint: its response may have a token.
func TestAuthEndpointIsForProxies(t *testing.T) {
	s := start(t, stored)
	h := s.authHandler()
	req := httptest.NewRequest("GET", "https://app.example/auth", nil)
	req.Header.Set("Cookie", s.cookies(s.browser(admin)))
	req.Header.Set("X-Forwarded-Uri", "/x")
	for addr, status := range map[string]int{"203.0.113.9:1": 404, "127.0.0.1:1": 202, "[::ffff:127.0.0.1]:1": 202, "@": 404} {
		req.RemoteAddr = addr
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != status || status == 404 && (w.Header()["Authorization"] != nil || w.Header()["X-Forwarded-User"] != nil) {
			t.Errorf("%s: %d %v", addr, w.Code, w.Header())
		}
	}
}
