package benchmarks_test

import (
	"encoding/gob"
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	gincontrib "github.com/gin-contrib/sessions"
	gincookie "github.com/gin-contrib/sessions/cookie"
	"github.com/gin-gonic/gin"
	gorilla "github.com/gorilla/sessions"
	echocontrib "github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
)

// The session libraries encode their values with encoding/gob.
func init() { gob.Register([]string(nil)) }

const sessionName = "session"

var (
	hashKey  = []byte("a secret of the app: 32 bytes or more of it")
	blockKey = []byte("another secret, 32 bytes of it..")
)

func scsInMemory(tokens bool) http.Handler {
	m := scs.New()
	// The default store has a cleanup goroutine, which would keep the store of each
	// discarded app alive.
	m.Store = memstore.NewWithCleanupInterval(0)
	m.Cookie.Secure = true

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		front(w, m.GetString(r.Context(), "user") != "")
	})
	mux.HandleFunc("GET /admin", func(w http.ResponseWriter, r *http.Request) {
		roles, ok := m.Get(r.Context(), "roles").([]string)
		guard(w, r, ok, roles)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		a, ok := claimedBy(r)
		if !ok {
			refuse(w, http.StatusUnauthorized)
			return
		}
		if err := m.RenewToken(r.Context()); err != nil {
			refuse(w, http.StatusInternalServerError)
			return
		}
		a.keep(tokens, func(name string, value any) { m.Put(r.Context(), name, value) })
		signedIn(w, r)
	})
	return m.LoadAndSave(mux)
}

// keep stores in a session the values that the app needs.
func (a account) keep(tokens bool, put func(name string, value any)) {
	put("user", a.userID)
	put("roles", a.roles)
	if tokens {
		put("access", a.tokens.AccessToken)
		put("refresh", a.tokens.RefreshToken)
	}
}

func (a account) keepIn(s *gorilla.Session, tokens bool) {
	a.keep(tokens, func(name string, value any) { s.Values[name] = value })
}

var gorillaOptions = gorilla.Options{
	Path: "/", MaxAge: 30 * 24 * 60 * 60, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
}

func gorillaStore(keys ...[]byte) *gorilla.CookieStore {
	store := gorilla.NewCookieStore(keys...)
	options := gorillaOptions
	store.Options = &options
	store.MaxAge(gorillaOptions.MaxAge)
	return store
}

func gorillaSigned(tokens bool) http.Handler { return gorillaApp(tokens, gorillaStore(hashKey)) }
func gorillaSealed(tokens bool) http.Handler {
	return gorillaApp(tokens, gorillaStore(hashKey, blockKey))
}

func gorillaApp(tokens bool, store gorilla.Store) http.Handler {
	mux := http.NewServeMux()
	// For an invalid cookie, Get returns an error and a new session.
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, sessionName)
		front(w, s.Values["user"] != nil)
	})
	mux.HandleFunc("GET /admin", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, sessionName)
		roles, ok := s.Values["roles"].([]string)
		guard(w, r, ok, roles)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		a, ok := claimedBy(r)
		if !ok {
			refuse(w, http.StatusUnauthorized)
			return
		}
		s, _ := store.Get(r, sessionName)
		a.keepIn(s, tokens)
		if err := s.Save(r, w); err != nil {
			refuse(w, http.StatusInternalServerError)
			return
		}
		signedIn(w, r)
	})
	return mux
}

func ginContribSealed(tokens bool) http.Handler {
	store := gincookie.NewStore(hashKey, blockKey)
	store.Options(gincontrib.Options{
		Path: "/", MaxAge: gorillaOptions.MaxAge, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	e := newGin()
	e.Use(gincontrib.Sessions(sessionName, store))
	e.GET("/", func(c *gin.Context) {
		front(c.Writer, gincontrib.Default(c).Get("user") != nil)
	})
	e.GET("/admin", func(c *gin.Context) {
		roles, ok := gincontrib.Default(c).Get("roles").([]string)
		guard(c.Writer, c.Request, ok, roles)
	})
	e.POST("/login", func(c *gin.Context) {
		a, ok := claimedBy(c.Request)
		if !ok {
			refuse(c.Writer, http.StatusUnauthorized)
			return
		}
		s := gincontrib.Default(c)
		a.keep(tokens, func(name string, value any) { s.Set(name, value) })
		if err := s.Save(); err != nil {
			refuse(c.Writer, http.StatusInternalServerError)
			return
		}
		signedIn(c.Writer, c.Request)
	})
	return e
}

func echoContribSealed(tokens bool) http.Handler {
	e := echo.New()
	e.Use(echocontrib.Middleware(gorillaStore(hashKey, blockKey)))
	e.GET("/", func(c echo.Context) error {
		s, _ := echocontrib.Get(sessionName, c)
		front(c.Response(), s.Values["user"] != nil)
		return nil
	})
	e.GET("/admin", func(c echo.Context) error {
		s, _ := echocontrib.Get(sessionName, c)
		roles, ok := s.Values["roles"].([]string)
		guard(c.Response(), c.Request(), ok, roles)
		return nil
	})
	e.POST("/login", func(c echo.Context) error {
		a, ok := claimedBy(c.Request())
		if !ok {
			refuse(c.Response(), http.StatusUnauthorized)
			return nil
		}
		s, _ := echocontrib.Get(sessionName, c)
		a.keepIn(s, tokens)
		if err := s.Save(c.Request(), c.Response()); err != nil {
			return err
		}
		signedIn(c.Response(), c.Request())
		return nil
	})
	return e
}
