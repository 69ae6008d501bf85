package session_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// benchManager returns a Manager whose service responds at once, and the
// cookies of a signed-in user.
func benchManager(tb testing.TB, stored bool) (*session.Manager, http.Header) {
	tb.Helper()
	s := &testkit.Service{Life: time.Hour}
	cfg := session.Config{Auth: s, Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler)}
	if stored {
		cfg.Store = memstore.New()
	}
	m, err := session.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return m, freshCookies(tb, m, 1)[0]
}

// request does the middleware's work for one request that requires a role.
func request(m *session.Manager, r *http.Request, out http.Header, want bool) bool {
	clear(out)
	r2, x := testkit.Begin(m, r)
	ok := session.FromContext(r2.Context()).HasRole("user") == want
	return x.Commit(out) == nil && ok && x.End() == nil
}

func benchRequest(b *testing.B, stored, cookie bool) {
	m, in := benchManager(b, stored)
	r := benchGet(b)
	if cookie {
		r.Header = in
	}
	out := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		if !request(m, r, out, cookie) {
			b.Fatal("refused")
		}
	}
}

// benchGet is a request whose context can be canceled, as a server's can.
func benchGet(tb testing.TB) *http.Request {
	return httptest.NewRequestWithContext(tb.Context(), "GET", "/", nil)
}

func BenchmarkNoCookie(b *testing.B)      { benchRequest(b, false, false) }
func BenchmarkCookieSession(b *testing.B) { benchRequest(b, false, true) }
func BenchmarkStoredSession(b *testing.B) { benchRequest(b, true, true) }

// BenchmarkCookieSessionFirst opens cookies that this process has not seen.
func BenchmarkCookieSessionFirst(b *testing.B) {
	m, _ := benchManager(b, false)
	var in []http.Header
	r := benchGet(b)
	out := http.Header{}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(in) {
			b.StopTimer()
			in, i = freshCookies(b, m, 64), 0
			b.StartTimer()
		}
		r.Header = in[i]
		i++
		if !request(m, r, out, true) {
			b.Fatal("refused")
		}
	}
}

func freshCookies(tb testing.TB, m *session.Manager, n int) []http.Header {
	var all []http.Header
	for range n {
		h := http.Header{}
		r, x := testkit.Begin(m, httptest.NewRequest("POST", "/login", nil))
		if err := m.Login(r.Context(), "ada", "password"); err != nil {
			tb.Fatal(err)
		}
		if err := x.Commit(h); err != nil {
			tb.Fatal(err)
		}
		in := http.Header{}
		for _, c := range (&http.Response{Header: h}).Cookies() {
			in.Add("Cookie", c.Name+"="+c.Value)
		}
		all = append(all, in)
	}
	return all
}

func BenchmarkLogin(b *testing.B) {
	m, _ := benchManager(b, false)
	b.ReportAllocs()
	for b.Loop() {
		r, x := testkit.Begin(m, httptest.NewRequest("POST", "/login", nil))
		if err := m.Login(r.Context(), "ada", "password"); err != nil {
			b.Fatal(err)
		}
		if err := x.Commit(http.Header{}); err != nil {
			b.Fatal(err)
		}
	}
}
