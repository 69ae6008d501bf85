package middleware

import (
	"encoding/json"
	"net/http"

	"github.com/synmetrix/session"
)

// Me is a handler that responds with the signed-in user, for scripts of the app's
// pages. It refuses other requests like [RequireUser]:
//
//	{"user_id":"…","allowed_roles":["user"],"default_role":"user",
//	 "access_token_expires_at":1767225600,"session_expires_at":1767312000}
//
// Times are in Unix seconds. session_expires_at is the earlier of the idle
// timeout and the end of the session's lifetime. A sign-in with JSON has the same
// response.
func Me(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	if err := s.Authorize(nil); err != nil {
		Refuse(w, r, err)
		return
	}
	roles := s.Roles()
	if roles == nil { // the JSON must be [] and not null
		roles = []string{}
	}
	writeJSON(w, http.StatusOK, typeJSON, struct {
		UserID               string   `json:"user_id"`
		AllowedRoles         []string `json:"allowed_roles"`
		DefaultRole          string   `json:"default_role"`
		AccessTokenExpiresAt int64    `json:"access_token_expires_at"`
		SessionExpiresAt     int64    `json:"session_expires_at"`
	}{s.UserID(), roles, s.DefaultRole(), s.AccessTokenExpiresAt().Unix(), s.ExpiresAt().Unix()})
}

// writeJSON writes a response with the JSON of v. Marshaling v must not fail.
// json.Marshal escapes "<", ">" and "&", so even a browser that interprets the response
// as HTML finds no element in it.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		body = []byte("null")
	}
	w.Header().Set("Content-Type", contentType)
	writeBody(w, status, body)
}
