package middleware_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// An adapter learns that the response is not its handler's, however that came.
func TestExchangeCommit(t *testing.T) {
	s := &downStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = s })
	b := a.browser()
	b.signIn("admin@example.com")
	l := middleware.NewLoader(a.m)
	told := make(chan error, 1)
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.down.Store(false)
		var x, inner middleware.Exchange
		if !l.Begin(&x, w, r) {
			t.Error("Begin returns false")
			return
		}
		defer x.End()
		w, r = x.Writer(), x.Request()
		if l.Begin(&inner, w, r) {
			t.Error("Begin inside of another returns true")
		}
		if err := x.Check(); err != nil {
			middleware.Refuse(w, r, err)
		} else {
			change(r)
			s.down.Store(r.URL.Path != "/up")
			if r.URL.Path != "/silent" {
				_, _ = io.WriteString(w, "ok")
			}
		}
		told <- x.Commit()
	}))
	b.base = a.srv.URL
	b.get("/up").is(t, 200, "").has(t, "Vary", "Cookie")
	if err := <-told; err != nil {
		t.Errorf("Commit returns %v", err)
	}
	for _, path := range []string{"/write", "/silent"} {
		b.get(path).is(t, 503, "session_unavailable")
		if err := <-told; !errors.Is(err, session.ErrSessionUnavailable) {
			t.Errorf("%s: Commit returns %v", path, err)
		}
	}
	b.do("POST", "/up", "", "Sec-Fetch-Site", "cross-site").is(t, 403, "cross_site")
	if err := <-told; err != nil {
		t.Errorf("Commit after a refusal returns %v", err)
	}
}

func TestProblemOf(t *testing.T) {
	cause := errors.New("disk full")
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{session.ErrForbidden, 403, "forbidden"},
		{session.ErrUnauthenticated, 401, "unauthenticated"},
		{&session.UnavailableError{Err: cause}, 503, "session_unavailable"},
		{&middleware.Problem{Status: 404, Err: cause}, 404, "not_found"},
		{cause, 500, "internal_error"},
	} {
		p := middleware.ProblemOf(c.err)
		if p.Status != c.status || p.Code != c.code || p.Detail == "" || (p.RetryAfter > 0) != (c.status == 503) {
			t.Errorf("%v: %+v", c.err, p)
		}
		if !errors.Is(p, c.err) && !errors.Is(p, cause) {
			t.Errorf("%v: the cause is lost", c.err)
		}
	}
}
