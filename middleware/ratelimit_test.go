package middleware_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// If the app forwards the addresses of its users, the service limits each address. The limit
// of one address does not stop the refreshes of other users.
func TestRateLimitOfOneAddress(t *testing.T) {
	a := webapp.New(t, authtest.Options{RateLimit: 4, Accounts: []authtest.Account{
		{Email: "ada@example.com", Password: webapp.Password}, {Email: "eve@example.com", Password: webapp.Password},
	}})
	mux := http.NewServeMux()
	middleware.Mount(mux, a.Manager)
	mux.HandleFunc("GET /refresh", func(w http.ResponseWriter, r *http.Request) {
		if err := session.FromContext(r.Context()).Refresh(r.Context()); err != nil {
			middleware.Refuse(w, r, err)
		}
	})
	sessions := middleware.Sessions(a.Manager)(mux)
	a.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr, _ := netip.ParseAddr(r.Header.Get("Test-Address"))
		sessions.ServeHTTP(w, r.WithContext(synmetrix.WithClientAddr(r.Context(), addr)))
	}), false)
	ada, eve := a.Browser(), a.Browser()
	signIn := func(b *webapp.Browser, email, addr string) *webapp.Response {
		body := `{"email":"` + email + `","password":"` + webapp.Password + `"}`
		return b.Do("POST", "/login", body, "Content-Type", "application/json", "Test-Address", addr)
	}
	signIn(ada, "ada@example.com", "192.0.2.1").Is(200)
	for range 4 {
		signIn(eve, "eve@example.com", "192.0.2.66").Is(200)
	}
	limited := signIn(eve, "eve@example.com", "192.0.2.66").Says(503, "auth_unavailable")
	if limited.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	ada.Get("/refresh").Is(200)
	signIn(ada, "ada@example.com", "192.0.2.1").Is(200)
}
