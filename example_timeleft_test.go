package session_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
)

// A page warns its user before the session ends.
func ExampleSession_TimeLeft() {
	warn := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		unused, atMost := session.FromContext(r.Context()).TimeLeft()
		switch {
		case atMost < 5*time.Minute:
			fmt.Fprint(w, "Save your work: you will have to sign in again.")
		case unused < 5*time.Minute:
			fmt.Fprint(w, "Are you still there?")
		default:
			fmt.Fprint(w, "Hello")
		}
	})
	w := httptest.NewRecorder()
	middleware.RequireUser(warn).ServeHTTP(w, sessiontest.SignedIn(httptest.NewRequest("GET", "/", nil), "user-1"))
	fmt.Println(w.Body)
	// Output: Hello
}
