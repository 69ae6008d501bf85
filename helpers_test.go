package session_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
)

func TestMain(m *testing.M) { os.Exit(testkit.Run(m, nil)) }

// clock is a clock that only the test moves.
type clock struct{ moved atomic.Int64 }

var epoch = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func (c *clock) Now() time.Time          { return epoch.Add(time.Duration(c.moved.Load())) }
func (c *clock) Advance(d time.Duration) { c.moved.Add(int64(d)) }

// stubAuth is an auth service that accepts all credentials. Its refresh tokens
// are UUIDs and can be used once.
type stubAuth struct {
	clock *clock
	life  time.Duration

	mu     sync.Mutex
	issued int
	live   map[string]bool   // refresh tokens
	users  map[string]string // their users
	roles  any               // of the next token
	user   string            // of the next sign-in; default "u1"
	pad    string            // of the access token, to make it long
	mfa    bool
	ticket string // of a second factor; by default a short one
	fails  error  // of refreshing
	calls  int    // calls of Refresh
}

// issue returns new tokens.
func (a *stubAuth) issue() auth.Tokens { return a.issueFor(cmp.Or(a.user, "u1")) }

func (a *stubAuth) issueFor(user string) auth.Tokens {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.issued++
	t := auth.Tokens{
		AccessToken:  accessToken(a.clock.Now(), a.life, user, a.roles, a.pad),
		RefreshToken: fmt.Sprintf("00000000-0000-4000-8000-%012d", a.issued),
	}
	if a.users == nil {
		a.users = map[string]string{}
	}
	a.live[t.RefreshToken], a.users[t.RefreshToken] = true, user
	return t
}

// accessToken has the form of the auth service's JWTs. The signature of a
// session's token is not checked.
func accessToken(now time.Time, life time.Duration, user string, roles any, pad string) string {
	payload, err := json.Marshal(map[string]any{
		"iat": now.Unix(), "exp": now.Add(life).Unix(), "pad": pad,
		"hasura": map[string]any{"x-hasura-user-id": user, "x-hasura-allowed-roles": roles, "x-hasura-default-role": "user"},
	})
	if err != nil {
		panic(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"HS256"}`)) + "." + b64(payload) + "." + b64(make([]byte, 32))
}

func (a *stubAuth) Login(context.Context, string, string) (auth.Grant, error) {
	if a.mfa {
		return auth.Grant{}, &auth.SecondFactorError{Ticket: cmp.Or(a.ticket, "the ticket")}
	}
	return auth.Grant{Tokens: a.issue()}, nil
}

func (a *stubAuth) LoginTOTP(_ context.Context, ticket, _ string) (auth.Grant, error) {
	if ticket != "the ticket" {
		return auth.Grant{}, auth.ErrTicketRefused
	}
	return auth.Grant{Tokens: a.issue()}, nil
}

func (a *stubAuth) Refresh(_ context.Context, t auth.Tokens) (auth.Grant, error) {
	refreshToken := t.RefreshToken
	a.mu.Lock()
	a.calls++
	err := a.fails
	a.mu.Unlock()
	switch {
	case err != nil:
		return auth.Grant{}, err
	case !a.use(refreshToken):
		return auth.Grant{}, auth.ErrRefused
	}
	a.mu.Lock()
	user := a.users[refreshToken]
	a.mu.Unlock()
	return auth.Grant{Tokens: a.issueFor(user)}, nil
}

// fail makes refreshes fail with err, or succeed again if err is nil.
func (a *stubAuth) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails = err
}

// refreshes returns the number of calls of Refresh.
func (a *stubAuth) refreshes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

func (a *stubAuth) Logout(_ context.Context, t auth.Tokens, _ bool) error {
	a.use(t.RefreshToken)
	return nil
}

func (a *stubAuth) use(refreshToken string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.live[refreshToken]
	delete(a.live, refreshToken)
	return was
}

func (a *stubAuth) liveTokens() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.live)
}

// events is a log that tests can search for events.
type events struct {
	mu    sync.Mutex
	lines []string
}

func (e *events) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, string(p))
	return len(p), nil
}

// count returns how many events contain all the texts.
func (e *events) count(texts ...string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, line := range e.lines {
		if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(line, s) }) {
			n++
		}
	}
	return n
}

// app is a Manager with its auth service, clock and log.
type app struct {
	*session.Manager
	t     testing.TB
	clock *clock
	auth  *stubAuth
	log   *events
}

// newApp makes a Manager; set may change its Config.
func newApp(t testing.TB, set ...func(*session.Config)) *app {
	t.Helper()
	a := &app{t: t, clock: &clock{}, log: &events{}}
	a.auth = &stubAuth{clock: a.clock, life: time.Hour, live: map[string]bool{}, roles: []string{"user"}}
	cfg := session.Config{
		Auth:   a.auth,
		Keys:   []session.SecretKey{session.GenerateKey()},
		Logger: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    a.clock.Now,
	}
	for _, f := range set {
		f(&cfg)
	}
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.Manager = m
	t.Cleanup(func() { shutdown(t, m) })
	return a
}

// shutdown shuts a Manager down at the end of a test.
func shutdown(t testing.TB, m *session.Manager) {
	t.Helper()
	if err := m.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

// visit handles a request with the given Cookie header. It returns the
// Set-Cookie lines of the response.
func (a *app) visit(cookie string, handler func(ctx context.Context, s *session.Session)) http.Header {
	a.t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	if cookie != "" {
		r.Header["Cookie"] = []string{cookie}
	}
	r, x := testkit.Begin(a.Manager, r)
	if handler != nil {
		handler(r.Context(), session.FromContext(r.Context()))
	}
	h := http.Header{}
	if err := x.Commit(h); err != nil {
		a.t.Errorf("commit: %v", err)
	}
	if err := x.End(); err != nil && !errors.Is(err, session.ErrEnded) {
		a.t.Errorf("end: %v", err)
	}
	// The cookie of a known device is not part of a session. It has its own tests.
	if lines := slices.DeleteFunc(h["Set-Cookie"], func(l string) bool { return strings.Contains(l, "-device=") }); len(lines) > 0 {
		h["Set-Cookie"] = lines
	} else {
		delete(h, "Set-Cookie")
	}
	return h
}

// browser keeps cookies by their name, in the order in which they were set.
type browser struct {
	*app
	names  []string
	values map[string]string
	last   http.Header // of the last response
}

func (a *app) browser() *browser { return &browser{app: a, values: map[string]string{}} }

// signedIn is a browser that has just signed in.
func (a *app) signedIn() *browser {
	a.t.Helper()
	b := a.browser()
	b.visit(func(ctx context.Context, _ *session.Session) {
		if err := a.Login(ctx, "user@example.com", "password"); err != nil {
			a.t.Fatal(err)
		}
	})
	return b
}

// header is the browser's Cookie header.
func (b *browser) header() string {
	var pairs []string
	for _, name := range b.names {
		pairs = append(pairs, name+"="+b.values[name])
	}
	return strings.Join(pairs, "; ")
}

// visit handles a request of the browser.
func (b *browser) visit(handler func(ctx context.Context, s *session.Session)) *browser {
	b.t.Helper()
	b.last = b.app.visit(b.header(), handler)
	b.receive(b.last)
	return b
}

// receive adopts the cookies of a response.
func (b *browser) receive(h http.Header) {
	b.t.Helper()
	for _, line := range h.Values("Set-Cookie") {
		name, value, maxAge := parseSetCookie(b.t, line)
		if maxAge == "0" {
			delete(b.values, name)
			b.names = slices.DeleteFunc(b.names, func(n string) bool { return n == name })
			continue
		}
		if _, ok := b.values[name]; !ok {
			b.names = append(b.names, name)
		}
		b.values[name] = value
	}
}

// is checks whether a request of the browser is signed in.
func (b *browser) is(signedIn bool) *browser {
	b.t.Helper()
	return b.visit(func(_ context.Context, s *session.Session) {
		b.t.Helper()
		if s.SignedIn() != signedIn || s.Err() != nil {
			b.t.Fatalf("signed in: %v (%v), want %v", s.SignedIn(), s.Err(), signedIn)
		}
	})
}

// parseSetCookie parses a Set-Cookie line and checks the attributes that all
// lines have.
func parseSetCookie(t testing.TB, line string) (name, value, maxAge string) {
	t.Helper()
	if len(line) > 4096 {
		t.Errorf("a Set-Cookie of %d bytes", len(line))
	}
	parts := strings.Split(line, "; ")
	name, value, ok := strings.Cut(parts[0], "=")
	if !ok || strings.ContainsAny(value, "\" ,;\\\t\r\n=") && strings.Trim(value, "=") == "" {
		t.Errorf("Set-Cookie: %q", line)
	}
	for _, p := range parts[1:] {
		if age, ok := strings.CutPrefix(p, "Max-Age="); ok {
			maxAge = age
		}
	}
	return name, value, maxAge
}

// swappingStore returns the records of other keys, as database drivers have
// done after a mix-up of connections.
type swappingStore struct {
	store.Store

	mu      sync.Mutex
	put     []string          // keys, in the order of their first Put
	puts    int               // calls of Put
	got     map[string]bool   // keys that were read, if not nil
	instead map[string]string // keys of the records to return
	alter   func(*store.Record)
}

func (s *swappingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	if s.got != nil {
		s.got[key] = true
	}
	if other, ok := s.instead[key]; ok {
		key = other
	}
	alter := s.alter
	s.mu.Unlock()
	rec, err := s.Store.Get(ctx, key)
	if alter != nil {
		alter(&rec)
	}
	return rec, err
}

// reads returns how many keys do reads.
func (s *swappingStore) reads(do func()) int {
	s.mu.Lock()
	s.got = map[string]bool{}
	s.mu.Unlock()
	do()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.got)
}

func (s *swappingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.mu.Lock()
	if s.puts++; prev == 0 && !testkit.IsCounter(rec.Key) {
		s.put = append(s.put, rec.Key)
	}
	s.mu.Unlock()
	return s.Store.Put(ctx, rec, prev)
}

// codePending reports whether the browser has a login that waits for its code.
func codePending(ctx context.Context, a *app) bool {
	_, ok := a.PendingLogin(ctx)
	return ok
}
