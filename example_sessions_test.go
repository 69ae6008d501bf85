package session_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// A user sees where they are signed in, and ends the other sessions. Package middleware
// has routes and a page for this, too.
func ExampleManager_Sessions() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth:           synmetrix.NewClient(auth.URL),
		Keys:           []session.SecretKey{session.GenerateKey()},
		Store:          memstore.New(),
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, // the load balancer
	})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Shutdown(context.Background())
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /devices", func(w http.ResponseWriter, r *http.Request) {
		list, err := m.Sessions(r.Context())
		if err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		for _, s := range list {
			fmt.Fprintf(w, "%s from %s, this one: %v\n", s.UserAgent, s.Addr, s.Current)
		}
	})
	mux.HandleFunc("POST /devices/others", func(w http.ResponseWriter, r *http.Request) {
		if err := m.LogoutOthers(r.Context()); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		http.Redirect(w, r, "/devices", http.StatusSeeOther)
	})
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	desktop, phone := newGuest(app), newGuest(app)
	phone.signIn("ada@example.com")
	desktop.signIn("ada@example.com")
	fmt.Println(desktop.get("/devices"))
	fmt.Println(desktop.post("/devices/others"))
	fmt.Println(desktop.get("/devices"))
	fmt.Println("phone:", phone.get("/devices"))
	// Output:
	// 200 Go-http-client/1.1 from 127.0.0.1, this one: true
	// Go-http-client/1.1 from 127.0.0.1, this one: false
	// 303 to /devices
	// 200 Go-http-client/1.1 from 127.0.0.1, this one: true
	// phone: 303 to /login?return_to=%2Fdevices
}
