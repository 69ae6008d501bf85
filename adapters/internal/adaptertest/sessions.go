package adaptertest

import (
	"encoding/json"
	"strings"

	"github.com/synmetrix/session/internal/testkit/webapp"
)

// listed is an entry of the list of sessions.
type listed struct {
	ID         string `json:"id"`
	CreatedAt  int64  `json:"created_at"`
	LastSeenAt int64  `json:"last_seen_at"`
	IP         string `json:"ip"`
	UserAgent  string `json:"user_agent"`
	Current    bool   `json:"current"`
}

// list returns the sessions of the user of b, the one of b first.
func list(b *webapp.Browser, path string) []listed {
	b.T.Helper()
	var body struct{ Sessions []listed }
	if err := json.Unmarshal([]byte(b.Get(path).Is(200).Body), &body); err != nil {
		b.T.Fatal(err)
	}
	for i, s := range body.Sessions {
		if s.Current != (i == 0) || s.IP != "127.0.0.1" || s.CreatedAt == 0 || s.LastSeenAt < s.CreatedAt || !strings.HasPrefix(s.UserAgent, "Go-http-client") {
			b.T.Errorf("session %d is listed as %+v", i, s)
		}
	}
	return body.Sessions
}

// sessions tests the routes for the list of sessions. They are below prefix.
func sessions(a *trial, prefix string) []*webapp.Response {
	visitor, _, _ := a.serve(Spec{Prefix: prefix, Routes: []Route{{"GET", "/whoami", Guard{}, Whoami}}})
	path := prefix + "/sessions"
	signIn := func(email string) *webapp.Browser {
		b := a.Browser()
		b.Submit(prefix+"/login", "email", email, "password", Password).Is(303)
		return b
	}
	b := signIn(Viewer)
	b.Do("DELETE", path, "").Is(204) // the trial has signed the user in before
	other, third, foreign := signIn(Viewer), signIn(Viewer), signIn(Admin)
	own, foreignID := list(b, path), list(foreign, path)[0].ID
	if len(own) != 3 {
		a.T.Fatalf("%d sessions are listed, want 3", len(own))
	}
	page := b.Open(path).Says(200, "Where you are signed in")
	for _, s := range own {
		if !strings.Contains(page.Body, path+"/"+s.ID+"/end") {
			a.T.Errorf("the page has no form for the session %s", s.ID)
		}
	}

	for _, method := range []string{"HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
		for _, p := range []string{path, path + "/end/others", path + "/x", path + "/x/end"} {
			visitor.Do(method, p, "")
			visitor.Do(method, p, "", "Accept", webapp.AsPage)
			if method != "DELETE" && method != "POST" {
				b.Do(method, p, "")
			}
		}
	}
	visitor.Open(path).Is(303)
	b.Get(path, "Authorization", "Bearer x").Is(401)

	// Only the user's own sessions can be ended, and by this site only.
	for _, id := range []string{foreignID, "x", "end", strings.Repeat("A", 22), "%2e%2e"} {
		b.Do("DELETE", path+"/"+id, "").Says(404, "not_found")
		b.Submit(path + "/" + id + "/end").Is(404)
	}
	b.Do("DELETE", path+"/"+own[0].ID, "", "Sec-Fetch-Site", "cross-site").Is(403)
	b.Do("DELETE", path, "", "Sec-Fetch-Site", "same-site").Is(403)
	b.Do("POST", path+"/end/others", "x", "Content-Type", "text/plain").Is(415)
	foreign.Get("/whoami").Says(200, "0000000a")

	ended := list(other, path)[0].ID
	b.Do("DELETE", path+"/"+ended, "").Is(204)
	b.Do("DELETE", path+"/"+ended, "").Says(404, "not_found")
	other.Get("/whoami").Says(200, " []")
	b.Submit(path + "/" + list(third, path)[0].ID + "/end").Is(303)
	b.Open(path+"?ended=one").Says(200, "The session is signed out.")
	third.Get("/whoami").Says(200, " []")

	others := []*webapp.Browser{signIn(Viewer), signIn(Viewer)}
	b.Submit(path + "/end/others").Is(303)
	for _, o := range others {
		o.Get("/whoami").Says(200, " []")
	}
	others = append(others, signIn(Viewer))
	b.Do("DELETE", path, "").Is(204)
	others[2].Get("/whoami").Says(200, " []")
	b.Get("/whoami").Says(200, "0000000b")

	// The session of the request.
	b.Submit(path + "/" + own[0].ID + "/end").Is(303)
	b.Get("/whoami").Says(200, " []")
	b.Get(path).Is(401)
	foreign.Do("DELETE", path+"/"+foreignID, "").Is(204)
	foreign.Get("/whoami").Says(200, " []")

	b = signIn(Viewer)
	a.Store.Down.Store(true)
	b.Get(path).Says(503, "session_unavailable")
	b.Do("DELETE", path, "").Says(503, "session_unavailable")
	b.Submit(path + "/end/others").Is(503)
	a.Store.Down.Store(false)
	b.Get(path).Is(200)
	return responsesOf(visitor, b, other, third, foreign)
}
