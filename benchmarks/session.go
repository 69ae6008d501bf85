package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// Names of contenders that the targets are about.
const (
	cookieSeen  = "session, cookie"
	cookieFirst = "session, cookie, first request"
	inMemory    = "session, memory"
)

func init() {
	register(contender{
		name: cookieSeen, router: netHTTP, session: "sealed in cookies, opened before", ours: true,
		open: openSession(nil),
	})
	register(contender{
		name: cookieFirst, router: netHTTP, session: "sealed in cookies, not opened before", ours: true, first: true,
		open: openSession(nil),
	})
	register(contender{
		name: inMemory, router: netHTTP, session: "in memory", ours: true, apart: true,
		open: openSession(inMemstore),
	})
}

func inMemstore(_ *env, c *session.Config) error {
	c.Store = memstore.New()
	return nil
}

// authService is a local auth service. It has the same accounts as the apps of the
// other libraries.
type authService struct{}

func (authService) Login(_ context.Context, email, pass string) (auth.Grant, error) {
	a, ok := lookUp(email, pass)
	if !ok {
		return auth.Grant{}, auth.ErrRefused
	}
	return auth.Grant{Tokens: a.tokens}, nil
}

// Refresh is not called: the tokens outlive every run.
func (authService) Refresh(context.Context, auth.Tokens) (auth.Grant, error) {
	return auth.Grant{}, auth.ErrUnavailable
}

func (authService) Logout(context.Context, auth.Tokens, bool) error { return nil }

var sessionKeys = []session.SecretKey{session.GenerateKey()}

// newManager returns a Manager with the settings that an app has by default. set changes
// them, unless it is nil.
func newManager(e *env, set func(*env, *session.Config) error) (*session.Manager, error) {
	c := session.Config{
		Auth:   authService{},
		Keys:   sessionKeys,
		Logger: slog.New(slog.DiscardHandler),
	}
	if set != nil {
		if err := set(e, &c); err != nil {
			return nil, err
		}
	}
	return session.New(c)
}

// openSession returns a function that opens the app of this library on net/http.
func openSession(set func(*env, *session.Config) error) func(*env) (http.Handler, error) {
	return func(e *env) (http.Handler, error) {
		m, err := newManager(e, set)
		if err != nil {
			return nil, err
		}
		return sessionApp(m), nil
	}
}

func sessionApp(m *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		front(w, session.FromContext(r.Context()).SignedIn())
	})
	mux.HandleFunc("GET /public", forAll)
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(adminOnly)))
	mux.HandleFunc("POST /login", sessionLogin(m))
	return middleware.Sessions(m)(mux)
}

func sessionLogin(m *session.Manager) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := m.CheckOrigin(r); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		if err := m.Login(r.Context(), r.PostFormValue("email"), r.PostFormValue("password")); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		signedIn(w, r)
	}
}
