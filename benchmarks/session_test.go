package benchmarks_test

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// authService answers at once, out of the same accounts that the other
// libraries' apps look into themselves.
type authService struct{}

func (authService) Login(_ context.Context, email, pass string) (session.Tokens, error) {
	a, ok := lookUp(email, pass)
	if !ok {
		return session.Tokens{}, session.ErrRefused
	}
	return a.tokens, nil
}

// Refresh is not called: the tokens outlive every benchmark.
func (authService) Refresh(context.Context, string) (session.Tokens, error) {
	return session.Tokens{}, session.ErrUnavailable
}

func (authService) Logout(context.Context, session.Tokens, bool) error { return nil }

var sessionKeys = []session.SecretKey{session.GenerateKey()}

func sessionInCookies(bool) http.Handler { return sessionApp(nil) }
func sessionInMemory(bool) http.Handler  { return sessionApp(memstore.New()) }

func sessionApp(st store.Store) http.Handler {
	m, err := session.New(session.Config{
		Auth:   authService{},
		Keys:   sessionKeys,
		Store:  st,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		front(w, session.FromContext(r.Context()).SignedIn())
	})
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(adminOnly)))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := m.CheckOrigin(r); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		if err := m.Login(r.Context(), r.PostFormValue("email"), r.PostFormValue("password")); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		signedIn(w, r)
	})
	return middleware.Sessions(m)(mux)
}
