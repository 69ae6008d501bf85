package main

import (
	"net/http"
	"slices"
)

const (
	adminPage     = "This is for admins.\n"
	frontSignedIn = "Hello again.\n"
	frontUnknown  = "Hello, visitor.\n"
	publicPage    = "This is for all.\n"
)

// The pages allocate nothing, so that the bare routers show what a router costs.
var (
	plainText  = []string{"text/plain; charset=utf-8"}
	pageBodies = map[string][]byte{}
)

func init() {
	for _, page := range []string{adminPage, frontSignedIn, frontUnknown, publicPage} {
		pageBodies[page] = []byte(page)
	}
}

func write(w http.ResponseWriter, page string) {
	w.Header()["Content-Type"] = plainText
	_, _ = w.Write(pageBodies[page])
}

func front(w http.ResponseWriter, signedIn bool) {
	if signedIn {
		write(w, frontSignedIn)
	} else {
		write(w, frontUnknown)
	}
}

func adminOnly(w http.ResponseWriter, _ *http.Request) { write(w, adminPage) }
func forAll(w http.ResponseWriter, _ *http.Request)    { write(w, publicPage) }

func signedIn(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func refuse(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// guard writes the page for users with the role admin, and refuses other requests.
func guard(w http.ResponseWriter, r *http.Request, signedIn bool, roles []string) {
	switch {
	case !signedIn:
		refuse(w, http.StatusUnauthorized)
	case !slices.Contains(roles, "admin"):
		refuse(w, http.StatusForbidden)
	default:
		adminOnly(w, r)
	}
}

// app is the app on net/http, for libraries that have no guard.
type app struct {
	// user returns the roles of the signed-in user.
	user func(*http.Request) (roles []string, ok bool)

	// signIn begins a session and sets its cookie.
	signIn func(http.ResponseWriter, *http.Request, account) error
}

func (a app) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		_, ok := a.user(r)
		front(w, ok)
	})
	mux.HandleFunc("GET /public", forAll)
	mux.HandleFunc("GET /admin", func(w http.ResponseWriter, r *http.Request) {
		roles, ok := a.user(r)
		guard(w, r, ok, roles)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		logIn(w, r, func(user account) error { return a.signIn(w, r, user) })
	})
	return mux
}

// logIn checks the password, calls signIn and writes the response to a login.
func logIn(w http.ResponseWriter, r *http.Request, signIn func(account) error) {
	a, ok := claimedBy(r)
	if !ok {
		refuse(w, http.StatusUnauthorized)
		return
	}
	if err := signIn(a); err != nil {
		refuse(w, http.StatusInternalServerError)
		return
	}
	signedIn(w, r)
}
