package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Each preference of a user is a separate session value. So concurrent requests
// that change different preferences do not overwrite each other.

const (
	prefPrefix = "pref."
	maxPrefs   = 100
	maxPref    = 1 << 10 // bytes of JSON

	maxQuery = 256 // bytes of the query that are parsed
)

var prefName = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

func prefKey(name string) session.Key[json.RawMessage] {
	return session.NewKey[json.RawMessage](prefPrefix + name)
}

// prefs returns the session's preferences by name.
func prefs(s *session.Session) map[string]json.RawMessage {
	all := map[string]json.RawMessage{}
	for _, name := range s.ValueNames() {
		if name, ok := strings.CutPrefix(name, prefPrefix); ok {
			if value, ok := prefKey(name).Get(s); ok {
				all[name] = value
			}
		}
	}
	return all
}

func getPrefs(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	if s.Bearer() {
		middleware.Refuse(w, r, session.ErrSessionRequired)
		return
	}
	writeJSON(w, http.StatusOK, prefs(s))
}

func putPref(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	if s.Bearer() {
		middleware.Refuse(w, r, session.ErrSessionRequired)
		return
	}
	name := r.PathValue("key")
	if !prefName.MatchString(name) {
		middleware.Refuse(w, r, invalid("key", "The key must be 1 to 64 characters of a-z, 0-9, - and _."))
		return
	}
	value, err := readPref(w, r)
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	if all := prefs(s); all[name] == nil && len(all) >= maxPrefs {
		middleware.Refuse(w, r, invalid("key", fmt.Sprintf("There are already %d keys, which is the maximum.", maxPrefs)))
		return
	}
	if err := prefKey(name).Set(s, value); err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	// Without this call, the session is saved with the response. Save returns an error
	// before the response is written.
	if err := s.Save(r.Context()); err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readPref reads a JSON value from the request's body.
func readPref(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		return nil, err
	}
	if !json.Valid(body) {
		return nil, &middleware.Problem{Status: http.StatusBadRequest, Detail: "The request's body is not a JSON value."}
	}
	var value bytes.Buffer
	if err := json.Compact(&value, body); err != nil || value.Len() > maxPref {
		return nil, invalid("value", "The value is longer than 1 KiB.")
	}
	return value.Bytes(), nil
}

// serveEvents sends server-sent events with the remaining life of the access
// token. A token that is due for refresh is refreshed while the response is being
// written. The stream does not count as use of the session.
func serveEvents(w http.ResponseWriter, r *http.Request) {
	if len(r.URL.RawQuery) > maxQuery {
		middleware.Refuse(w, r, invalid("", "The query is longer than 256 bytes."))
		return
	}
	query := r.URL.Query()
	n, err := strconv.Atoi(cmp.Or(query.Get("n"), "10"))
	if err != nil || n < 1 || n > 1000 {
		middleware.Refuse(w, r, invalid("n", "n must be a number from 1 to 1000."))
		return
	}
	every, err := time.ParseDuration(cmp.Or(query.Get("every"), "1s"))
	if err != nil || every < 0 || every > time.Minute {
		middleware.Refuse(w, r, invalid("every", "every must be a duration of at most 1m, such as 500ms."))
		return
	}
	session.MarkPassive(r.Context())
	s := session.FromContext(r.Context())
	flusher := http.NewResponseController(w)
	for i := range n {
		if i > 0 {
			select {
			case <-time.After(every):
			case <-s.Done(): // signed out, for example in another window; or the program stops
				return
			case <-r.Context().Done():
				return
			}
		}
		if _, err := s.AccessToken(r.Context()); err != nil {
			if i == 0 {
				middleware.Refuse(w, r, err)
			}
			// The browser reconnects, and then receives the refusal.
			return
		}
		if i == 0 {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		left := time.Until(s.AccessTokenExpiresAt())
		fmt.Fprintf(w, "id: %d\ndata: {\"access_token_expires_in\":%.3f}\n\n", i+1, left.Seconds())
		if flusher.Flush() != nil {
			return
		}
	}
}

// watch responds like middleware.Me, for a page that polls. The poll does not count as
// use of the session.
func watch(w http.ResponseWriter, r *http.Request) {
	middleware.Passive(http.HandlerFunc(middleware.Me)).ServeHTTP(w, r)
}

// invalid returns the Problem for an invalid field or parameter.
func invalid(field, detail string) error {
	return &middleware.Problem{Status: http.StatusUnprocessableEntity, Field: field, Detail: detail}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client has disconnected
}
