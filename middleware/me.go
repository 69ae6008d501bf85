package middleware

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/synmetrix/session"
)

// Me is a handler that responds with the signed-in user, for scripts of the app's
// pages. It refuses other requests like [RequireUser]:
//
//	{"user_id":"…","allowed_roles":["user"],"default_role":"user",
//	 "access_token_expires_at":1767225600,"session_expires_at":1767312000,
//	 "email":"…","name":"…","picture":"…","actor":"…"}
//
// email, name and picture are those of session.Session.User, and actor is the ID of the
// user who acts as this user; see session.Manager.ActAs. Members without a value are
// missing. Times are in Unix seconds. session_expires_at is the earlier of the idle timeout
// and the end of the session's lifetime. A sign-in with JSON has the same response.
//
// With the query parameter optional=true, visitors who are not signed in get status
// 200, too, unless Me is inside a guard, and the response has further members:
//
//	{"signed_in":false,"login_url":"/login"}
//	{"signed_in":true,"session_expires_in":86400,"lifetime_expires_in":2592000,
//	 "user_id":"…", and the others}
//
// session_expires_in is the number of seconds until session_expires_at. lifetime_expires_in
// is the number of seconds until the end of the lifetime, which requests do not extend; see
// session.Session.TimeLeft. With these numbers a page can warn its user without a correct
// clock. login_url is the path of the login page, to which a script may add the parameter
// return_to; it is missing if the app has no login page. If the session cannot be
// determined because of an outage, the status is 503.
func Me(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	err := s.Authorize(nil)
	value, _ := parameter(r, "optional")
	optional, _ := strconv.ParseBool(value)
	switch {
	case optional && errors.Is(err, session.ErrUnauthenticated) && !errors.Is(err, session.ErrBearer):
		writeJSON(w, http.StatusOK, typeJSON, visitorJSON{LoginURL: settingsOf(r.Context()).knownLoginURL()})
	case err != nil:
		Refuse(w, r, err)
	case optional:
		unused, atMost := s.TimeLeft()
		writeJSON(w, http.StatusOK, typeJSON, signedInJSON{true, seconds(unused), seconds(atMost), describe(s)})
	default:
		writeJSON(w, http.StatusOK, typeJSON, describe(s))
	}
}

// userJSON is the JSON of a signed-in user.
type userJSON struct {
	UserID               string   `json:"user_id"`
	AllowedRoles         []string `json:"allowed_roles"`
	DefaultRole          string   `json:"default_role"`
	AccessTokenExpiresAt int64    `json:"access_token_expires_at"`
	SessionExpiresAt     int64    `json:"session_expires_at"`
	Email                string   `json:"email,omitempty"`
	Name                 string   `json:"name,omitempty"`
	Picture              string   `json:"picture,omitempty"`
	Actor                string   `json:"actor,omitempty"`
}

// signedInJSON and visitorJSON are the responses to requests with optional=true.
type signedInJSON struct {
	SignedIn          bool  `json:"signed_in"`
	SessionExpiresIn  int64 `json:"session_expires_in"`
	LifetimeExpiresIn int64 `json:"lifetime_expires_in"`
	userJSON
}

type visitorJSON struct {
	SignedIn bool   `json:"signed_in"`
	LoginURL string `json:"login_url,omitempty"`
}

// describe returns the JSON of the user of s, who is signed in.
func describe(s *session.Session) userJSON {
	roles := s.Roles()
	if roles == nil { // the JSON must be [] and not null
		roles = []string{}
	}
	u := s.User()
	return userJSON{
		u.ID, roles, s.DefaultRole(), s.AccessTokenExpiresAt().Unix(), s.ExpiresAt().Unix(),
		u.Email, u.Name, u.Picture, s.Actor().ID,
	}
}

// seconds returns the whole seconds of d, rounded down, so that a page warns its user early
// rather than late.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// writeJSON writes a response with the JSON of v. Marshaling v must not fail.
// json.Marshal escapes "<", ">" and "&", so even a browser that interprets the response
// as HTML finds no element in it.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	w.Header().Set("Content-Type", contentType)
	writeBody(w, status, encodeJSON(v))
}

// encodeJSON returns v as JSON.
func encodeJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return body
}
