package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// stage provokes events, in virtual time.
type stage struct {
	*testkit.Visitor
	service *stageService
	store   *swappingStore        // of the Manager
	down    *testkit.FailingStore // in front of it
	cfg     session.Config
	seen    *sightings
}

// stageService is an auth service whose results each case sets.
type stageService struct {
	*testkit.Service
	login  func() (auth.Tokens, error)
	logout error
	change error // of a change of the password
}

func (s *stageService) ChangePassword(context.Context, string, string, string) error { return s.change }

func (s *stageService) Login(ctx context.Context, email, password string) (auth.Grant, error) {
	if s.login != nil {
		t, err := s.login()
		return auth.Grant{Tokens: t}, err
	}
	return s.Service.Login(ctx, email, password)
}

func (s *stageService) LoginTOTP(context.Context, string, string) (auth.Grant, error) {
	return auth.Grant{}, auth.ErrTicketRefused
}

func (s *stageService) Logout(ctx context.Context, t auth.Tokens, all bool) error {
	if s.logout != nil {
		return s.logout
	}
	return s.Service.Logout(ctx, t, all)
}

// sightings are the events that the hook and the log have received.
type sightings struct {
	mu     sync.Mutex
	hooked []session.Event
	log    bytes.Buffer
}

func (s *sightings) hook(ctx context.Context, e session.Event) {
	// The hook may use the session.
	_ = session.FromContext(ctx).UserID()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooked = append(s.hooked, e)
}

func (s *sightings) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// of returns the events of a name and a reason, and the levels at which they
// were logged.
func (s *sightings) of(t *testing.T, name, reason string) (events []session.Event, levels []string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.hooked {
		if e.Name == name && e.Reason == reason {
			events = append(events, e)
		}
	}
	for line := range strings.Lines(s.log.String()) {
		var l struct{ Level, Msg, Reason, Session, Error string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Msg != name || l.Reason != reason {
			continue
		}
		levels = append(levels, l.Level)
		if i := len(levels) - 1; i < len(events) && (l.Session != events[i].Session || (l.Error != "") != (events[i].Err != nil)) {
			t.Errorf("%s: logged as %s, the hook got %+v", name, line, events[i])
		}
	}
	return events, levels
}

// visit sends a request that reads the user.
func (st *stage) visit() { st.Get() }

// with returns the same browser with a Manager that has other settings.
func (st *stage) with(set func(*session.Config)) *testkit.Visitor {
	cfg := st.cfg
	set(&cfg)
	m, err := session.New(cfg)
	if err != nil {
		st.T.Fatal(err)
	}
	return &testkit.Visitor{T: st.T, M: m, Jar: st.Jar}
}

// other returns another browser in which the same user is signed in.
func (st *stage) other() *testkit.Visitor {
	v := &testkit.Visitor{T: st.T, M: st.M, Jar: map[string]string{}}
	v.Login("u1")
	return v
}

// late returns a copy of the browser, for a late request.
func (st *stage) late() *testkit.Visitor {
	jar := map[string]string{}
	for name, value := range st.Jar {
		jar[name] = value
	}
	return &testkit.Visitor{T: st.T, M: st.M, Jar: jar}
}

func (st *stage) calls(f func(context.Context) error) {
	st.T.Helper()
	st.Do(st.T.Context(), func(ctx context.Context, _ *session.Session) {
		if err := f(ctx); err != nil {
			st.T.Error(err)
		}
	})
}

// refreshes makes every later refresh call f.
func (st *stage) refreshes(f func() (auth.Tokens, error)) {
	st.service.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return f() }
}

func (st *stage) fails(errs ...error) {
	st.refreshes(func() (auth.Tokens, error) { return auth.Tokens{}, errors.Join(errs...) })
}

// expire waits until the access token has expired, and every pause is over.
func (st *stage) expire() { time.Sleep(20 * time.Minute) }

// altered returns tokens whose roles are not a list.
func (st *stage) altered() (auth.Tokens, error) {
	t := st.service.Issue("u1")
	parts := strings.Split(t.AccessToken, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString(bytes.Replace(payload, []byte(`["user"]`), []byte(`"admin"`), 1))
	t.AccessToken = strings.Join(parts, ".")
	return t, nil
}

// refused makes the service reject the refresh token.
func (st *stage) refused() {
	st.fails(auth.ErrRefused)
	st.expire()
	st.visit()
}

// unknown makes the service reject the refresh token after a lost response.
func (st *stage) unknown() {
	st.fails(auth.ErrUnavailable, auth.ErrOutcomeUnknown)
	st.expire()
	st.visit()
	st.fails(auth.ErrRefused)
	time.Sleep(time.Minute)
	st.visit()
}

// otherUser makes the service return another user's tokens.
func (st *stage) otherUser() {
	st.refreshes(func() (auth.Tokens, error) { return st.service.Issue("u2"), nil })
	st.expire()
	st.visit()
}

// lifetime uses the session until the end of its lifetime.
func (st *stage) lifetime() {
	for range 10 {
		time.Sleep(30 * time.Minute)
		st.visit()
	}
}

// idle does not use the session until its idle timeout.
func (st *stage) idle() {
	time.Sleep(time.Hour)
	st.visit()
}

const anyKind, storedKind, cookieKind = "", "stored", "cookie"

// eventCases has a row for every event, and for every reason of one.
var eventCases = []struct {
	name, reason string
	level        slog.Level
	noSession    bool   // the event is about no session
	unread       bool   // the record of a stored session has not been read
	kind         string // of the sessions in which it happens
	times        int    // 0 means once
	provoke      func(st *stage)
}{
	{name: "session_started", provoke: func(*stage) {}},
	{name: "bearer_refused", noSession: true, provoke: func(st *stage) { st.bearer(auth.ErrInvalidToken) }},
	{name: "verifier_unavailable", noSession: true, level: slog.LevelWarn, provoke: func(st *stage) { st.bearer(auth.ErrUnavailable) }},
	{name: "session_refreshed", provoke: func(st *stage) { st.expire(); st.visit() }},

	{name: "session_ended", reason: "logout", provoke: func(st *stage) { st.calls(st.M.Logout) }},
	{name: "session_ended", reason: "logout_all", kind: cookieKind, provoke: func(st *stage) { st.calls(st.M.LogoutAll) }},
	{name: "session_ended", reason: "actor_ended", provoke: func(st *stage) {
		st.Do(st.T.Context(), func(ctx context.Context, _ *session.Session) {
			if err := st.M.ActAs(ctx, auth.Grant{Tokens: st.service.Issue("u1")}); err != nil {
				st.T.Fatal(err)
			}
		})
		for name := range st.Jar {
			if !strings.Contains(name, "-acting") {
				delete(st.Jar, name) // the own session
			}
		}
		st.visit()
	}},
	{name: "session_ended", reason: "max_sessions", provoke: func(st *stage) {
		st.cfg.MaxSessions = 1
		m, err := session.New(st.cfg)
		if err != nil {
			st.T.Fatal(err)
		}
		st.T.Cleanup(func() { shutdown(st.T, m) })
		for range 2 {
			(&testkit.Visitor{T: st.T, M: m, Jar: map[string]string{}}).Login("u1")
		}
	}},
	{name: "session_ended", reason: "logout_all", kind: storedKind, times: 2, provoke: func(st *stage) {
		st.other()
		st.calls(st.M.LogoutAll)
	}},
	{name: "session_ended", reason: "replaced_by_login", provoke: func(st *stage) { st.Login("u1") }},
	{name: "session_ended", reason: "refresh_refused", provoke: (*stage).refused},
	{name: "session_ended", reason: "refresh_outcome_unknown", provoke: (*stage).unknown},
	{name: "session_ended", reason: "refresh_other_user", level: slog.LevelError, provoke: (*stage).otherUser},
	{name: "session_ended", reason: "idle_timeout", kind: cookieKind, provoke: (*stage).idle},
	{name: "session_ended", reason: "lifetime", kind: cookieKind, provoke: (*stage).lifetime},
	{name: "session_ended", reason: "logout_elsewhere", kind: storedKind, times: 2, provoke: func(st *stage) {
		second, third := st.other(), st.other()
		second.Get() // the process has this one open, and not the third
		st.calls(st.M.LogoutOthers)
		if second.Get().SignedIn() || third.Get().SignedIn() {
			st.T.Error("another session has not ended")
		}
	}},
	{name: "session_ended", reason: "login_not_delivered", provoke: func(st *stage) {
		r, x := testkit.Begin(st.M, httptest.NewRequest("POST", "/login", nil))
		_ = x.Commit(http.Header{})
		if err := st.M.Login(r.Context(), "u1", "password"); !errors.Is(err, session.ErrCommitted) {
			st.T.Errorf("login after the response has begun: %v", err)
		}
	}},

	{name: "cookie_refused", reason: "unreadable", noSession: true, provoke: func(st *stage) { st.Jar["__Host-session"] += "A"; st.visit() }},
	{name: "cookie_refused", reason: "logout", unread: true, provoke: func(st *stage) { late := st.late(); st.calls(st.M.Logout); late.Get() }},
	{name: "cookie_refused", reason: "logout_all", unread: true, provoke: func(st *stage) { late := st.late(); st.calls(st.M.LogoutAll); late.Get() }},
	{name: "cookie_refused", reason: "logout_elsewhere", kind: storedKind, unread: true, provoke: func(st *stage) {
		other := st.other()
		st.visit()
		(&stage{Visitor: other}).calls(other.M.LogoutOthers)
		synctest.Wait()
		st.visit()
	}},
	{name: "cookie_refused", reason: "replaced_by_login", unread: true, provoke: func(st *stage) { late := st.late(); st.Login("u1"); late.Get() }},
	{name: "cookie_refused", reason: "refresh_refused", provoke: (*stage).refused},
	{name: "cookie_refused", reason: "refresh_outcome_unknown", provoke: (*stage).unknown},
	{name: "cookie_refused", reason: "refresh_other_user", provoke: (*stage).otherUser},
	{name: "cookie_refused", reason: "idle_timeout", kind: cookieKind, provoke: (*stage).idle},
	{name: "cookie_refused", reason: "lifetime", kind: cookieKind, provoke: (*stage).lifetime},
	{name: "cookie_refused", reason: "revoked", unread: true, kind: storedKind, provoke: func(st *stage) {
		if err := st.store.Delete(st.T.Context(), st.store.put[0]); err != nil {
			st.T.Error(err)
		}
		st.visit()
	}},

	{name: "access_denied", provoke: func(st *stage) {
		st.Do(st.T.Context(), func(_ context.Context, s *session.Session) {
			_ = s.Authorize(func(s *session.Session) bool { return s.HasRole("admin") })
		})
	}},
	{name: "cross_origin_refused", level: slog.LevelWarn, noSession: true, provoke: func(st *stage) {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		_ = st.M.CheckOrigin(r)
	}},
	{name: "cookies_dropped", level: slog.LevelWarn, noSession: true, provoke: func(st *stage) {
		r := httptest.NewRequest("GET", "http://app.example.org/login", nil)
		for range 3 {
			if !st.M.DropsCookies(r) {
				st.T.Error("plain HTTP is not noticed")
			}
		}
	}},
	{name: "claims_unreadable", level: slog.LevelWarn, provoke: func(st *stage) { // at login
		st.service.login = st.altered
		st.Login("u1")
	}},
	{name: "claims_unreadable", level: slog.LevelWarn, provoke: func(st *stage) { // at a refresh
		st.refreshes(st.altered)
		st.expire()
		st.visit()
	}},
	{name: "claims_unreadable", level: slog.LevelWarn, provoke: func(st *stage) { // after a change of settings
		st.with(func(c *session.Config) { c.Claims.UserID = []string{"another-name"} }).Get()
	}},
	{name: "login_refused", noSession: true, provoke: func(st *stage) {
		st.service.login = func() (auth.Tokens, error) { return auth.Tokens{}, auth.ErrRefused }
		_ = st.tries()
	}},
	{name: "login_unavailable", level: slog.LevelWarn, noSession: true, provoke: func(st *stage) {
		st.service.login = func() (auth.Tokens, error) { return auth.Tokens{}, auth.ErrUnavailable }
		_ = st.tries()
	}},
	{name: "login_unavailable", level: slog.LevelWarn, noSession: true, provoke: func(st *stage) { // too long a ticket
		st.service.login = secondFactor(strings.Repeat("x", 4096))
		if err := st.tries(); !errors.Is(err, session.ErrTooLarge) {
			st.T.Errorf("login: %v, want ErrTooLarge", err)
		}
	}},
	{name: "login_unavailable", level: slog.LevelWarn, noSession: true, provoke: func(st *stage) { // too late a ticket
		st.service.login = secondFactor("ticket")
		r, x := testkit.Begin(st.M, httptest.NewRequest("POST", "/login", nil))
		_ = x.Commit(http.Header{})
		if err := st.M.Login(r.Context(), "u1", "password"); !errors.Is(err, session.ErrCommitted) {
			st.T.Errorf("login: %v, want ErrCommitted", err)
		}
	}},
	{name: "account_refused", level: slog.LevelInfo, provoke: func(st *stage) { st.changesPassword(auth.ErrRefused) }},
	{name: "too_many_attempts", level: slog.LevelWarn, noSession: true, provoke: func(st *stage) {
		st.service.login = func() (auth.Tokens, error) { return auth.Tokens{}, auth.ErrRefused }
		for range 11 {
			_ = st.tries()
		}
	}},
	{name: "account_unavailable", level: slog.LevelWarn, provoke: func(st *stage) { st.changesPassword(auth.ErrUnavailable) }},
	{name: "password_changed", level: slog.LevelInfo, provoke: func(st *stage) { st.changesPassword(nil) }},
	{name: "refresh_unavailable", level: slog.LevelWarn, provoke: func(st *stage) { st.fails(auth.ErrUnavailable); st.expire(); st.visit() }},
	{name: "refresh_unknown", level: slog.LevelWarn, provoke: func(st *stage) {
		st.fails(auth.ErrUnavailable, auth.ErrOutcomeUnknown)
		st.expire()
		st.visit()
	}},
	{name: "revoke_failed", level: slog.LevelWarn, noSession: true, provoke: func(st *stage) {
		st.service.logout = auth.ErrUnavailable
		st.calls(st.M.Logout)
	}},
	{name: "record_corrupt", level: slog.LevelError, unread: true, kind: storedKind, provoke: func(st *stage) {
		st.store.alter = func(r *store.Record) { r.Data, r.Version = []byte("x"), r.Version+1 }
		st.visit()
		st.store.alter = nil
	}},
	{name: "store_unavailable", level: slog.LevelError, unread: true, provoke: func(st *stage) { // when a session is loaded
		st.down.Down.Store(true)
		st.visit()
		st.down.Down.Store(false)
	}},
	{name: "store_unavailable", level: slog.LevelError, provoke: func(st *stage) { // when it is saved
		st.Do(st.T.Context(), func(ctx context.Context, s *session.Session) {
			if err := favorite.Set(s, "dark"); err != nil {
				st.T.Error(err)
			}
			st.down.Down.Store(true)
			if err := s.Save(ctx); !errors.Is(err, session.ErrSessionUnavailable) {
				st.T.Errorf("save: %v", err)
			}
			st.down.Down.Store(false)
		})
	}},
	{name: "tokens_unwritten", level: slog.LevelError, provoke: func(st *stage) {
		st.refreshes(func() (auth.Tokens, error) { st.down.Down.Store(true); return st.service.Issue("u1"), nil })
		st.expire()
		st.visit()
		st.down.Down.Store(false)
	}},
	{name: "tokens_unwritten", level: slog.LevelError, kind: cookieKind, provoke: func(st *stage) { // too large for cookies
		st.refreshes(func() (auth.Tokens, error) {
			t := st.service.Issue("u1")
			t.AccessToken += strings.Repeat("A", 20_000)
			return t, nil
		})
		st.expire()
		st.visit()
	}},
	{name: "tokens_lost", level: slog.LevelError, provoke: func(st *stage) {
		st.refreshes(func() (auth.Tokens, error) { st.down.Down.Store(true); return st.service.Issue("u1"), nil })
		st.expire()
		st.visit()
		time.Sleep(2 * time.Hour)
		st.down.Down.Store(false)
	}},
	{name: "values_lost", level: slog.LevelError, kind: storedKind, provoke: func(st *stage) { // too large
		st.changesLate(func() {
			st.Do(st.T.Context(), func(_ context.Context, s *session.Session) {
				if err := session.NewKey[string]("other").Set(s, strings.Repeat("x", 600_000)); err != nil {
					st.T.Error(err)
				}
			})
		}, session.ErrTooLarge)
	}},
	{name: "values_lost", level: slog.LevelError, kind: storedKind, provoke: func(st *stage) { // the store is down
		st.changesLate(func() { st.down.Down.Store(true) }, session.ErrSessionUnavailable)
		st.down.Down.Store(false)
	}},
}

// changesLate sends a request that changes a value after the start of the response.
// meanwhile happens before the end of the request, which fails with want.
func (st *stage) changesLate(meanwhile func(), want error) {
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range st.Jar {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	r, x := testkit.Begin(st.M, r)
	err := errors.Join(x.Commit(http.Header{}), favorite.Set(session.FromContext(r.Context()), strings.Repeat("x", 600_000)))
	if err != nil {
		st.T.Fatal(err)
	}
	meanwhile()
	if err := x.End(); !errors.Is(err, want) {
		st.T.Errorf("end: %v, want %v", err, want)
	}
}

// bearer sends a request with a bearer token to a Manager whose verifier returns err.
func (st *stage) bearer(err error) {
	v := &stubVerifier{}
	v.fail(func(string) error { return err })
	api := st.with(withVerifier(v))
	api.Change = func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }
	api.Get()
}

// secondFactor is a login that requires a one-time code.
func secondFactor(ticket string) func() (auth.Tokens, error) {
	return func() (auth.Tokens, error) { return auth.Tokens{}, &auth.SecondFactorError{Ticket: ticket} }
}

// changesPassword changes the password, with this error of the service.
func (st *stage) changesPassword(err error) {
	st.service.change = err
	st.Do(st.T.Context(), func(ctx context.Context, _ *session.Session) { _ = st.M.ChangePassword(ctx, "old", "new") })
}

// tries sends a login, and returns its error.
func (st *stage) tries() (err error) {
	st.Do(st.T.Context(), func(ctx context.Context, _ *session.Session) { err = st.M.Login(ctx, "u1", "password") })
	return err
}

// The hook and the log receive every event, with its name, reason, level and
// session.
func TestEvents(t *testing.T) {
	for i, c := range eventCases {
		for _, kind := range []string{storedKind, cookieKind} {
			if c.kind != anyKind && c.kind != kind {
				continue
			}
			t.Run(strings.Join([]string{strconv.Itoa(i), c.name, c.reason, kind}, " "), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st := newStage(t, kind)
					c.provoke(st)
					synctest.Wait()
					events, levels := st.seen.of(t, c.name, c.reason)
					if want := max(c.times, 1); len(events) != want || len(levels) != want {
						t.Fatalf("hook called %d times, logged %d times, want %d; log:\n%s", len(events), len(levels), want, st.seen.log.String())
					}
					for i, e := range events {
						if levels[i] != c.level.String() {
							t.Errorf("logged as %s, want %v", levels[i], c.level)
						}
						if c.noSession != (e.Session == "") || !c.noSession && e.Session == "" {
							t.Errorf("about the session %q", e.Session)
						}
						want := "u1"
						if c.noSession || c.unread {
							want = ""
						}
						if e.UserID != want && (kind == storedKind || !c.unread) {
							t.Errorf("about the user %q, want %q", e.UserID, want)
						}
					}
				})
			})
		}
	}
}

func newStage(t *testing.T, kind string) *stage {
	service := &stageService{Service: &testkit.Service{}}
	swap := &swappingStore{Store: memstore.New()}
	st := &stage{service: service, store: swap, down: &testkit.FailingStore{Store: swap}, seen: &sightings{}}
	st.refreshes(func() (auth.Tokens, error) { return service.Issue("u1"), nil })
	st.cfg = session.Config{
		Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, IdleTimeout: time.Hour, Lifetime: 5 * time.Hour, OnEvent: st.seen.hook,
		Logger: slog.New(slog.NewJSONHandler(st.seen, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if kind == storedKind {
		st.cfg.Store = st.down
	} else {
		st.cfg.Coordinator = st.down
	}
	m, err := session.New(st.cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, m) })
	st.Visitor = &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
	st.Login("u1")
	return st
}

// Every event and every reason has a case.
func TestEventsHaveCases(t *testing.T) {
	cases := map[string]bool{}
	for _, c := range eventCases {
		cases[c.name], cases[c.name+" "+c.reason] = true, true
	}
	for _, name := range constants(t, "events.go", "Event") {
		if !cases[name] {
			t.Errorf("no case provokes %s", name)
		}
	}
	for _, reason := range append(constants(t, "internal/keeper/end.go", "ended"), constants(t, "internal/keeper/end.go", "Ended")...) {
		ended, refused := cases["session_ended "+reason], cases["cookie_refused "+reason]
		if !ended && !refused {
			t.Errorf("no case has the reason %s", reason)
		}
	}
}

// constants returns the values of a file's constants whose names begin so.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, name := range v.Names {
				if strings.HasPrefix(name.Name, prefix) {
					text, err := strconv.Unquote(v.Values[i].(*ast.BasicLit).Value)
					if err != nil {
						t.Fatal(err)
					}
					values = append(values, text)
				}
			}
		}
	}
	if len(values) < 4 {
		t.Fatalf("%s: only %q", file, values)
	}
	return values
}
