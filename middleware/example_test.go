package middleware_test

import (
	"fmt"
	"html/template"
	"log"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

var (
	manager *session.Manager
	mux     = http.NewServeMux()
)

func Example() {
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient("https://app.synmetrix.org"),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	admin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, "Hello,", session.FromContext(r.Context()).UserID())
	})
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("/admin", middleware.RequireRole("admin")(admin))
	log.Fatal(http.ListenAndServe("localhost:8080", middleware.Sessions(m)(mux)))
}

// A policy of the app's own, over whatever the access token says.
func ExampleRequire() {
	inGermany := func(s *session.Session) bool {
		var country string
		ok, err := s.Claims().Get("x-hasura-country", &country)
		return err == nil && ok && country == "DE"
	}
	mux.Handle("/bahn", middleware.Require(inGermany)(http.FileServer(http.Dir("bahn"))))
}

// An app refuses in the same form as its guards do.
func ExampleRefuse() {
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusNotFound})
	})
}

// The app's own sign above the heading, and its own colors.
func ExampleWithTemplates() {
	t := template.Must(middleware.Templates().Parse(`
		{{define "mark"}}<p><strong>Acme</strong> reports</p>{{end}}`))
	http.Handle("/", middleware.Sessions(manager, middleware.WithTemplates(t))(mux))
}

// A login page of the app's own.
func ExampleReturnTo() {
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		err := manager.Login(r.Context(), r.PostFormValue("email"), r.PostFormValue("password"))
		if err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		to := middleware.ReturnTo(r.PostFormValue("return_to"))
		if to == "" {
			to = "/"
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
}
