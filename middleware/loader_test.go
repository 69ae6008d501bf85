package middleware_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// Commit reports an error if the response is not the handler's, whether the
// commit failed during the handler or after it.
func TestScopeCommit(t *testing.T) {
	s := &testkit.FailingStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = s })
	b := a.browser()
	b.signIn("admin@example.com")
	l := middleware.NewLoader(a.m)
	committed := make(chan error, 1)
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Down.Store(false)
		var scope, inner middleware.Scope
		if !l.Begin(&scope, w, r) {
			t.Error("Begin returns false")
			return
		}
		defer scope.End()
		w, r = scope.Writer(), scope.Request()
		if l.Begin(&inner, w, r) {
			t.Error("Begin inside another Scope returns true")
		}
		if err := scope.Check(); err != nil {
			middleware.Refuse(w, r, err)
		} else {
			change(r)
			s.Down.Store(r.URL.Path != "/up")
			if r.URL.Path != "/silent" {
				_, _ = io.WriteString(w, "ok")
			}
		}
		committed <- scope.Commit()
	}))
	b.move(a)
	b.get("/up").is(t, 200, "").has(t, "Vary", "Cookie")
	if err := <-committed; err != nil {
		t.Errorf("Commit returns %v", err)
	}
	for _, path := range []string{"/write", "/silent"} {
		b.get(path).is(t, 503, "session_unavailable")
		if err := <-committed; !errors.Is(err, session.ErrSessionUnavailable) {
			t.Errorf("%s: Commit returns %v", path, err)
		}
	}
	b.do("POST", "/up", "", "Sec-Fetch-Site", "cross-site").is(t, 403, "cross_site")
	if err := <-committed; err != nil {
		t.Errorf("Commit after a refusal returns %v", err)
	}
}
