package dashboard_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/synmetrix/session/authtest"
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

// sessions returns the list of sessions that the browser receives. Its own session is
// first.
func (b *browser) sessions() []listed {
	b.t.Helper()
	var body struct{ Sessions []listed }
	b.get("/sessions").is(200).json(&body)
	for i, s := range body.Sessions {
		if s.Current != (i == 0) || s.CreatedAt == 0 || s.LastSeenAt < s.CreatedAt || !handle.MatchString(s.ID) {
			b.t.Errorf("session %d is listed as %+v", i, s)
		}
	}
	return body.Sessions
}

var handle = regexp.MustCompile(`^[\w-]{22}$`)

// signsIn returns a browser with an address and a User-Agent, in which a user has signed
// in.
func (s *site) signsIn(t *testing.T, email, address, agent string) *browser {
	t.Helper()
	b := s.browser(t)
	b.do("POST", "/login", `{"email":"`+email+`","password":"`+password+`"}`,
		"Content-Type", typeJSON, "User-Agent", agent, "X-Forwarded-For", "192.0.2.66, "+address).is(200)
	return b
}

func testSessions(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{}, "TRUSTED_PROXIES=127.0.0.0/8,::1")
	if tt.inCookies() {
		// There is no list of cookie sessions.
		b := s.signedIn(t, viewer)
		for _, path := range []string{"/sessions", "/sessions/x", "/sessions/x/end", "/sessions/end/others"} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				b.do(method, path, "").problem(404, "not_found")
			}
			b.page(path).isPage(404)
		}
		if strings.Contains(b.page("/dashboard").isPage(200).body, "/sessions") {
			t.Error("the dashboard links to a list that does not exist")
		}
		return
	}
	b := s.signsIn(t, viewer, "198.51.100.1", "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0")
	phone := s.signsIn(t, viewer, "2001:db8::1", "Mozilla/5.0 (iPhone) Safari/604.1")
	foreign := s.signsIn(t, admin, "198.51.100.9", "foreign")
	for i := range 50 {
		s.signsIn(t, viewer, "198.51.100.2", fmt.Sprint("tool-", i))
	}
	list := b.sessions()
	if len(list) != 52 {
		t.Fatalf("%d sessions are listed, want 52", len(list))
	}
	if got := list[0]; got.IP != "198.51.100.1" || !strings.Contains(got.UserAgent, "Firefox") {
		t.Errorf("the session of the request is listed as %+v", got)
	}
	page := b.page("/sessions").isPage(200)
	for _, want := range []string{"Firefox on Windows", "This device", "Safari on iPhone", "2001:db8::1", "tool-49", "Sign out all other devices"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	b.do("HEAD", "/sessions", "").is(200)
	s.browser(t).get("/sessions").problem(401, "unauthenticated")
	s.browser(t).page("/sessions").leadsTo("/login?return_to=%2Fsessions")

	// Handles of other users, guesses, and texts that are no handle.
	for _, id := range []string{foreign.sessions()[0].ID, strings.Repeat("A", 22), "x", "end", list[1].ID + "x"} {
		b.do("DELETE", "/sessions/"+id, "").problem(404, "not_found")
		b.postForm("/sessions/" + id + "/end").isPage(404)
	}
	for _, path := range []string{"/sessions/", "/sessions/a/b", "/sessions/a%2Fb", "/sessions/a/end/b", "/sessions//end"} {
		b.do("DELETE", path, "").problem(404, "not_found")
		b.do("PUT", path, "").problem(404, "not_found")
	}
	for path, allow := range map[string]string{
		"/sessions": "GET, HEAD, DELETE", "/sessions/x": "DELETE", "/sessions/x/end": "POST", "/sessions/end/others": "POST",
	} {
		a := b.do("PUT", path, "")
		if a.problem(405, "method_not_allowed"); a.header.Get("Allow") != allow {
			t.Errorf("%s allows %q, want %q", path, a.header.Get("Allow"), allow)
		}
	}
	b.do("DELETE", "/sessions", "", "Sec-Fetch-Site", "cross-site").problem(403, "cross_site")

	// End a session from the phone, then the phone's session, all others, and this one.
	phone.do("DELETE", "/sessions/"+list[1].ID, "").is(204)
	phone.do("DELETE", "/sessions/"+list[1].ID, "").problem(404, "not_found")
	if n := len(b.sessions()); n != 51 {
		t.Errorf("%d sessions are listed, want 51", n)
	}
	own := phone.sessions()[0].ID
	b.postForm("/sessions/" + own + "/end").leadsTo("/sessions?ended=one")
	phone.get("/api/me").problem(401, "unauthenticated")
	b.postForm("/sessions/end/others").leadsTo("/sessions?ended=others")
	if n := len(b.sessions()); n != 1 {
		t.Errorf("%d sessions are listed, want 1", n)
	}
	b.do("DELETE", "/sessions", "").is(204)
	foreign.get("/api/me").is(200)
	b.postForm("/sessions/" + list[0].ID + "/end").leadsTo("/")
	b.get("/api/me").problem(401, "unauthenticated")
}
