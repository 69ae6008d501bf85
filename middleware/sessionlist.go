package middleware

import (
	"context"
	"net/http"
	"strings"

	"github.com/synmetrix/session"
)

// This file has the routes for the list of the user's sessions.

const (
	sessionsPath     = "/sessions"
	endOthersPath    = sessionsPath + "/end/others" // has one segment more than the path of a session, so the two never conflict
	sessionParameter = "{session}"
)

// sessionRoutes appends the routes. HTML forms cannot send DELETE, so each DELETE also has
// a route with POST.
func (h *handlers) sessionRoutes(routes []Route) []Route {
	routes = h.allMethods(routes, sessionsPath, map[string]http.HandlerFunc{
		http.MethodGet: h.listSessions, http.MethodDelete: h.endOthers,
	})
	routes = h.path(routes, endOthersPath, nil, h.endOthers)
	one := sessionsPath + "/" + sessionParameter
	routes = h.allMethods(routes, one, map[string]http.HandlerFunc{http.MethodDelete: h.endSession})
	return h.path(routes, one+"/end", nil, h.endSession)
}

// sessionOf returns the path parameter, the handle of a session.
func sessionOf(r *http.Request) string { return r.PathValue(strings.Trim(sessionParameter, "{}")) }

// oneSegment refuses a request to a route with a parameter unless the parameter is one
// segment of the request's path. Some routers accept an empty parameter, one with
// several segments, or a path with more segments than the route.
func oneSegment(route string, next http.HandlerFunc) http.HandlerFunc {
	before, after, _ := strings.Cut(route, sessionParameter)
	return func(w http.ResponseWriter, r *http.Request) {
		id := sessionOf(r)
		// The suffix is compared with the path that the server received. It is different if
		// the router has matched more segments, or has decoded a slash.
		if id == "" || strings.Contains(id, "/") || !strings.HasSuffix(addressOf(r).Path, before+id+after) {
			Refuse(w, r, &Problem{Status: http.StatusNotFound})
			return
		}
		next(w, r)
	}
}

// listSessions handles GET /sessions, as a page or as JSON.
func (h *handlers) listSessions(w http.ResponseWriter, r *http.Request) {
	list, err := h.m.Sessions(r.Context())
	switch {
	case err != nil:
		Refuse(w, r, err)
	case WantsPage(r):
		WritePage(w, r, newSessionsPage(r, list))
	default:
		writeSessions(w, list)
	}
}

// writeSessions writes the list as JSON. The ID is the handle of a session, which gives
// no access; the session ID stays in its cookie. Times are in Unix seconds.
func writeSessions(w http.ResponseWriter, list []session.SessionInfo) {
	type entry struct {
		ID         string `json:"id"`
		CreatedAt  int64  `json:"created_at"`
		LastSeenAt int64  `json:"last_seen_at"`
		IP         string `json:"ip"`
		UserAgent  string `json:"user_agent"`
		Current    bool   `json:"current"`
	}
	entries := make([]entry, len(list))
	for i, s := range list {
		entries[i] = entry{s.Handle, s.CreatedAt.Unix(), s.LastSeenAt.Unix(), addressText(s), s.UserAgent, s.Current}
	}
	writeJSON(w, http.StatusOK, typeJSON, map[string]any{"sessions": entries})
}

// addressText returns the client's address, empty if it is unknown.
func addressText(s session.SessionInfo) string {
	if !s.Addr.IsValid() {
		return ""
	}
	return s.Addr.String()
}

// newSessionsPage returns the page with the list. Each session has a form that ends it. If
// there are several, another form ends all other sessions.
func newSessionsPage(r *http.Request, list []session.SessionInfo) Page {
	page := NewPage(r, "sessions")
	page.showUser(r)
	self := sibling(r, sessionsPath, sessionsPath)
	for _, s := range list {
		page.Sessions = append(page.Sessions, PageSession{
			Device: page.device(s.UserAgent), Address: addressText(s),
			Created: s.CreatedAt, LastSeen: s.LastSeenAt, Current: s.Current,
			EndURL: self + "/" + s.Handle + "/end",
		})
	}
	if len(list) > 1 {
		page.Button, page.Action = page.Text("sessions.end_others"), sibling(r, sessionsPath, endOthersPath)
	}
	switch ended, _ := parameter(r, "ended"); ended {
	case "one":
		page.Notice = page.Text("notice.sessions_ended_other")
	case "others":
		page.Notice = page.Text("notice.sessions_ended_others")
	}
	page.addLink("page.home", page.Home)
	return page
}

// endSession ends one session. The Manager looks the handle up in the list of the
// request's user, so a user cannot end the sessions of others.
func (h *handlers) endSession(w http.ResponseWriter, r *http.Request) {
	id := sessionOf(r)
	h.end(w, r, sessionsPath+"/"+id+"/end", "one", func(ctx context.Context) error { return h.m.EndSession(ctx, id) })
}

// endOthers ends all sessions of the user except the session of the request.
func (h *handlers) endOthers(w http.ResponseWriter, r *http.Request) {
	h.end(w, r, endOthersPath, "others", h.m.LogoutOthers)
}

// end ends sessions by f. own is the path of the form's route. ended is "one" or "others",
// and selects the notice on the page with the list.
func (h *handlers) end(w http.ResponseWriter, r *http.Request, own, ended string, f func(context.Context) error) {
	if r.Method == http.MethodPost {
		// The form has no fields, but must be one: see Routes.
		if _, err := readInput(r); err != nil {
			Refuse(w, r, err)
			return
		}
	}
	if err := f(r.Context()); err != nil {
		Refuse(w, r, err)
		return
	}
	switch {
	case !WantsPage(r):
		w.WriteHeader(http.StatusNoContent)
	case session.FromContext(r.Context()).SignedIn():
		redirect(w, r, sibling(r, own, sessionsPath)+"?ended="+ended)
	default: // the user has ended the session of the request
		redirect(w, r, settingsOf(r.Context()).signedOutURL())
	}
}
