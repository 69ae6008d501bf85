package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// Sessions has the type of middleware that chains (alice, chi) accept.
var _ func(http.Handler) http.Handler = middleware.Sessions(new(session.Manager))

func TestVary(t *testing.T) {
	a := newApp(t, nil)
	for path, set := range map[string][]string{
		"/none":  nil,
		"/other": {"Accept-Encoding"},
		"/lines": {"Accept", "Origin, Accept-Language"},
		"/same":  {"Accept, cookie"},
		"/star":  {"*"},
	} {
		a.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			for _, v := range set {
				w.Header().Add("Vary", v)
			}
		})
	}
	b := a.browser()
	for path, want := range map[string]string{
		"/none":    "Cookie",
		"/other":   "Accept-Encoding, Cookie",
		"/lines":   "Accept, Origin, Accept-Language, Cookie",
		"/same":    "Accept, cookie",
		"/star":    "*",
		"/unknown": "Cookie", // a router's 404
	} {
		b.get(path).has(t, "Vary", want)
	}
}

// Changing the Vary field of a response does not affect other responses.
func TestVaryIsNotShared(t *testing.T) {
	a := newApp(t, nil)
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		middleware.Sessions(a.m)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) })).ServeHTTP(w, r)
		w.Header()["Vary"][0] += ", X"
		w.Header().Add("Vary", "Y")
	}))
	b := a.browser()
	for range 3 {
		b.get("/").has(t, "Vary", "Cookie, X, Y")
	}
}

func TestSessionsRefusesCrossOriginRequests(t *testing.T) {
	a := newApp(t, nil)
	served := false
	a.mux.HandleFunc("/h", func(http.ResponseWriter, *http.Request) { served = true })
	visitor, user := a.browser(), a.browser()
	user.signIn("admin@example.com")
	for _, c := range []struct {
		who    *browser
		method string
		header []string
		ok     bool
	}{
		{user, "POST", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{user, "POST", []string{"Sec-Fetch-Site", "same-site"}, false},
		{user, "DELETE", []string{"Origin", "https://evil.example"}, false},
		{user, "PURGE", []string{"Origin", "null"}, false},
		{user, "POST", []string{"Sec-Fetch-Site", "same-origin"}, true},
		{user, "POST", nil, true},
		{user, "GET", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{user, "OPTIONS", []string{"Sec-Fetch-Site", "cross-site"}, true},
		{visitor, "POST", []string{"Sec-Fetch-Site", "cross-site"}, true},
	} {
		served = false
		got := c.who.do(c.method, "/h", "", c.header...)
		if served != c.ok {
			t.Errorf("%s %v: served: %v, status %d", c.method, c.header, served, got.StatusCode)
		}
		if !c.ok {
			got.is(t, 403, "cross_site").has(t, "Vary", "Cookie")
		}
	}
	user.do("POST", "/h", "a=b", "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example").isPage(t, 403, "another site")
	// Browsers do not send bearer tokens by themselves, so such a request cannot be
	// forged.
	if user.do("POST", "/h", "", "Authorization", "Bearer x", "Sec-Fetch-Site", "cross-site").is(t, 200, ""); !served {
		t.Error("a cross-origin request with a bearer token was refused")
	}
}

func TestNestedSessions(t *testing.T) {
	s := &countingStore{FailingStore: &testkit.FailingStore{Store: memstore.New()}}
	a := newApp(t, func(c *session.Config) { c.Store = s })
	a.mux.HandleFunc("/h", func(_ http.ResponseWriter, r *http.Request) { change(r) })
	twice := middleware.Sessions(a.m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer := session.FromContext(r.Context())
		middleware.Sessions(a.m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if session.FromContext(r.Context()) != outer {
				t.Error("the inner Sessions loaded the session again")
			}
			a.mux.ServeHTTP(w, r)
		})).ServeHTTP(w, r)
	}))
	a.start(twice)
	b := a.browser()
	b.signIn("admin@example.com")
	s.gets, s.puts = 0, 0
	b.get("/h").is(t, 200, "").has(t, "Vary", "Cookie")
	if s.puts != 1 {
		t.Errorf("%d writes of the session, want 1", s.puts)
	}
}

type countingStore struct {
	*testkit.FailingStore
	gets, puts int
}

func (s *countingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.puts++
	return s.FailingStore.Put(ctx, rec, prev)
}

// Changes after the first byte of the response are saved, too.
func TestChangesAfterTheFirstByte(t *testing.T) {
	a := newApp(t, func(c *session.Config) { c.Store = memstore.New() })
	a.mux.HandleFunc("/set", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		if err := theme.Set(session.FromContext(r.Context()), "dark"); err != nil {
			t.Error(err)
		}
	})
	a.mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		v, _ := theme.Get(session.FromContext(r.Context()))
		_, _ = io.WriteString(w, v)
	})
	b := a.browser()
	b.signIn("admin@example.com")
	b.get("/set").is(t, 200, "")
	if got := b.get("/get").body; got != "dark" {
		t.Errorf("value %q", got)
	}
}

// A panic passes through Sessions. The cookies are in the header for the outer
// middleware that recovers.
func TestPanic(t *testing.T) {
	for name, cause := range map[string]any{"error": errors.New("boom"), "abort": http.ErrAbortHandler, "exit": nil} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, nil)
			a.mux.HandleFunc("/h", func(_ http.ResponseWriter, r *http.Request) {
				change(r)
				if cause == nil {
					runtime.Goexit()
				}
				panic(cause)
			})
			sessions := middleware.Sessions(a.m)(a.mux)
			var recovered any
			a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { recovered = recover() }()
					sessions.ServeHTTP(w, r)
				})
				wg.Wait()
				if r.URL.Path == "/h" {
					// Sessions must not have written a response.
					w.WriteHeader(http.StatusTeapot)
				}
			}))
			b := a.browser()
			b.signIn("admin@example.com")
			got := b.get("/h").is(t, http.StatusTeapot, "").has(t, "Vary", "Cookie")
			if recovered != cause {
				t.Errorf("recovered %v, want %v", recovered, cause)
			}
			if !setsCookie(got) || got.body != "" {
				t.Errorf("cookies %v, body %q", got.Cookies(), got.body)
			}
		})
	}
}

// A panic passes through even if the session cannot be saved.
func TestPanicAndFailedCommit(t *testing.T) {
	s := &testkit.FailingStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = s })
	b := a.browser()
	b.signIn("admin@example.com")
	sessions := middleware.Sessions(a.m)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s.Down.Store(true)
		change(r)
		panic("boom")
	}))
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() == "boom" {
				w.WriteHeader(http.StatusTeapot)
			}
		}()
		sessions.ServeHTTP(w, r)
	}))
	b.move(a)
	if got := b.get("/").is(t, http.StatusTeapot, ""); got.body != "" {
		t.Errorf("body %q", got.body)
	}
}

// A handler that panics in the middle of its response.
func TestPanicAfterTheFirstByte(t *testing.T) {
	_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		change(r)
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	req, _ := http.NewRequest("GET", b.base+"/h", nil)
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "half" || len(resp.Cookies()) == 0 {
		t.Errorf("body %q, %v, cookies %v", body, err, resp.Cookies())
	}
}

// Without recovery, a panic closes the connection.
func TestPanicWithoutRecovery(t *testing.T) {
	a := newApp(t, nil)
	a.mux.HandleFunc("/h", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	req, _ := http.NewRequest("POST", a.srv.URL+"/h", strings.NewReader("x"))
	if resp, err := a.srv.Client().Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("a response with status %d", resp.StatusCode)
	}
}

func TestTimeoutHandlers(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	release := make(chan struct{})
	defer close(release)
	a.mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		change(r)
		select {
		case <-release:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "late")
	})
	a.mux.HandleFunc("/quick", func(_ http.ResponseWriter, r *http.Request) { change(r) })
	b := a.browser()
	b.signIn("admin@example.com")
	limited := func(h http.Handler) http.Handler {
		short, long := http.TimeoutHandler(h, 200*time.Millisecond, "too slow"), http.TimeoutHandler(h, time.Minute, "too slow")
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				short.ServeHTTP(w, r)
			} else {
				long.ServeHTTP(w, r)
			}
		})
	}
	for name, h := range map[string]http.Handler{
		"inside":  middleware.Sessions(a.m)(limited(a.mux)),
		"outside": limited(middleware.Sessions(a.m)(a.mux)),
	} {
		a.start(h)
		b.move(a)
		if got := b.get("/quick").is(t, 200, ""); !setsCookie(got) {
			t.Errorf("%s: no cookie", name)
		}
		if got := b.get("/slow").is(t, 503, ""); got.body != "too slow" {
			t.Errorf("%s: body %q", name, got.body)
		}
	}
}

func TestGuards(t *testing.T) {
	a := newApp(t, nil)
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	for path, guard := range map[string]func(http.Handler) http.Handler{
		"/user":    middleware.RequireUser,
		"/admin":   middleware.RequireRole("admin"),
		"/reports": middleware.RequireRole("admin", "analyst"),
		"/case":    middleware.RequireRole("Admin", "user "),
		"/nobody":  middleware.RequireRole(),
		"/policy":  middleware.Require(func(s *session.Session) bool { return s.DefaultRole() == "user" && s.HasRole("admin") }),
		"/any":     middleware.Require(nil),
		"/both":    func(h http.Handler) http.Handler { return middleware.RequireUser(middleware.RequireRole("admin")(h)) },
	} {
		a.mux.Handle(path, guard(ok))
	}
	visitor, user, admin := a.browser(), a.browser(), a.browser()
	user.signIn("viewer@example.com")
	admin.signIn("admin@example.com")
	for _, c := range []struct {
		path        string
		user, admin int
	}{
		{"/user", 200, 200},
		{"/admin", 403, 200},
		{"/reports", 403, 200},
		{"/case", 403, 403},
		{"/nobody", 403, 403},
		{"/policy", 403, 200},
		{"/any", 200, 200},
		{"/both", 403, 200},
	} {
		visitor.get(c.path).is(t, 401, "unauthenticated")
		visitor.open(c.path).isRedirect(t, "/login?return_to=%2F"+c.path[1:])
		for who, status := range map[*browser]int{user: c.user, admin: c.admin} {
			got := who.get(c.path)
			if got.StatusCode != status || (got.body == "ok") != (status == 200) {
				t.Errorf("%s: status %d, want %d", c.path, got.StatusCode, status)
			}
			if status == 403 {
				got.is(t, 403, "forbidden").has(t, "Cache-Control", "no-store")
				page := who.open(c.path).isPage(t, 403, "not allowed")
				if !strings.Contains(page.body, `href="/login?return_to=%2f`+c.path[1:]) && !strings.Contains(page.body, `href="/login?return_to=%2F`+c.path[1:]) {
					t.Errorf("no link to sign in with another account: %s", visible(page.body))
				}
			}
		}
	}
}

// Changing the list of roles after RequireRole does not change the guard.
func TestRequireRoleKeepsItsList(t *testing.T) {
	a := newApp(t, nil)
	roles := []string{"admin"}
	guard := middleware.RequireRole(roles...)
	roles[0] = "user"
	a.mux.Handle("/h", guard(http.NotFoundHandler()))
	b := a.browser()
	b.signIn("viewer@example.com")
	b.get("/h").is(t, 403, "forbidden")
}

func TestGuardOutsideSessions(t *testing.T) {
	a := newApp(t, nil)
	served := false
	a.start(middleware.RequireUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true })))
	b := a.browser()
	b.get("/x").is(t, 500, "session_not_loaded")
	b.open("/x").isPage(t, 500, "middleware.Sessions")
	if served {
		t.Error("a guard outside Sessions accepts a request")
	}
}

func TestGuardWhileTheStoreIsDown(t *testing.T) {
	s := &testkit.FailingStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = s })
	a.mux.Handle("/user", middleware.RequireUser(http.NotFoundHandler()))
	a.mux.HandleFunc("/public", func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, errors.Is(session.FromContext(r.Context()).Err(), session.ErrSessionUnavailable))
	})
	b := a.browser()
	b.signIn("admin@example.com")
	s.Down.Store(true)
	b.get("/user").is(t, 503, "session_unavailable").has(t, "Retry-After", "1").has(t, "Set-Cookie", "")
	page := b.open("/user").isPage(t, 503, "try again").has(t, "Retry-After", "1").has(t, "Set-Cookie", "")
	if !strings.Contains(page.body, "Try again</a>") {
		t.Error("the page has no link to try again")
	}
	if got := b.get("/public").is(t, 200, ""); got.body != "true" {
		t.Errorf("public page: %s", got.body)
	}
	a.browser().get("/user").is(t, 401, "unauthenticated") // without a cookie, the user is not signed in
}

func TestBearer(t *testing.T) {
	a := newApp(t, nil)
	a.mux.Handle("/user", middleware.RequireUser(http.NotFoundHandler()))
	b := a.browser()
	b.signIn("admin@example.com")
	b.get("/user", "Authorization", "Bearer abc").is(t, 401, "unauthenticated").has(t, "Www-Authenticate", `Bearer error="invalid_token"`)
	b.get("/user", "Authorization", "Bearer abc", "Accept", asPage).isPage(t, 401, "signed in")
}

// The built-in routes refuse requests with a bearer token: these have no session
// that the routes could begin or end.
func TestBearerAtTheRoutes(t *testing.T) {
	for _, stored := range []bool{false, true} {
		a := newApp(t, func(c *session.Config) {
			if stored {
				c.Store = memstore.New()
			}
		})
		b := a.browser()
		b.signIn("admin@example.com")
		for path, fields := range map[string]string{
			"/login":     `{"email":"admin@example.com","password":"` + password + `"}`,
			"/login/mfa": `{"code":"123456"}`,
			"/logout":    `{"all":true}`,
		} {
			got := b.postJSON(path, fields, "Authorization", "Bearer abc")
			got.is(t, 401, "unauthenticated").has(t, "Www-Authenticate", `Bearer error="invalid_token"`).has(t, "Set-Cookie", "")
		}
		for path, form := range map[string]url.Values{
			"/login":     {"email": {"admin@example.com"}, "password": {password}},
			"/login/mfa": {"code": {"123456"}},
			"/logout":    {},
		} {
			got := b.do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", "Bearer abc", "Accept", asPage)
			got.isPage(t, 401, "signed in").has(t, "Www-Authenticate", `Bearer error="invalid_token"`).has(t, "Set-Cookie", "")
		}
		// The body is not read, so it cannot be the reason of the refusal.
		for _, path := range []string{"/login", "/login/mfa", "/logout"} {
			for _, typ := range []string{"application/json", "application/x-www-form-urlencoded", "text/plain"} {
				for _, body := range []string{"", "{", `{"all":1}`, "all=x", "%"} {
					got := b.do("POST", path, body, "Content-Type", typ, "Authorization", "Bearer abc")
					if got.StatusCode != 401 || got.Header.Get("Www-Authenticate") != `Bearer error="invalid_token"` {
						t.Errorf("%s with %s %q: status %d, %v", path, typ, body, got.StatusCode, got.Header)
					}
				}
			}
		}
		for _, header := range []string{"Bearer abc", "bearer abc", "Bearer"} {
			b.get("/login/mfa", "Authorization", header, "Accept", asPage).isPage(t, 401, "signed in").has(t, "Www-Authenticate", `Bearer error="invalid_token"`)
			b.get("/login", "Authorization", header).is(t, 200, "")
		}
		b.get("/login/mfa", "Authorization", "Basic abc", "Accept", asPage).is(t, 303, "")
		me(t, b, "user", "admin")
	}
}

// The files of a form are deleted after the request, as without Sessions.
func TestFilesOfFormsAreDeleted(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	parsed := 0
	a := newApp(t, nil)
	a.mux.HandleFunc("POST /upload", func(_ http.ResponseWriter, r *http.Request) {
		if err := r.ParseMultipartForm(0); err != nil {
			t.Error(err)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Error(err)
		}
		parsed = len(files)
	})
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "a.bin")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(make([]byte, 16<<20)) // net/http keeps 10 MB in memory
	_ = form.Close()
	res := a.browser().do("POST", "/upload", body.String(), "Content-Type", form.FormDataContentType())
	if res.StatusCode != http.StatusOK || parsed == 0 {
		t.Errorf("status %d, %d files", res.StatusCode, parsed)
	}
	a.srv.Close() // waits for the end of the request
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%d files are left (%v)", len(files), err)
	}
}
