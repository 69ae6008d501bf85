package replicas_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// listed is an entry of a user's list of sessions.
type listed struct {
	ID      string `json:"id"`
	IP      string `json:"ip"`
	Current bool   `json:"current"`
}

// sessions returns the list that a browser receives from a process.
func (p *process) sessions(t *testing.T, j jar) []listed {
	t.Helper()
	a := p.get(t, "/sessions", j)
	var body struct{ Sessions []listed }
	if err := json.Unmarshal([]byte(a.body), &body); a.status != http.StatusOK || err != nil {
		t.Fatalf("%d %s (%v)", a.status, a.body, err)
	}
	return body.Sessions
}

// testSessions ends sessions by their handles, through another process than the one that
// uses the session.
func (c *cluster) testSessions(t *testing.T) {
	foreign := c.signIn(t, c.all[0], 0)
	foreignID := c.all[1].sessions(t, foreign.jar)[0].ID
	testkit.Severally(t, scale.Of(3, 4, 100), 4, func(t *testing.T, i int) {
		here, there := c.all[i%3], c.all[(i+1)%3]
		this := c.signIn(t, here, 0)
		var jars []jar
		for range 3 {
			a := there.post(t, "/login", this.user.credentials(), nil)
			if a.status != http.StatusOK {
				t.Fatalf("login: %d %s", a.status, a.body)
			}
			j := jar(nil).After(a.cookies)
			c.served(t, there.get(t, "/api/upstream", j), this.user)
			jars = append(jars, j)
		}
		if n := len(here.sessions(t, this.jar)); n != 4 {
			t.Fatalf("%d sessions are listed, want 4", n)
		}

		// By its handle.
		id := there.sessions(t, jars[0])[0].ID
		if a := here.delete(t, "/sessions/"+id, this.jar); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
		c.over(t, jars[0])
		for _, guess := range []string{foreignID, id, "x"} {
			if a := here.delete(t, "/sessions/"+guess, this.jar); a.status != http.StatusNotFound {
				t.Errorf("%d %s, want 404", a.status, a.body)
			}
		}

		// All others.
		if a := here.delete(t, "/sessions", this.jar); a.status != http.StatusNoContent {
			t.Fatalf("%d %s", a.status, a.body)
		}
		c.over(t, jars[1])
		c.over(t, jars[2])
		if list := there.sessions(t, this.jar); len(list) != 1 || !list[0].Current {
			t.Errorf("%+v are listed", list)
		}
		c.served(t, there.get(t, "/api/upstream", this.jar), this.user)

		// Each process that had a session open has revoked its tokens.
		eventually(t, "the tokens of the others are revoked", func() bool {
			return len(c.service.LiveTokens(this.user.email)) == 1
		})
	})
	c.served(t, c.all[0].get(t, "/api/upstream", foreign.jar), foreign.user)
}

// over fails the test unless a session has ended in every process: at once, or with Redis
// as soon as its message has arrived.
func (c *cluster) over(t *testing.T, j jar) {
	t.Helper()
	if strings.HasPrefix(c.db.address, "redis") {
		eventually(t, "the session is over", func() bool {
			for _, p := range c.all {
				if p.get(t, "/api/me", j).status != http.StatusUnauthorized {
					return false
				}
			}
			return true
		})
	}
	c.signedOut(t, j, c.all...)
}

func (p *process) delete(t *testing.T, path string, j jar) response {
	t.Helper()
	a, err := p.send(t.Context(), "DELETE", path, nil, j)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
