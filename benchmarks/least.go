package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// The least code that does the checks of a session: it is found by its cookie, it has not
// expired, it was used within the idle timeout, and its access token is not due. The
// checks are not configurable, and there is no refresh and no handling of outages.

const (
	leastName = "__Host-least"
	notInOne  = "no refresh of tokens, no outages, no several processes, no signing out everywhere, no origin check, no values"

	leastIdle     = 24 * time.Hour
	leastLifetime = 30 * 24 * time.Hour
)

// leastSession is the session of a user. It does not change, except for lastUsed.
type leastSession struct {
	userID   string
	roles    []string
	access   string
	refresh  string
	expires  int64        // of the session, in Unix seconds
	tokenDue int64        // the access token must be refreshed
	lastUsed atomic.Int64 // in Unix seconds
}

// valid reports whether a request may use the session, and notes the use.
func (s *leastSession) valid(now int64) bool {
	last := s.lastUsed.Load()
	if now >= s.expires || now >= s.tokenDue || now-last >= int64(leastIdle/time.Second) {
		return false
	}
	if now-last >= int64(leastIdle/time.Second)/10 {
		s.lastUsed.Store(now)
	}
	return true
}

// newLeastSession reads the claims of the access token, as this library does.
func newLeastSession(access, refresh string, now time.Time) (*leastSession, error) {
	_, rest, _ := strings.Cut(access, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return nil, err
	}
	var claims struct {
		Expires int64 `json:"exp"`
		Hasura  struct {
			UserID string   `json:"x-hasura-user-id"`
			Roles  []string `json:"x-hasura-allowed-roles"`
		} `json:"hasura"`
	}
	if err := json.Unmarshal(text, &claims); err != nil {
		return nil, err
	}
	s := &leastSession{
		userID: claims.Hasura.UserID, roles: claims.Hasura.Roles, access: access, refresh: refresh,
		expires: now.Add(leastLifetime).Unix(), tokenDue: claims.Expires - 60,
	}
	s.lastUsed.Store(now.Unix())
	return s, nil
}

// leastContext is the context of a request of a user.
type leastContext struct {
	context.Context
	session *leastSession
}

type leastKey struct{}

func (c *leastContext) Value(key any) any {
	if key == (leastKey{}) {
		return c.session
	}
	return c.Context.Value(key)
}

var (
	varyCookie = []string{"Cookie"}
	noStore    = []string{"no-store"}
)

// leastApp is the app with find, which returns the session of a cookie's value, nil if
// there is none.
func leastApp(find func(value string) *leastSession, start func(account) (value string, err error)) http.Handler {
	mux := app{
		user: func(r *http.Request) ([]string, bool) {
			s, _ := r.Context().Value(leastKey{}).(*leastSession)
			if s == nil {
				return nil, false
			}
			return s.roles, true
		},
		signIn: func(w http.ResponseWriter, _ *http.Request, a account) error {
			value, err := start(a)
			w.Header()["Set-Cookie"] = []string{leastName + "=" + value + "; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax"}
			return err
		},
	}.mux()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Vary"] = varyCookie
		if value := leastCookie(r.Header["Cookie"]); value != "" {
			if s := find(value); s != nil && s.valid(time.Now().Unix()) {
				h["Cache-Control"] = noStore
				r = r.WithContext(&leastContext{r.Context(), s})
			}
		}
		mux.ServeHTTP(w, r)
	})
}

// leastCookie returns the value of the session's cookie.
func leastCookie(fields []string) string {
	for _, field := range fields {
		for pair := range strings.SplitSeq(field, ";") {
			name, value, _ := strings.Cut(strings.TrimLeft(pair, " "), "=")
			if name == leastName {
				return value
			}
		}
	}
	return ""
}
