package main

import (
	"net/http"
	"slices"
	"unicode/utf8"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// The values of the app's own pages. Visitors who are not signed in have a theme and
// messages, too.
var (
	theme   = session.NewKey[string]("theme")   // one of themes
	note    = session.NewKey[string]("note")    // the user's private note
	message = session.NewKey[string]("message") // the key of a text that the next page shows
)

// themes are the values of the form of the page theme. The first deletes the value.
var themes = []string{"auto", "light", "dark"}

// maxNote bounds a note, in characters.
const maxNote = 200

func (a *app) saveTheme(w http.ResponseWriter, r *http.Request) {
	chosen, err := readField(w, r, "theme")
	if err == nil && !slices.Contains(themes, chosen) {
		err = invalid("theme", "The theme must be auto, light or dark.")
	}
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	s := session.FromContext(r.Context())
	if chosen == themes[0] {
		err = theme.Delete(s)
	} else {
		err = theme.Set(s, chosen)
	}
	a.saved(w, r, err, "/theme")
}

func (a *app) saveNote(w http.ResponseWriter, r *http.Request) {
	text, err := readField(w, r, "note")
	if err == nil && utf8.RuneCountInString(text) > maxNote {
		err = invalid("note", "The note is longer than 200 characters.")
	}
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	a.saved(w, r, note.Set(session.FromContext(r.Context()), text), "/note")
}

// saved redirects to a page after a change of a value, and reports it there. err is the
// error of the change.
func (a *app) saved(w http.ResponseWriter, r *http.Request, err error, path string) {
	if err == nil {
		err = message.Set(session.FromContext(r.Context()), "message.saved")
	}
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	a.redirect(w, r, path)
}

// signOut ends the session, and the start page shows a message about it. The built-in route
// /logout shows no message and leaves no cookie.
func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	err := a.manager.Logout(r.Context())
	if err == nil && r.Header["Cookie"] != nil { // a client without cookies was not signed in
		// The sign-out has deleted the values. FromContext returns the visitor's session
		// after it.
		err = message.Set(session.FromContext(r.Context()), "message.signed_out")
	}
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	a.redirect(w, r, "/")
}

func (a *app) redirect(w http.ResponseWriter, r *http.Request, path string) {
	http.Redirect(w, r, a.manager.Config().BasePath+path, http.StatusSeeOther)
}

// popMessage returns the key of the message for the page, or the empty string. Requests
// whose response no user sees leave the message for the next request.
func popMessage(r *http.Request) string {
	if r.Method != http.MethodGet || r.Header.Get("Sec-Purpose") != "" {
		return ""
	}
	key, _ := message.Pop(session.FromContext(r.Context()))
	return key
}
