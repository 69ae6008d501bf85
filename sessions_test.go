package session_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// managerWith returns a Manager with an auth service that accepts every password.
func managerWith(t *testing.T, cfg session.Config) *session.Manager {
	t.Helper()
	if cfg.Auth == nil {
		cfg.Auth = &testkit.Service{Life: 100 * 24 * time.Hour}
	}
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return webapp.NewManager(t, cfg)
}

// devices are several browsers of an app with stored sessions.
type devices struct {
	t       *testing.T
	service *testkit.Service
	events  *testkit.Events
	keys    []session.SecretKey
	store   store.Store
	m       *session.Manager // a process
	other   *session.Manager // another Manager
}

// withDevices runs a test in virtual time: with the memory of the process as the store,
// and with a store that two processes share, where records are sealed.
func withDevices(t *testing.T, test func(t *testing.T, d *devices)) {
	for _, kind := range []string{"memory", "shared"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &devices{t: t, service: &testkit.Service{Life: 100 * 24 * time.Hour}, events: &testkit.Events{}, keys: []session.SecretKey{session.GenerateKey()}}
				d.store = memstore.New()
				if kind == "shared" {
					d.store = &testkit.FailingStore{Store: d.store}
				}
				d.m = d.process(d.keys...)
				d.other = d.m
				if kind == "shared" {
					d.other = d.process(d.keys...)
				}
				test(t, d)
			})
		})
	}
}

func (d *devices) process(keys ...session.SecretKey) *session.Manager {
	return managerWith(d.t, session.Config{
		Auth: d.service, Keys: keys, Store: d.store, OnEvent: d.events.Add,
		IdleTimeout: 10 * time.Hour, Lifetime: 100 * time.Hour,
	})
}

// browser returns a browser in which user is signed in.
func (d *devices) browser(m *session.Manager, user, addr, agent string) *testkit.Visitor {
	d.t.Helper()
	v := &testkit.Visitor{T: d.t, M: m, Jar: map[string]string{}, Change: func(r *http.Request) {
		r.RemoteAddr = net.JoinHostPort(addr, "4711")
		r.Header.Set("User-Agent", agent)
	}}
	v.Login(user)
	return v
}

// sessions returns the list that a browser gets.
func sessions(v *testkit.Visitor) (list []session.SessionInfo) {
	v.T.Helper()
	v.Do(v.T.Context(), func(ctx context.Context, _ *session.Session) {
		var err error
		if list, err = v.M.Sessions(ctx); err != nil {
			v.T.Error(err)
		}
	})
	return list
}

// agents returns the User-Agent fields in a list.
func agents(list []session.SessionInfo) (names []string) {
	for _, s := range list {
		names = append(names, s.UserAgent)
	}
	return names
}

// handle returns the handle of the session in v.
func handle(v *testkit.Visitor) string {
	for _, s := range sessions(v) {
		if s.Current {
			return s.Handle
		}
	}
	return ""
}

// do runs f in a request and returns its error.
func do(v *testkit.Visitor, f func(ctx context.Context) error) (err error) {
	v.Do(v.T.Context(), func(ctx context.Context, _ *session.Session) { err = f(ctx) })
	return err
}

func TestSessions(t *testing.T) {
	withDevices(t, func(t *testing.T, d *devices) {
		start := time.Now()
		phone := d.browser(d.m, "ada", "198.51.100.1", "phone")
		time.Sleep(time.Hour)
		laptop := d.browser(d.other, "ada", "2001:db8::1", "laptop")
		d.browser(d.m, "bob", "198.51.100.9", "of bob")
		time.Sleep(time.Hour)
		desk := d.browser(d.m, "ada", "198.51.100.2", "desk")

		got := sessions(laptop)
		if want := []string{"laptop", "desk", "phone"}; !slices.Equal(agents(got), want) {
			t.Fatalf("the list is %q, want %q", agents(got), want)
		}
		last := got[2]
		if !last.CreatedAt.Equal(start) || !last.LastSeenAt.Equal(start) || last.Addr.String() != "198.51.100.1" || last.Current {
			t.Errorf("the phone is listed as %+v", last)
		}
		if !got[0].Current || !got[0].LastSeenAt.Equal(time.Now()) || got[0].Addr.String() != "2001:db8::1" {
			t.Errorf("the session of the request is listed as %+v", got[0])
		}
		for _, s := range got {
			if len(s.Handle) != 22 || strings.ContainsAny(s.Handle, "+/=") {
				t.Errorf("the handle is %q", s.Handle)
			}
		}
		before := handle(phone)

		// The use of a session is recorded, handles do not change, and sessions that have
		// reached the idle timeout are not listed.
		time.Sleep(7 * time.Hour)
		phone.At(d.other).Get()
		desk.Get()
		time.Sleep(4 * time.Hour)
		got = sessions(desk)
		if want := []string{"desk", "phone"}; !slices.Equal(agents(got), want) {
			t.Fatalf("the list is %q, want %q", agents(got), want)
		}
		if phone := got[1]; !phone.LastSeenAt.Equal(start.Add(9*time.Hour)) || !phone.CreatedAt.Equal(start) || phone.Handle != before {
			t.Errorf("the phone is listed as %+v", phone)
		}
	})
}

// The User-Agent in a list is bounded, and contains no characters that change how a page
// or a terminal shows it.
func TestSessionsCleanUserAgents(t *testing.T) {
	withDevices(t, func(t *testing.T, d *devices) {
		for sent, want := range map[string]string{
			"Mozilla/5.0 (X11)":                  "Mozilla/5.0 (X11)",
			"":                                   "",
			"a\x00b\x1b[2Jc\r\nd\te\x7f":         "ab[2Jcde",
			"\u202eabc\u2066\ufeff\u200b":        "abc",
			"\xff\xfea\xc3":                      "a",
			strings.Repeat("x", 1<<20):           strings.Repeat("x", 256),
			"x" + strings.Repeat("é", 200):       "x" + strings.Repeat("é", 127),
			strings.Repeat("\x01", 2000) + "end": "",
		} {
			v := d.browser(d.m, "ada", "192.0.2.1", sent)
			if got := sessions(v)[0].UserAgent; got != want {
				t.Errorf("%.40q is listed as %.40q, want %.40q", sent, got, want)
			}
			if got := sessions(v.At(d.other))[0].UserAgent; got != want || !utf8.ValidString(got) {
				t.Errorf("%.40q is listed as %.40q by another process, want %.40q", sent, got, want)
			}
		}
	})
}

func TestEndSession(t *testing.T) {
	withDevices(t, func(t *testing.T, d *devices) {
		phone, laptop := d.browser(d.m, "ada", "192.0.2.1", "phone"), d.browser(d.other, "ada", "192.0.2.2", "laptop")
		bob := d.browser(d.m, "bob", "192.0.2.3", "of bob")
		end := func(v *testkit.Visitor, handle string) error {
			return do(v, func(ctx context.Context) error { return v.M.EndSession(ctx, handle) })
		}
		// Guessed handles, and handles of other users.
		for _, guess := range []string{handle(bob), "", "x", strings.Repeat("A", 22), handle(bob)[:21], handle(laptop) + "A", strings.Repeat("A", 1<<20)} {
			if err := end(phone, guess); !errors.Is(err, session.ErrNoSuchSession) {
				t.Errorf("%.30q: error %v", guess, err)
			}
		}
		if !bob.Get().SignedIn() || !laptop.Get().SignedIn() {
			t.Fatal("a guess has ended a session")
		}

		old := handle(laptop)
		stream := laptop.Get().Done()
		if err := end(phone, old); err != nil {
			t.Fatal(err)
		}
		if laptop.Get().SignedIn() || laptop.At(d.m).Get().SignedIn() {
			t.Error("the session is served after its end")
		}
		<-stream
		if !d.events.Has(session.EventSessionEnded, "logout_elsewhere") {
			t.Error("the end was not reported")
		}
		if got := agents(sessions(phone)); !slices.Equal(got, []string{"phone"}) {
			t.Errorf("the list is %q", got)
		}
		if err := end(phone, old); !errors.Is(err, session.ErrNoSuchSession) {
			t.Errorf("the second end: error %v", err)
		}
		// The session of the request.
		if err := end(phone, handle(phone)); err != nil {
			t.Fatal(err)
		}
		if phone.Get().SignedIn() || len(phone.Jar) > 0 {
			t.Error("the session of the request is served after its end")
		}
		if err := end(phone, old); !errors.Is(err, session.ErrUnauthenticated) {
			t.Errorf("signed out: error %v", err)
		}
		if !bob.Get().SignedIn() {
			t.Error("another user's session has ended")
		}
	})
}

func TestLogoutOthers(t *testing.T) {
	withDevices(t, func(t *testing.T, d *devices) {
		this, bob := d.browser(d.m, "ada", "192.0.2.1", "this"), d.browser(d.m, "bob", "192.0.2.3", "of bob")
		var others []*testkit.Visitor
		for i := range 10 {
			others = append(others, d.browser([]*session.Manager{d.m, d.other}[i%2], "ada", "192.0.2.2", "other"))
		}
		if err := do(this, this.M.LogoutOthers); err != nil {
			t.Fatal(err)
		}
		for _, v := range others {
			if v.Get().SignedIn() || v.At(d.m).Get().SignedIn() {
				t.Error("another session is served after its end")
			}
		}
		if !this.Get().SignedIn() || !bob.Get().SignedIn() {
			t.Error("a session has ended that should not")
		}
		if got := agents(sessions(this)); !slices.Equal(got, []string{"this"}) {
			t.Errorf("the list is %q", got)
		}
	})
}

// The tokens of a session that ends elsewhere are revoked by each process that can
// open it.
func TestTokensOfAnotherSessionAreRevoked(t *testing.T) {
	withDevices(t, func(t *testing.T, d *devices) {
		this, other := d.browser(d.m, "ada", "192.0.2.1", "this"), d.browser(d.m, "ada", "192.0.2.1", "other")
		other.Get() // so that the process has it open
		if err := do(this, this.M.LogoutOthers); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if single, _, _ := d.service.Revoked(); !slices.Equal(single, []string{"rt-2"}) {
			t.Errorf("revoked %q, want the token of the other session", single)
		}
	})
}

// A process that cannot open the session does not revoke its tokens. A process that has
// opened it does.
func TestAnotherProcessRevokesTokens(t *testing.T) {
	withDevices(t, func(t *testing.T, d *devices) {
		if d.other == d.m {
			return
		}
		this, other, stream := d.browser(d.m, "ada", "192.0.2.1", "this"), d.browser(d.other, "ada", "192.0.2.1", "other"), d.browser(d.other, "ada", "192.0.2.1", "stream")
		other.Get()
		done := stream.Get().Done()
		if err := do(this, this.M.LogoutOthers); err != nil {
			t.Fatal(err)
		}
		// The other process may have seen the end of the stream's session already.
		if single, _, _ := d.service.Revoked(); slices.Contains(single, "rt-2") {
			t.Errorf("revoked %q by a process that has not opened the sessions", single)
		}
		for range 3 {
			other.Copy().Get()
		}
		<-done
		synctest.Wait()
		single, _, _ := d.service.Revoked()
		if slices.Sort(single); !slices.Equal(single, []string{"rt-2", "rt-3"}) {
			t.Errorf("revoked %q, want the tokens of both sessions, once", single)
		}
	})
}

// A list shows sessions that an older key has sealed, and none that an unknown key has
// sealed.
func TestSessionsAfterNewKeys(t *testing.T) {
	withDevices(t, func(t *testing.T, d *devices) {
		old := d.browser(d.m, "ada", "192.0.2.1", "old")
		rotated := d.process(append([]session.SecretKey{session.GenerateKey()}, d.keys...)...)
		this := d.browser(rotated, "ada", "192.0.2.1", "new")
		foreign := d.process(session.GenerateKey())
		d.browser(foreign, "ada", "192.0.2.1", "foreign")
		if got := agents(sessions(this)); !slices.Equal(got, []string{"new", "old"}) && !slices.Equal(got, []string{"old", "new"}) {
			t.Errorf("the list is %q", got)
		}
		old.At(rotated).Get() // seals the record with the new key
		if got := agents(sessions(this)); len(got) != 2 {
			t.Errorf("the list is %q", got)
		}
		if err := do(this, this.M.LogoutOthers); err != nil {
			t.Fatal(err)
		}
		if old.At(rotated).Get().SignedIn() {
			t.Error("a session with an older key is served after its end")
		}
	})
}

// mixedUp is a store that returns records of other users.
type mixedUp struct {
	store.Store
	all []store.Record
}

func (s *mixedUp) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.all = append(s.all, rec)
	return s.Store.Put(ctx, rec, prev)
}

func (s *mixedUp) List(_ context.Context, owner string) ([]store.Record, error) {
	var all []store.Record
	for i, rec := range s.all {
		rec.Owner = owner
		all = append(all, rec)
		rec.Key = s.all[(i+1)%len(s.all)].Key // and under another key
		all = append(all, rec)
	}
	return all, nil
}

func TestSessionsOfAnotherUserAreNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &mixedUp{Store: memstore.New()}
		d := &devices{t: t, service: &testkit.Service{}, events: &testkit.Events{}, store: st}
		d.m = d.process(session.GenerateKey())
		this, bob := d.browser(d.m, "ada", "192.0.2.1", "this"), d.browser(d.m, "bob", "192.0.2.1", "of bob")
		if got := agents(sessions(this)); !slices.Equal(got, []string{"this"}) {
			t.Errorf("the list is %q", got)
		}
		of := handle(bob)
		if err := do(this, func(ctx context.Context) error { return d.m.EndSession(ctx, of) }); !errors.Is(err, session.ErrNoSuchSession) {
			t.Errorf("error %v", err)
		}
	})
}

func TestSessionsErrors(t *testing.T) {
	calls := map[string]func(*session.Manager, context.Context) error{
		"Sessions":     func(m *session.Manager, ctx context.Context) error { _, err := m.Sessions(ctx); return err },
		"EndSession":   func(m *session.Manager, ctx context.Context) error { return m.EndSession(ctx, "x") },
		"LogoutOthers": (*session.Manager).LogoutOthers,
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			st := &testkit.FailingStore{Store: memstore.New()}
			m := managerWith(t, session.Config{Store: st})
			v := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
			err := do(v, func(ctx context.Context) error { return call(m, ctx) })
			if !errors.Is(err, session.ErrUnauthenticated) {
				t.Errorf("a visitor: error %v", err)
			}
			if err := call(m, t.Context()); !errors.Is(err, session.ErrNotLoaded) {
				t.Errorf("outside of a request: error %v", err)
			}
			v.Login("ada")
			err = do(v, func(ctx context.Context) error {
				session.FromContext(ctx).SignedIn()
				st.Down.Store(true)
				defer st.Down.Store(false)
				return call(m, ctx)
			})
			if !errors.Is(err, session.ErrSessionUnavailable) {
				t.Errorf("without the store: error %v", err)
			}
			cookies := managerWith(t, session.Config{})
			v = &testkit.Visitor{T: t, M: cookies, Jar: map[string]string{}}
			v.Login("ada")
			err = do(v, func(ctx context.Context) error { return call(cookies, ctx) })
			if want := name != "LogoutOthers"; errors.Is(err, errors.ErrUnsupported) != want {
				t.Errorf("sessions in cookies: error %v; want ErrUnsupported: %v", err, want)
			}
		})
	}
}

// noDelete is a store that deletes nothing.
type noDelete struct{ store.Store }

func (noDelete) Delete(context.Context, string) error { return testkit.ErrDown }

// A session that has ended is not listed, even if the store still has its record.
func TestEndedSessionsAreNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &devices{t: t, service: &testkit.Service{Life: 100 * 24 * time.Hour}, events: &testkit.Events{}, store: noDelete{memstore.New()}}
		d.m = d.process(session.GenerateKey())
		this, other := d.browser(d.m, "ada", "192.0.2.1", "this"), d.browser(d.m, "ada", "192.0.2.1", "other")
		var of string
		for _, s := range sessions(this) {
			if s.UserAgent == "other" {
				of = s.Handle
			}
		}
		if err := do(this, this.M.LogoutOthers); err != nil {
			t.Fatal(err)
		}
		if got := agents(sessions(this)); !slices.Equal(got, []string{"this"}) {
			t.Errorf("the list is %q", got)
		}
		if err := do(this, func(ctx context.Context) error { return d.m.EndSession(ctx, of) }); !errors.Is(err, session.ErrNoSuchSession) {
			t.Errorf("error %v", err)
		}
		if other.Get().SignedIn() {
			t.Error("the session is served after its end")
		}
	})
}

// A session that was ended by its handle no longer counts for MaxSessions.
func TestEndSessionMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &testkit.FailingStore{Store: memstore.New()}
		m := managerWith(t, session.Config{Store: st, MaxSessions: 2})
		d := &devices{t: t}
		first := d.browser(m, "ada", "192.0.2.1", "first")
		time.Sleep(time.Second)
		second := d.browser(m, "ada", "192.0.2.1", "second")
		if err := do(second, func(ctx context.Context) error { return m.EndSession(ctx, sessions(second)[1].Handle) }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		d.browser(m, "ada", "192.0.2.1", "third")
		if first.Get().SignedIn() || !second.Get().SignedIn() {
			t.Error("the wrong session has ended")
		}
		if got := agents(sessions(second)); !slices.Equal(got, []string{"second", "third"}) {
			t.Errorf("the list is %q", got)
		}
	})
}
