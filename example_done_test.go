package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// A stream ends when its user signs out in any window.
func ExampleSession_Done() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	news := make(chan string)
	mux.Handle("GET /news", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		over := session.FromContext(r.Context()).Done()
		flush := http.NewResponseController(w).Flush
		for {
			select {
			case text := <-news:
				fmt.Fprintln(w, text)
				_ = flush()
			case <-over:
				fmt.Fprintln(w, "You have signed out.")
				return
			case <-r.Context().Done():
				return
			}
		}
	})))
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	ada.signIn("ada@example.com")
	stream := make(chan string)
	go func() { stream <- ada.get("/news") }()
	news <- "It is raining."
	news <- "It has stopped."
	ada.post("/logout")
	fmt.Println(<-stream)
	// Output:
	// 200 It is raining.
	// It has stopped.
	// You have signed out.
}
