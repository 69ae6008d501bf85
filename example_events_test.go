package session_test

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// An app counts the events of sessions. The names of events are stable; see the
// constants.
func ExampleConfig_onEvent() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
		OnEvent: func(_ context.Context, e session.Event) {
			fmt.Println(e.Name, cmp.Or(e.Reason, "-")) // or a counter's Inc
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.NotFoundHandler()))
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	bob := newGuest(app)
	bob.post("/login", "email", "bob@example.com", "password", "wrong horse")
	bob.signIn("bob@example.com")
	bob.get("/admin")
	bob.post("/logout")
	// Output:
	// login_refused -
	// session_started -
	// access_denied -
	// session_ended logout
}

// The log has the same events. No line contains a token, a password, a cookie
// or a session ID, at any level. A hash identifies the session.
func ExampleConfig_logger() {
	// The example omits the parts that differ between runs.
	replace := func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey:
			return slog.Attr{}
		case "session":
			return slog.Int("hash", len(a.Value.String()))
		}
		return a
	}
	handler := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: replace})

	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth:   synmetrix.NewClient(auth.URL),
		Keys:   []session.SecretKey{session.GenerateKey()},
		Logger: slog.New(handler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Shutdown(context.Background())
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	bob := newGuest(app)
	bob.signIn("bob@example.com")
	auth.Inject(authtest.Logout, authtest.Fault{Status: http.StatusBadGateway})
	bob.post("/logout")
	// Output:
	// level=INFO msg=session_started hash=16
	// level=INFO msg=session_ended hash=16 reason=logout
	// level=WARN msg=revoke_failed error="auth service: logout: service_error (status 502): auth service unavailable: outcome unknown"
}
