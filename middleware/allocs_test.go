//go:build !race

package middleware_test

import (
	"net/http"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// The allocations of a request between the server and the handler. The race
// detector allocates, too, so the test does not run with it.
func TestAllocs(t *testing.T) {
	visitor := func() (http.Handler, []*http.Cookie) {
		return middleware.Sessions(benchManager(t, nil))(http.HandlerFunc(serve)), nil
	}
	user := func(set func(*session.Config)) func() (http.Handler, []*http.Cookie) {
		return func() (http.Handler, []*http.Cookie) { return gated(t, set) }
	}
	if inside := insideGuard(t, manager.Email, "manager-299"); !inside() || testing.AllocsPerRun(1000, func() { inside() }) > 0 {
		t.Error("a guard refuses, or allocates, after the session was loaded")
	}
	refused := requester(t, middleware.Sessions(benchManager(t, nil))(middleware.RequireUser(http.HandlerFunc(serve))), nil)
	if got := testing.AllocsPerRun(1000, func() { refused() }); got > 1 {
		t.Errorf("%v allocations for a refusal in JSON, want 1 at most", got)
	}
	for _, tt := range []struct {
		name string
		app  func() (http.Handler, []*http.Cookie)
		want float64
	}{
		{"no cookie", visitor, 1},
		{"RequireRole, cookie session", user(nil), 1},
		{"RequireRole, stored session", user(inMemory), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, cookies := tt.app()
			request := requester(t, h, cookies)
			got := testing.AllocsPerRun(1000, func() {
				if !request() {
					t.Fatal("refused")
				}
			})
			if got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}
