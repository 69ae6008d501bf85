package main

import (
	"net/http"

	gorilla "github.com/gorilla/sessions"
)

const sessionName = "session"

var (
	hashKey  = []byte("a secret of the app: 32 bytes or more of it")
	blockKey = []byte("another secret, 32 bytes of it..")
)

// notInGorilla lists the features that gorilla/sessions with cookies lacks.
const notInGorilla = "no refresh of tokens, no revocation, no idle timeout, no origin check"

func init() {
	register(contender{
		name: "gorilla/sessions, signed", router: netHTTP, session: "in a cookie, gob", less: "not encrypted: the browser can read the tokens; " + notInGorilla,
		open: openGorilla(hashKey),
	})
	register(contender{
		name: "gorilla/sessions, encrypted", router: netHTTP, session: "in a cookie, gob", less: notInGorilla,
		open: openGorilla(hashKey, blockKey),
	})
}

var gorillaOptions = gorilla.Options{
	Path: "/", MaxAge: 30 * 24 * 60 * 60, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
}

func gorillaStore(keys ...[]byte) *gorilla.CookieStore {
	store := gorilla.NewCookieStore(keys...)
	options := gorillaOptions
	store.Options = &options
	store.MaxAge(gorillaOptions.MaxAge)
	return store
}

func openGorilla(keys ...[]byte) func(*env) (http.Handler, error) {
	return func(*env) (http.Handler, error) {
		store := gorillaStore(keys...)
		return app{
			user: func(r *http.Request) ([]string, bool) {
				// For an invalid cookie, Get returns an error and a new session.
				s, _ := store.Get(r, sessionName)
				roles, ok := s.Values["roles"].([]string)
				return roles, ok
			},
			signIn: func(w http.ResponseWriter, r *http.Request, a account) error {
				s, _ := store.Get(r, sessionName)
				a.keep(func(name string, value any) { s.Values[name] = value })
				return s.Save(r, w)
			},
		}.mux(), nil
	}
}
