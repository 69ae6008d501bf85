// Package outcomes_test injects every fault of the auth service and checks the response,
// the cookies, the session, the time of the next attempt, and the recovery. It uses real
// HTTP over sockets. Only the tests move the clocks.
package outcomes_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/labstack/echo/v4"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

func TestMain(m *testing.M) {
	scale.AtOnce(32) // they wait for timeouts
	os.Exit(testkit.Run(m, nil))
}

const (
	// tooLong is longer than any step takes on a busy machine, unless it hangs.
	tooLong = 30 * time.Second

	// shortTimeout is Config.AuthTimeout of tests that reach it.
	shortTimeout = 2 * time.Second

	// flightTime is how long a refresh continues with shortTimeout.
	flightTime = 3 * shortTimeout

	accessLife = 15 * time.Minute
	inWindow   = accessLife - 30*time.Second // due, and valid for another half a minute
	expired    = accessLife + time.Second

	user       = "user@example.com"
	password   = "correct horse battery staple"
	totpUser   = "totp@example.com"
	totpSecret = "JBSWY3DPEHPK3PXP"
)

// clock is a clock that only the test moves. The app and the auth service share it.
type clock struct {
	start time.Time
	moved atomic.Int64
}

func (c *clock) now() time.Time          { return c.start.Add(time.Duration(c.moved.Load())) }
func (c *clock) advance(d time.Duration) { c.moved.Add(int64(d)) }

// kinds are the combinations of a place of sessions and a framework.
var kinds = slices.Concat(stores["cookie"], stores["memory"])

// kindsFor returns the kinds for a case: n of them, which its name selects, in CI three,
// and all with LONG=1. The first two are in cookies and in a store. Three have all
// frameworks.
func kindsFor(name string, n int) []string {
	step := scale.Of(len(kinds)/2, 2, 1)
	n = scale.Of(n, len(kinds)/2, len(kinds))
	h := fnv.New32a()
	_, _ = io.WriteString(h, name)
	var chosen []string
	for i := range n {
		chosen = append(chosen, kinds[(int(h.Sum32()%6)+step*i)%len(kinds)])
	}
	return chosen
}

var stores = map[string][]string{
	"cookie": {"cookie/nethttp", "cookie/echo", "cookie/gin"},
	"memory": {"memory/nethttp", "memory/echo", "memory/gin"},
}

// site is an app and its auth service.
type site struct {
	t       *testing.T
	stored  bool
	clock   *clock
	auth    *authtest.Server
	server  *httptest.Server
	manager *session.Manager
	journal *journal

	mu      sync.Mutex
	secrets map[string]bool // they must not be in a log
}

type option func(*session.Config, *authtest.Options)

func withTimeout(d time.Duration) option {
	return func(c *session.Config, _ *authtest.Options) { c.AuthTimeout = d }
}

func newSite(t *testing.T, kind string, opts ...option) *site {
	t.Helper()
	store, framework, _ := strings.Cut(kind, "/")
	s := &site{
		t: t, stored: store == "memory", clock: &clock{start: time.Now()}, journal: &journal{}, secrets: map[string]bool{password: true},
	}
	service := authtest.Options{
		Accounts: []authtest.Account{
			{Email: user, Password: password, Roles: []string{"user", "analyst"}},
			{Email: totpUser, Password: password, TOTPSecret: totpSecret},
			{Email: "other@example.com", Password: password},
		},
		AccessLife: accessLife, PasswordCost: -1, Now: s.clock.now,
	}
	log := slog.New(slog.NewJSONHandler(s.journal, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := session.Config{
		Keys: []session.SecretKey{session.GenerateKey()}, AuthTimeout: tooLong, StoreTimeout: tooLong,
		Logger: log, Now: s.clock.now, OnEvent: s.journal.note,
	}
	if s.stored {
		cfg.Store = &memstore.Store{Now: s.clock.now}
	}
	for _, o := range opts {
		o(&cfg, &service)
	}
	s.auth = authtest.NewServer(t, service)
	transport := synmetrix.NewTransport()
	if cfg.Auth == nil {
		cfg.Auth = synmetrix.NewClient(s.auth.URL, synmetrix.WithTransport(transport), synmetrix.WithTimeout(tooLong), synmetrix.WithLogger(log))
	}
	var err error
	if s.manager, err = session.New(cfg); err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewUnstartedServer(s.app(framework))
	s.server.Config.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelError)
	s.server.StartTLS()
	t.Cleanup(func() {
		s.server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), tooLong)
		defer cancel()
		if err := s.manager.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		s.noSecretsLogged()
	})
	return s
}

// app returns the app under a framework.
func (s *site) app(framework string) http.Handler {
	public := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "public, signed in: %v", session.FromContext(r.Context()).SignedIn())
	}
	static := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "static") }
	switch framework {
	case "echo":
		e := echo.New()
		e.Use(sessionecho.Sessions(s.manager))
		sessionecho.Mount(e, s.manager)
		serve := func(h http.HandlerFunc) echo.HandlerFunc { return echo.WrapHandler(h) }
		e.Any("/me", serve(s.me), sessionecho.RequireUser)
		e.Any("/analysts", serve(s.me), sessionecho.RequireRole("analyst"))
		e.Any("/admins", serve(s.me), sessionecho.RequireRole("admin"))
		e.GET("/public", serve(public))
		e.GET("/static", serve(static))
		return e
	case "gin":
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(sessiongin.Sessions(s.manager))
		sessiongin.Mount(r, s.manager)
		r.Any("/me", sessiongin.RequireUser, gin.WrapF(s.me))
		r.Any("/analysts", sessiongin.RequireRole("analyst"), gin.WrapF(s.me))
		r.Any("/admins", sessiongin.RequireRole("admin"), gin.WrapF(s.me))
		r.GET("/public", gin.WrapF(public))
		r.GET("/static", gin.WrapF(static))
		return r
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, s.manager)
	mux.Handle("/me", middleware.RequireUser(http.HandlerFunc(s.me)))
	mux.Handle("/analysts", middleware.RequireRole("analyst")(http.HandlerFunc(s.me)))
	mux.Handle("/admins", middleware.RequireRole("admin")(http.HandlerFunc(s.me)))
	mux.HandleFunc("GET /public", public)
	mux.HandleFunc("GET /static", static)
	return middleware.Sessions(s.manager)(mux)
}

// me responds like middleware.Me, and records the access token as a secret.
func (s *site) me(w http.ResponseWriter, r *http.Request) {
	token, err := session.FromContext(r.Context()).AccessToken(r.Context())
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	s.secret(token)
	middleware.Me(w, r)
}

func (s *site) secret(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		if v != "" {
			s.secrets[v] = true
		}
	}
}

func (s *site) noSecretsLogged() {
	s.secret(s.auth.LiveTokens(user)...)
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.journal.text()
	for v := range s.secrets {
		if strings.Contains(log, v) {
			s.t.Errorf("a secret of %d bytes is in the log", len(v))
		}
	}
}

// journal keeps the events and the log.
type journal struct {
	mu     sync.Mutex
	events []session.Event
	log    bytes.Buffer
}

func (j *journal) note(_ context.Context, e session.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.Write(p)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.String()
}

// of returns the events of the given names.
func (j *journal) of(names ...string) []session.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []session.Event
	for _, e := range j.events {
		if slices.Contains(names, e.Name) {
			found = append(found, e)
		}
	}
	return found
}

// wait returns the events of the given names once there are n of them.
func (j *journal) wait(t *testing.T, n int, names ...string) []session.Event {
	t.Helper()
	for end := time.Now().Add(tooLong); ; time.Sleep(time.Millisecond) {
		if found := j.of(names...); len(found) >= n {
			return found
		}
		if time.Now().After(end) {
			t.Fatalf("%d events of %q, want %d; log:\n%s", len(j.of(names...)), names, n, j.text())
		}
	}
}

// failures are the events of a refresh that failed.
var failures = []string{session.EventRefreshUnavailable, session.EventRefreshUnknown}

// browser keeps cookies, and follows no redirects.
type browser struct {
	*site
	cookies map[string]string
}

func (s *site) browser() *browser { return &browser{s, map[string]string{}} }

// response is a response that has been read.
type response struct {
	t       *testing.T
	what    string
	status  int
	header  http.Header
	body    string
	renewed []string // the names of the cookies that it sets
	expired []string // the names of the cookies that it deletes
}

func (b *browser) send(method, path, body string, header ...string) response {
	b.t.Helper()
	a, err := b.try(method, path, body, header...)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// start sends a GET request in the background. wait waits for the response.
func (b *browser) start(path string) (wait func() response) {
	type result struct {
		response
		error
	}
	done := make(chan result, 1)
	go func() {
		a, err := b.try("GET", path, "", "Accept", "application/json")
		done <- result{a, err}
	}()
	return func() response {
		b.t.Helper()
		r := <-done
		if r.error != nil {
			b.t.Fatalf("GET %s: %v", path, r.error)
		}
		return r.response
	}
}

// try sends a request and reads the response.
func (b *browser) try(method, path, body string, header ...string) (response, error) {
	req, err := http.NewRequest(method, b.server.URL+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	if body == "" {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	for name, value := range b.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*tooLong)
	defer cancel()
	resp, err := b.server.Client().Transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{}, err
	}
	a := response{t: b.t, what: method + " " + path, status: resp.StatusCode, header: resp.Header, body: string(text)}
	for _, line := range resp.Header.Values("Set-Cookie") {
		c, err := http.ParseSetCookie(line)
		if err != nil || len(line) > 4096 || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" {
			b.t.Errorf("%s: Set-Cookie: %.100s", a.what, line)
			continue
		}
		if c.MaxAge < 0 {
			a.expired = append(a.expired, c.Name)
			delete(b.cookies, c.Name)
			continue
		}
		b.secret(c.Value)
		if strings.HasSuffix(c.Name, "-device") {
			continue // the device cookie outlives sessions
		}
		a.renewed = append(a.renewed, c.Name)
		b.cookies[c.Name] = c.Value
	}
	return a, nil
}

// get sends the request of a program.
func (b *browser) get(path string) response {
	b.t.Helper()
	return b.send("GET", path, "", "Accept", "application/json")
}

// open sends the request of a browser whose user has followed a link.
func (b *browser) open(path string) response {
	b.t.Helper()
	return b.send("GET", path, "", "Accept", "text/html,*/*;q=0.8", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none")
}

// post sends JSON.
func (b *browser) post(path, body string) response {
	b.t.Helper()
	return b.send("POST", path, body, "Content-Type", "application/json")
}

// submit sends a form. fields has alternating names and values.
func (b *browser) submit(path string, fields ...string) response {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html,*/*;q=0.8",
		"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin")
}

func (b *browser) login(email string) response {
	b.t.Helper()
	return b.post("/login", `{"email":"`+email+`","password":"`+password+`"}`)
}

// signedIn returns a browser whose user has just signed in.
func (s *site) signedIn(email string) *browser {
	s.t.Helper()
	b := s.browser()
	b.login(email).is(http.StatusOK, "")
	s.secret(s.auth.LiveTokens(email)...)
	return b
}

// is checks the status, and the code of a refusal.
func (a response) is(status int, code string) response {
	a.t.Helper()
	var got struct {
		Status int
		Code   string
	}
	if code != "" {
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Status != a.status || a.header.Get("Content-Type") != "application/problem+json" {
			a.t.Errorf("%s: a problem as %s: %.100s", a.what, a.header.Get("Content-Type"), a.body)
		}
	}
	if a.status != status || got.Code != code {
		a.t.Fatalf("%s: %d %s, want %d %s; body: %.200s", a.what, a.status, got.Code, status, code, a.body)
	}
	if status == http.StatusServiceUnavailable {
		a.retryAfter()
	}
	return a
}

// leavesCookies checks that the response changes no cookie.
func (a response) leavesCookies() response {
	a.t.Helper()
	if len(a.renewed)+len(a.expired) > 0 {
		a.t.Errorf("%s: %d: cookies set: %q, expired: %q", a.what, a.status, a.renewed, a.expired)
	}
	return a
}

// retryAfter returns the Retry-After of the response, which must be one second or more.
func (a response) retryAfter() int {
	a.t.Helper()
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		a.t.Errorf("%s: %d: Retry-After: %q", a.what, a.status, a.header.Get("Retry-After"))
	}
	return seconds
}

// tokenEnds returns when the access token expires, by the response of /me.
func (a response) tokenEnds() time.Time {
	a.t.Helper()
	var me struct {
		AccessTokenExpiresAt int64 `json:"access_token_expires_at"`
	}
	if err := json.Unmarshal([]byte(a.body), &me); err != nil || me.AccessTokenExpiresAt == 0 {
		a.t.Fatalf("%s: %v: %.200s", a.what, err, a.body)
	}
	return time.Unix(me.AccessTokenExpiresAt, 0)
}
