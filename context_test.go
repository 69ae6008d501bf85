package session_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// frameworkContext is a framework's own context. It does not lead to the request's
// context.
type frameworkContext struct {
	context.Context
	request context.Context
}

func (c *frameworkContext) Value(key any) any {
	switch key {
	case "framework":
		return c
	case traceKey{}:
		return c.Context.Value(key)
	}
	return nil
}

func init() {
	session.RegisterContext(func(ctx context.Context) context.Context {
		if c, ok := ctx.Value("framework").(*frameworkContext); ok {
			return c.request
		}
		return nil
	})
}

func TestRegisterContext(t *testing.T) {
	a := newApp(t)
	r, x := testkit.Begin(a.Manager, httptest.NewRequest("GET", "/", nil))
	defer func() { _ = x.End() }()
	framework := &frameworkContext{Context: context.Background()}
	ctx, cancel := context.WithCancel(framework)
	defer cancel()
	if err := session.FromContext(ctx).Authorize(nil); !errors.Is(err, session.ErrNotLoaded) {
		t.Errorf("without anything: %v", err)
	}
	framework.request = context.Background()
	if err := session.FromContext(ctx).Authorize(nil); !errors.Is(err, session.ErrNotLoaded) {
		t.Errorf("with another context: %v", err)
	}
	framework.request = r.Context()
	if err := a.Login(ctx, "user@example.com", "secret"); err != nil {
		t.Fatal(err)
	}
	if s := session.FromContext(ctx); !s.SignedIn() || s != session.FromContext(r.Context()) {
		t.Error("the session is not found in the context of the framework")
	}
}

// contextStore is a store that passes the contexts of its reads on.
type contextStore struct {
	store.Store
	read func(context.Context)
}

func (s *contextStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.read(ctx)
	return s.Store.Get(ctx, key)
}

// The values of the context are in place before the session is loaded: code that reads
// the context in the background meanwhile sees no change.
func TestBeginContext(t *testing.T) {
	type key struct{}
	var values []any
	read := func(ctx context.Context) { values = append(values, ctx.Value(key{})) }
	a := newApp(t, func(cfg *session.Config) { cfg.Store = &contextStore{&memstore.Store{Now: cfg.Now}, read} })
	b := a.signedIn()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", b.header())
	values = nil
	var x session.Exchange
	r = a.Begin(context.WithValue(r.Context(), key{}, "value"), &x, r)
	defer func() { _ = x.End() }()
	if !session.FromContext(r.Context()).SignedIn() || r.Context().Value(key{}) != "value" {
		t.Error("the request has no session or no value")
	}
	if len(values) == 0 || slices.ContainsFunc(values, func(v any) bool { return v != "value" }) {
		t.Errorf("the store sees the values %v", values)
	}
}

// callsOf returns the error of each method of m that takes a request's context,
// called with ctx. api is a server that Transport may call.
func callsOf(m *session.Manager, ctx context.Context, tokens auth.Tokens, api *httptest.Server) map[string]error {
	call := func() error {
		req, err := http.NewRequestWithContext(ctx, "GET", api.URL, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := m.Transport(api.Listener.Addr().String()).RoundTrip(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return err
	}
	return map[string]error{
		"Login":     m.Login(ctx, "user@example.com", "password"),
		"LoginTOTP": m.LoginTOTP(ctx, "123456"),
		"Start":     m.Start(ctx, auth.Grant{Tokens: tokens}),
		"Transport": call(),
		"Logout":    m.Logout(ctx),
		"LogoutAll": m.LogoutAll(ctx),
	}
}

// newCountingAPI is a server that counts its requests.
func newCountingAPI(t *testing.T) (*httptest.Server, *atomic.Int64) {
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) }))
	t.Cleanup(srv.Close)
	return srv, &n
}

// A Manager does not act on the session of another Manager.
func TestAnotherManagersRequest(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		api, requests := newCountingAPI(t)
		staff, public := newApp(t, kind), newApp(t, kind)
		b := staff.signedIn()
		b.visit(func(ctx context.Context, s *session.Session) {
			for call, err := range callsOf(public.Manager, ctx, public.auth.issue(), api) {
				if !errors.Is(err, session.ErrNotLoaded) {
					t.Errorf("%s: %v, want ErrNotLoaded", call, err)
				}
			}
			if s != session.FromContext(ctx) || !s.SignedIn() {
				t.Error("the request has another session")
			}
		})
		if cookies := b.last["Set-Cookie"]; len(cookies) != 0 {
			t.Errorf("the response sets the cookies %q", cookies)
		}
		if b.is(true); requests.Load() != 0 || staff.auth.liveTokens() != 1 || public.auth.liveTokens() != 1 {
			t.Errorf("%d requests to the API; %d and %d live tokens, want 0, 1 and 1",
				requests.Load(), staff.auth.liveTokens(), public.auth.liveTokens())
		}
	})
}

// The pending login of another Manager is not visible either.
func TestAnotherManagersPendingLogin(t *testing.T) {
	staff, public := newApp(t), newApp(t)
	staff.auth.mfa, public.auth.mfa = true, true
	staff.visit("", func(ctx context.Context, _ *session.Session) {
		if err := staff.Login(ctx, "user@example.com", "password"); !errors.Is(err, auth.ErrSecondFactor) {
			t.Fatal(err)
		}
		if codePending(ctx, public) || !codePending(ctx, staff) {
			t.Error("the wrong Manager has a pending login")
		}
		if err := public.LoginTOTP(ctx, "123456"); !errors.Is(err, session.ErrNotLoaded) {
			t.Errorf("code: %v", err)
		}
	})
}

// A request with a bearer token starts and ends no session, even if it has
// cookies.
func TestBearerRequest(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		api, requests := newCountingAPI(t)
		a := newApp(t, kind)
		b := a.signedIn()
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Cookie", b.header())
		r.Header.Set("Authorization", "Bearer x")
		r, x := testkit.Begin(a.Manager, r)
		for call, err := range callsOf(a.Manager, r.Context(), a.auth.issue(), api) {
			if !errors.Is(err, session.ErrUnauthenticated) || !errors.Is(err, session.ErrBearer) {
				t.Errorf("%s: %v, want ErrUnauthenticated and ErrBearer", call, err)
			}
		}
		if codePending(r.Context(), a) {
			t.Error("a login is pending")
		}
		h := http.Header{}
		if err := errors.Join(x.Commit(h), x.End()); err != nil || len(h) != 0 {
			t.Errorf("header %v, error %v", h, err)
		}
		if b.is(true); requests.Load() != 0 || a.auth.liveTokens() != 2 {
			t.Errorf("%d requests to the API; %d live tokens, want 0 and 2", requests.Load(), a.auth.liveTokens())
		}
	})
}
