package middleware

import (
	"encoding/json"
	"net/http"

	"github.com/synmetrix/session"
)

// Me is a handler that tells a signed-in user's scripts who is signed in, and
// refuses others as [RequireUser] does:
//
//	{"user_id":"…","allowed_roles":["user"],"default_role":"user",
//	 "access_token_expires_at":1767225600,"session_expires_at":1767312000}
//
// Times are in Unix seconds. The session's is the earlier of its idle timeout
// and the end of its lifetime. A sign-in in JSON is answered in the same way.
func Me(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	if err := s.Authorize(nil); err != nil {
		Refuse(w, r, err)
		return
	}
	roles := s.Roles()
	if roles == nil {
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

// writeJSON answers with a value that can always be marshaled.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		body = []byte("null")
	}
	w.Header().Set("Content-Type", contentType)
	writeBody(w, status, body)
}
