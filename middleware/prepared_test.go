package middleware_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/middleware"
)

// The bodies of refusals are encoded once. Requests with the same kind of error still get
// the login page that is mounted by then, and the pause of their own error.
func TestRefusalsOfOneKind(t *testing.T) {
	m := benchManager(t, nil)
	var err error
	h := middleware.Sessions(m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { middleware.Refuse(w, r, err) }))
	refusal := func(refused error) response {
		t.Helper()
		err = refused
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got, want := w.Header().Get("Content-Length"), fmt.Sprint(w.Body.Len()); got != want {
			t.Errorf("Content-Length %s, want %s", got, want)
		}
		return response{w.Result(), w.Body.String()}
	}
	member := func(refused error, name string, want any) {
		t.Helper()
		for range 2 {
			if got := refusal(refused).problem(t)[name]; got != want {
				t.Errorf("%v: %s %v, want %v", refused, name, got, want)
			}
		}
	}
	member(session.ErrUnauthenticated, "login_url", nil)
	m.AddLoginPage()
	member(session.ErrUnauthenticated, "login_url", "/login")
	member(session.ErrForbidden, "login_url", nil)
	member(fmt.Errorf("%w: %w", session.ErrUnauthenticated, session.ErrBearer), "login_url", nil)
	member(session.ErrUnauthenticated, "login_url", "/login")
	for _, pause := range []time.Duration{time.Minute, time.Hour} {
		member(&session.UnavailableError{RetryAfter: pause, Err: auth.ErrUnavailable}, "retry_after", pause.Seconds())
	}
	for _, detail := range []string{"one", "two"} {
		member(&middleware.Problem{Status: http.StatusUnauthorized, Detail: detail}, "detail", detail)
		member(fmt.Errorf("app: %w", &middleware.Problem{Status: http.StatusUnauthorized, Detail: detail}), "detail", detail)
	}
}
