package replicas_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/proc"
	"github.com/synmetrix/session/tests/internal/proxy"
)

// testStart starts processes with a database that is down, with one that has a wrong
// table, and with one that has the sessions of earlier processes.
func (db *database) testStart(t *testing.T) {
	for _, m := range modes {
		c := &cluster{t: t, db: db, mode: m, keys: newKeys(), service: newService(t, authtest.Options{})}
		c.run(string(m)+"/again", c.testStartAgain)
		if db.driver != redis {
			c.run(string(m)+"/wrong table", c.testWrongTable)
		}
		if db.server != nil {
			c.run(string(m)+"/down", c.testStartWhileDown)
		} else {
			c.run(string(m)+"/unusable file", c.testUnusableFile)
		}
	}
}

// at returns the cluster with another address of its database.
func (c *cluster) at(address string) *cluster {
	db := *c.db
	db.address = address
	return &cluster{t: c.t, db: &db, mode: c.mode, keys: c.keys, service: c.service}
}

// A start signs no user out.
func (c *cluster) testStartAgain(t *testing.T) {
	before := c.start(t)
	if a := before.get(t, "/readyz", nil); a.status != http.StatusOK || a.body != `{"store":"ok","auth":"ok"}` {
		t.Errorf("/readyz: %d %s", a.status, a.body)
	}
	l := c.signIn(t, before, briefly)
	l.expire()
	token := c.served(t, before.get(t, "/api/upstream", l.jar), l.user)
	before.stop(t)
	after := c.start(t)
	if c.served(t, after.get(t, "/api/upstream", l.jar), l.user) != token {
		t.Error("the new tokens are lost")
	}
	c.lives(t, l.user, 1)
}

// A database that is down or silent does not prevent the start. /readyz reports it,
// public pages are served, and sessions work once it responds.
func (c *cluster) testStartWhileDown(t *testing.T) {
	for name, fault := range map[string]proxy.Fault{"down": {Down: true}, "silent": {Hang: true}} {
		between := proxy.New(t, "tcp", c.db.server.Proxy.Addr())
		between.Set(fault)
		p := c.at(strings.ReplaceAll(c.db.address, c.db.server.Proxy.Addr(), between.Addr())).start(t, "STORE_TIMEOUT=1s")
		if a := p.get(t, "/readyz", nil); a.status != http.StatusServiceUnavailable || a.body != `{"store":"down","auth":"ok"}` {
			t.Errorf("%s: /readyz: %d %s", name, a.status, a.body)
		}
		for _, path := range []string{"/", "/login", "/healthz"} {
			if a := p.get(t, path, nil); a.status != http.StatusOK {
				t.Errorf("%s: %s: %d %s", name, path, a.status, a.body)
			}
		}
		if c.mode == stored {
			u := c.service.newUser(0)
			a := p.post(t, "/login", u.credentials(), nil)
			if a.status != http.StatusServiceUnavailable || len(a.cookies) > 0 || len(c.service.LiveTokens(u.email)) > 0 {
				t.Errorf("%s: login: %d %s, cookies %v; the tokens must be revoked", name, a.status, a.body, a.cookies)
			}
		}
		between.Set(proxy.Fault{})
		eventually(t, "the store is seen to be there", func() bool { return p.get(t, "/readyz", nil).status == http.StatusOK })
		l := c.signIn(t, p, briefly)
		l.expire()
		c.served(t, p.get(t, "/api/upstream", l.jar), l.user)
		c.lives(t, l.user, 1)
	}
}

// A wrong table stops the program, with a line that has the statement for the right one.
func (c *cluster) testWrongTable(t *testing.T) {
	name := "wrong_" + string(c.mode)
	address := c.db.address
	conn := c.db.open(t)
	statements := []string{"CREATE TABLE sessions (token VARCHAR(100) PRIMARY KEY, expiry BIGINT NOT NULL)"}
	switch c.db.driver {
	case "sqlite":
		other := newSQLite(t)
		conn, address = other.open(t), other.address
	case "pgx":
		address += "&search_path=" + name
		statements = []string{"CREATE SCHEMA " + name, strings.ReplaceAll(statements[0], "sessions", name+".sessions")}
	case "mysql":
		address = address[:strings.LastIndex(address, "/")+1] + name
		statements = []string{"CREATE DATABASE " + name, strings.ReplaceAll(statements[0], "sessions", name+".sessions")}
	}
	for _, statement := range statements {
		if _, err := conn.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	c.at(address).refusesToStart(t, "CREATE TABLE", "session_key is missing")
}

// A file that cannot be used stops the program, too. The file does not change.
func (c *cluster) testUnusableFile(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "novel.txt")
	text := strings.Repeat("This is a text file, and not a database.\n", 1000)
	if err := os.WriteFile(foreign, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.at("sqlite:"+foreign).refusesToStart(t, "not a database")
	if now, err := os.ReadFile(foreign); err != nil || string(now) != text {
		t.Errorf("the file has changed (error %v)", err)
	}
	c.at("sqlite:"+filepath.Join(dir, "nowhere", "sessions.db")).refusesToStart(t, "no such file")
	c.at("sqlite:"+dir).refusesToStart(t, "directory")
	strange := c.at("sqlite:" + filepath.Join(dir, "100% strange?mode=ro&name #1.db"))
	strange.signIn(t, strange.start(t), 0)
	if entries, err := filepath.Glob(filepath.Join(dir, "100% strange*1.db")); err != nil || len(entries) != 1 {
		t.Errorf("the file is called %q, error %v", entries, err)
	}
}

// refusesToStart fails the test unless the program ends with status 1 and one line that
// contains the words.
func (c *cluster) refusesToStart(t *testing.T, words ...string) {
	t.Helper()
	place := map[mode]string{stored: "STORE=", cookies: "COORDINATOR="}[c.mode]
	status, stdout, stderr := proc.Run(t, "dashboard", []string{"ADDR=127.0.0.1:0", "AUTH_URL=" + c.service.url, "SESSION_KEYS=" + c.keys.String(), place + c.db.address})
	if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit status %d, %q, %q; want 1 and one line", status, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			t.Errorf("%q is not in %q", w, stderr)
		}
	}
}

// Keys are rotated as docs/keys.md describes, in one process after the other: first all
// can open with the new key, and then all seal with it. No user is signed out.
func (c *cluster) testNewKeys(t *testing.T) {
	older, newer := c.keys[0], c.keys[1]
	both, turned := secretKeys{older, newer}, secretKeys{newer, older}
	var all []login
	among := []*process{c.withKeys(secretKeys{older}).start(t), c.withKeys(secretKeys{older}).start(t)}
	look := func(when string) {
		t.Helper()
		all = append(all, c.signIn(t, among[0], briefly), c.signIn(t, among[1], briefly))
		for i := range all {
			l := &all[i]
			l.expire()
			for _, p := range among {
				a := p.get(t, "/api/upstream", l.jar)
				c.served(t, a, l.user)
				l.jar = l.jar.After(a.cookies)
			}
		}
		if t.Failed() {
			t.Fatal(when)
		}
	}
	look("before")
	for _, step := range []struct {
		what string
		keys secretKeys
	}{{"opens", both}, {"seals", turned}} {
		for i := range among {
			among[i].stop(t)
			among[i] = c.withKeys(step.keys).start(t)
			look(fmt.Sprintf("the new key %s in process %d", step.what, i))
		}
	}
	for _, l := range all {
		c.lives(t, l.user, 1)
	}
	// Signing out everywhere ends sessions that were listed under either key.
	if c.mode == stored {
		u := all[0].user
		again := among[1].post(t, "/login", u.credentials(), nil)
		if a := among[0].post(t, "/logout", strings.NewReader(`{"all":true}`), jar(nil).After(again.cookies)); a.status != http.StatusNoContent {
			t.Errorf("logout: %d %s", a.status, a.body)
		}
		c.signedOut(t, all[0].jar, among...)
	}
}

// withKeys returns the cluster with other keys for new processes, and with the same
// logins.
func (c *cluster) withKeys(keys secretKeys) *cluster {
	return &cluster{t: c.t, db: c.db, mode: c.mode, keys: keys, service: c.service}
}

// stop ends a process like an operator.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.Signal(syscall.SIGTERM)
	if status := p.Wait(); status != 0 {
		t.Errorf("exit status %d after SIGTERM", status)
	}
}
