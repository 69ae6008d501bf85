package middleware_test

import (
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session/middleware"
)

// The app's name and mark on every page.
func ExampleWithBrand() {
	mark := []byte(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48"><circle cx="24" cy="24" r="22"/></svg>`)

	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /title", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, middleware.NewPage(r, "login").FullTitle())
	})
	app := httptest.NewTLSServer(middleware.Sessions(m, middleware.WithBrand("Acme", mark))(mux))
	defer app.Close()
	fmt.Println(follow(newGuest(app), app.URL+"/login"))
	fmt.Println(follow(newGuest(app), app.URL+"/title"))
	// Output:
	// 200 page: Sign in
	// 200 Sign in · Acme
}

// A further language, and a text of the app's own. What is missing in French is in
// English.
func ExampleWithTexts() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	app := httptest.NewTLSServer(middleware.Sessions(m,
		middleware.WithTexts("fr", map[string]string{"login.title": "Se connecter"}),
		middleware.WithTexts("en", map[string]string{"login.title": "Log in"}),
		middleware.WithLanguage(func(r *http.Request) string { return r.URL.Query().Get("lang") }),
	)(mux))
	defer app.Close()
	for _, query := range []string{"", "?lang=fr", "?lang=de"} {
		fmt.Println(follow(newGuest(app), app.URL+"/login"+query))
	}
	// Output:
	// 200 page: Log in
	// 200 page: Se connecter
	// 200 page: Anmelden
}

// A page of the app in the look of the others.
func ExampleNewPage() {
	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /welcome", func(w http.ResponseWriter, r *http.Request) {
		page := middleware.NewPage(r, "welcome")
		page.Links = []middleware.Link{{Text: page.Text("page.home"), URL: page.Home, Button: true}}
		middleware.WritePage(w, r, page)
	})
	app := httptest.NewTLSServer(middleware.Sessions(m,
		middleware.WithTexts("en", map[string]string{"welcome.title": "Welcome", "welcome.text": "Your account is ready."}),
	)(mux))
	defer app.Close()
	fmt.Println(follow(newGuest(app), app.URL+"/welcome"))
	// Output: 200 page: Welcome
}

// One of the templates is the app's own: the mark above the heading.
func ExampleWithTemplates() {
	t := template.Must(middleware.Templates().Parse(
		`{{define "mark"}}<p><strong>Acme</strong> reports</p>{{end}}`))

	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	app := httptest.NewTLSServer(middleware.Sessions(m, middleware.WithTemplates(t))(mux))
	defer app.Close()
	fmt.Println(follow(newGuest(app), app.URL+"/login"))
	// Output: 200 page: Sign in
}

// The app's own login page. The template is executed with a Page. The form must
// post email, password and return_to.
func ExampleWithTemplates_ownPage() {
	t := template.Must(middleware.Templates().Parse(`
		{{define "login"}}<!DOCTYPE html>
		<title>Acme</title>
		<h1>Who goes there?</h1>
		{{with .Message}}<p role="alert">{{.}}</p>{{end}}
		<form method="post">
			<input name="email" type="email" value="{{.Email}}" autocomplete="username" required>
			<input name="password" type="password" autocomplete="current-password" required>
			<input name="return_to" type="hidden" value="{{.ReturnTo}}">
			<button>Friend</button>
		</form>{{end}}`))

	m, stop := startManager("")
	defer stop()
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	app := httptest.NewTLSServer(middleware.Sessions(m, middleware.WithTemplates(t))(mux))
	defer app.Close()
	bob := newGuest(app)
	fmt.Println(follow(bob, app.URL+"/login"))
	fmt.Println(submit(bob, app.URL+"/login", "email", "bob@example.com", "password", "wrong horse"))
	fmt.Println(submit(bob, app.URL+"/login", "email", "bob@example.com", "password", "correct horse"))
	// Output:
	// 200 page: Who goes there?
	// 401 page: Who goes there?
	// 303 to /
}

// The app's own login route. Like the built-in one, it must reject cross-origin
// requests and validate return_to.
func ExampleReturnTo() {
	m, stop := startManager("/signin")
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /signin", func(w http.ResponseWriter, r *http.Request) {
		if err := m.CheckOrigin(r); err != nil {
			middleware.Refuse(w, r, err)
			return
		}
		err := m.Login(r.Context(), r.PostFormValue("email"), r.PostFormValue("password"))
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
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	for _, to := range []string{"/reports?year=2026", "https://evil.example/", `/\evil.example`, ""} {
		fmt.Println(submit(newGuest(app), app.URL+"/signin",
			"email", "bob@example.com", "password", "correct horse", "return_to", to))
	}
	// Output:
	// 303 to /reports?year=2026
	// 303 to /
	// 303 to /
	// 303 to /
}
