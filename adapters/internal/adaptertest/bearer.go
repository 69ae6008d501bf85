package adaptertest

import (
	"net/http"
	"strings"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

// bearerScripts need a verifier.
var bearerScripts = []script{
	{"bearers", bearers},
}

// bearers sends requests with bearer tokens, genuine and forged, to guarded routes and to
// the built-in ones.
func bearers(a *trial) []*webapp.Response {
	var list []Route
	for path, guard := range map[string]Guard{
		"/open":     {},
		"/user":     {User: true},
		"/admin":    {Roles: []string{"admin"}},
		"/policy":   {Policy: func(s *session.Session) bool { return len(s.Roles()) == 2 }},
		"/fresh":    {Fresh: 1000 * time.Hour},
		"/api/user": {User: true},
	} {
		list = append(list, Route{"GET", path, guard, Whoami}, Route{"POST", path, guard, Whoami})
	}
	list = append(list, Route{"GET", "/set", Guard{User: true}, func(w http.ResponseWriter, r *http.Request) {
		if err := theme.Set(session.FromContext(r.Context()), "dark"); err != nil {
			middleware.Refuse(w, r, err)
		}
	}})
	visitor, _, b := a.serve(Spec{
		Options:  []middleware.Option{middleware.WithAPI("/api/")},
		Routes:   list,
		Features: []middleware.Feature{middleware.PasswordChange},
	})
	admin, _ := a.Auth.SignIn(Admin)
	viewer, _ := a.Auth.SignIn(Viewer)
	parts := strings.Split(admin, ".")
	unsigned := "eyJhbGciOiJub25lIn0." + parts[1] + "."
	mixed := strings.Join([]string{parts[0], parts[1], strings.Split(viewer, ".")[2]}, ".")
	for _, token := range []string{admin, viewer, unsigned, mixed, "", "x", strings.Repeat("x", 100_000)} {
		header := []string{"Authorization", "Bearer " + token}
		for _, path := range []string{"/open", "/user", "/admin", "/policy", "/fresh", "/api/user", "/login", "/login/mfa", "/password"} {
			for _, client := range []*webapp.Browser{visitor, b} { // the cookie makes no difference
				client.Get(path, header...)
				client.Get(path, append(header, "Accept", webapp.AsPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document")...)
				client.Do("POST", path, "{}", append(header, "Content-Type", "application/json", "Sec-Fetch-Site", "cross-site")...)
			}
		}
		b.Do("POST", "/logout", "{}", append(header, "Content-Type", "application/json")...).Says(401, "unauthenticated")
	}
	if a.opts.Stored {
		visitor.Get("/sessions", "Authorization", "Bearer "+viewer).Says(403, "session_required")
		visitor.Do("DELETE", "/sessions/x", "", "Authorization", "Bearer "+unsigned).Says(401, "unauthenticated")
	}
	visitor.Get("/admin", "Authorization", "bearer "+admin).Says(200, `0000000a ["user" "admin"]`)
	visitor.Get("/admin", "Authorization", "Bearer "+viewer).Says(403, "forbidden")
	visitor.Get("/admin", "Authorization", "Bearer "+unsigned).Says(401, "unauthenticated")
	visitor.Get("/set", "Authorization", "Bearer "+viewer).Says(403, "session_required")
	visitor.Do("POST", "/password", "{}", "Authorization", "Bearer "+viewer, "Content-Type", "application/json").Says(403, "session_required")
	visitor.Do("POST", "/login", "{}", "Authorization", "Bearer "+viewer, "Content-Type", "application/json").Says(403, "session_required")
	b.Get("/user").Says(200, "0000000a")
	for _, r := range append(responsesOf(visitor), b.Responses...) {
		if r.Request.Header.Get("Authorization") != "" && r.SetsCookie() {
			a.T.Errorf("%s sets a cookie", r.What())
		}
	}
	return responsesOf(visitor, b)
}
