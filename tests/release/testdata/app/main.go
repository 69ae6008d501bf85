// Command app is an app of a user of the module.
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

func newApp() (*session.Manager, http.Handler, error) {
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient("https://app.synmetrix.org"),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		return nil, nil, err
	}
	admin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "Hello", session.FromContext(r.Context()).UserID())
	})
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /admin", middleware.RequireRole("admin")(admin))
	return m, middleware.Sessions(m)(mux), nil
}

func main() {
	_, app, err := newApp()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r := httptest.NewRequest("GET", "/admin", nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Location"))
}
