package frameworks_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	chimw "github.com/go-chi/chi/v5/middleware"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

func TestChi(t *testing.T) {
	s := newSite(t, "cookie", time.Minute)
	long := strings.Repeat("hello ", 10_000)
	r := chi.NewRouter()
	r.Use(chimw.RequestID, chimw.Recoverer, chimw.Compress(5), middleware.Sessions(s.m), chimw.StripSlashes)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusNotFound})
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusMethodNotAllowed})
	})
	r.Route("/account", func(r chi.Router) {
		for _, route := range middleware.Routes(s.m) {
			r.Method(route.Method, route.Path, route.Handler)
		}
	})
	r.Route("/app", func(r chi.Router) {
		r.Use(middleware.RequireUser)
		r.Get("/home", whoami)
		r.Get("/long", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, long)
		})
		r.Get("/panic", func(_ http.ResponseWriter, r *http.Request) { panic(session.FromContext(r.Context()).UserID()) })
		r.With(chimw.Timeout(20*time.Millisecond)).Get("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		r.With(middleware.RequireRole("admin")).Get("/users/{id}", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "user "+chi.URLParam(r, "id"))
		})
	})
	s.serve(r)
	visitor, user, boss := s.browser(), s.browser(), s.browser()
	user.signIn("/account/login", viewer)
	boss.signIn("/account/login", admin)

	visitor.get("/app/home", 401, "unauthenticated")
	visitor.get("/app/users/7", 401, "unauthenticated")
	visitor.get("/nowhere", 404, "not_found")
	user.get("/app/home", 200, "0000000b")
	user.get("/app/home/", 200, "0000000b")
	user.get("/app/users/7", 403, "forbidden")
	user.get("/app/nowhere", 404, "not_found")
	user.expect("POST", "/app/home", 405, "method_not_allowed")
	user.expect("DELETE", "/account/login", 405, "method_not_allowed")
	user.get("/app/panic", 500, "")
	user.get("/app/slow", 504, "")
	boss.get("/app/users/7", 200, "user 7")
	if res := user.get("/app/home", 200, ""); res.Header.Get("Vary") == "" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", res.Header)
	}

	req, _ := http.NewRequest("GET", user.url+"/app/long", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	res, err := user.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	z, err := gzip.NewReader(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(z); err != nil || string(body) != long {
		t.Errorf("%d bytes, %v", len(body), err)
	}

	user.expect("POST", "/account/logout", 204, "")
	user.get("/app/home", 401, "")
}

// Routes have a path parameter, which the router has to set.
func TestChiSessions(t *testing.T) {
	s := newSite(t, "memory", time.Minute)
	r := chi.NewRouter()
	r.Use(middleware.Sessions(s.m))
	r.Route("/account", func(r chi.Router) { middleware.Mount(r, s.m) })
	s.serve(r)
	user, other := s.browser(), s.browser()
	user.signIn("/account/login", viewer)
	other.signIn("/account/login", viewer)
	req, err := http.NewRequest("GET", other.url+"/account/sessions", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, body := other.send(req)
	var list struct{ Sessions []struct{ ID string } }
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Sessions) != 2 {
		t.Fatalf("%s (%v)", body, err)
	}
	user.expect("DELETE", "/account/sessions/x", 404, "not_found")
	user.expect("PUT", "/account/sessions/x", 405, "method_not_allowed")
	user.expect("DELETE", "/account/sessions/"+list.Sessions[0].ID, 204, "")
	other.get("/account/sessions", 401, "unauthenticated")
	user.expect("POST", "/account/sessions/"+list.Sessions[1].ID+"/end", 204, "")
	user.get("/account/sessions", 401, "unauthenticated")
}

// Patterns, prefixes and hosts of http.ServeMux.
func TestServeMux(t *testing.T) {
	s := newSite(t, "memory", time.Minute)
	account := http.NewServeMux()
	middleware.Mount(account, s.m)
	api := http.NewServeMux()
	api.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Pattern+" "+r.PathValue("id")+" ")
		whoami(w, r)
	})
	mux := http.NewServeMux()
	mux.Handle("/account/", http.StripPrefix("/account", account))
	mux.Handle("/api/", http.StripPrefix("/api", middleware.RequireUser(api)))
	mux.Handle("GET /files/{path...}", middleware.RequireRole("admin")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.PathValue("path"))
	})))
	mux.HandleFunc("GET other.example/", whoami)
	s.serve(middleware.Sessions(s.m, middleware.WithAPI("/api/"))(mux))
	visitor, user, boss := s.browser(), s.browser(), s.browser()
	user.signIn("/account/login", viewer)
	boss.signIn("/account/login", admin)
	visitor.expect("GET", "/api/users/1", 401, "unauthenticated", "Accept", "text/html") // and no redirect
	res := visitor.expect("GET", "/files/a/b", 303, "", "Accept", "text/html")
	if to := res.Header.Get("Location"); to != "/login?return_to=%2Ffiles%2Fa%2Fb" {
		t.Errorf("leads to %s", to)
	}
	user.get("/api/users/7", 200, "GET /users/{id} 7 00000000-0000-4000-8000-00000000000b")
	user.get("/files/a/b", 403, "forbidden")
	boss.get("/files/a/b", 200, "a/b")
	user.get("/nowhere", 404, "404")
	user.expect("PUT", "/account/logout", 405, "method_not_allowed")
}

// An app runs behind a proxy, and another in front of one.
func TestReverseProxy(t *testing.T) {
	s := newSite(t, "cookie", time.Minute)
	mux := http.NewServeMux()
	middleware.Mount(mux, s.m)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-User"))
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, " "+r.URL.Path)
	}))
	defer service.Close()
	to := func(address string, rewrite func(*httputil.ProxyRequest)) *httputil.ReverseProxy {
		u, _ := url.Parse(address)
		return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			rewrite(r)
		}}
	}
	mux.Handle("/service/", middleware.RequireUser(to(service.URL, func(r *httputil.ProxyRequest) {
		r.Out.Header.Set("X-User", session.FromContext(r.In.Context()).UserID())
	})))
	app := httptest.NewServer(middleware.Sessions(s.m)(mux))
	defer app.Close()
	s.serve(to(app.URL, func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host; r.SetXForwarded() }))

	s.browser().get("/service/x", 401, "unauthenticated")
	b := s.signedIn(viewer)
	b.get("/service/x", 200, "00000000-0000-4000-8000-00000000000b /service/x")
	b.expect("POST", "/logout", 403, "cross_site", "Origin", "https://evil.example")
	b.expect("POST", "/logout", 204, "", "Origin", b.url)
	b.get("/service/x", 401, "")
}
