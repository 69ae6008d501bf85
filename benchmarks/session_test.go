package benchmarks_test

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

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

// Refresh is not called: the tokens outlive every benchmark.
func (authService) Refresh(context.Context, auth.Tokens) (auth.Grant, error) {
	return auth.Grant{}, auth.ErrUnavailable
}

func (authService) Logout(context.Context, auth.Tokens, bool) error { return nil }

var sessionKeys = []session.SecretKey{session.GenerateKey()}

func sessionInCookies(bool) http.Handler { return sessionApp(newManager(nil)) }
func sessionInMemory(bool) http.Handler  { return sessionApp(newManager(memstore.New())) }

func newManager(st store.Store) *session.Manager {
	m, err := session.New(session.Config{
		Auth:   authService{},
		Keys:   sessionKeys,
		Store:  st,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	return m
}

func sessionApp(m *session.Manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		front(w, session.FromContext(r.Context()).SignedIn())
	})
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(adminOnly)))
	mux.HandleFunc("POST /login", login(m))
	return middleware.Sessions(m)(mux)
}

func login(m *session.Manager) http.HandlerFunc {
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

func sessionEcho(bool) http.Handler {
	m := newManager(nil)
	e := echo.New()
	e.Use(sessionecho.Sessions(m))
	e.GET("/", func(c echo.Context) error {
		front(c.Response(), sessionecho.FromContext(c).SignedIn())
		return nil
	})
	e.GET("/admin", func(c echo.Context) error {
		adminOnly(c.Response(), c.Request())
		return nil
	}, sessionecho.RequireRole("admin"))
	e.POST("/login", echo.WrapHandler(login(m)))
	return e
}

func sessionGin(bool) http.Handler {
	m := newManager(nil)
	e := newGin()
	e.Use(sessiongin.Sessions(m))
	e.GET("/", func(c *gin.Context) {
		front(c.Writer, sessiongin.FromContext(c).SignedIn())
	})
	e.GET("/admin", sessiongin.RequireRole("admin"), func(c *gin.Context) { adminOnly(c.Writer, c.Request) })
	e.POST("/login", gin.WrapF(login(m)))
	return e
}
