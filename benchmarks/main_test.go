package main

import (
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func newTestEnv(t *testing.T) *env {
	t.Helper()
	e, err := newEnv()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// If no test may skip, the programs that the tests of all modules need are installed.
func open(t *testing.T, e *env, c contender) http.Handler {
	t.Helper()
	h, err := c.open(e)
	if errors.Is(err, errMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Each contender admits users with the right role, refuses others, and rejects forged
// cookies.
func TestContenders(t *testing.T) {
	e := newTestEnv(t)
	for _, c := range inOrder() {
		if !c.bare {
			t.Run(c.name, func(t *testing.T) { testContender(t, open(t, e, c)) })
		}
	}
}

func testContender(t *testing.T, app http.Handler) {
	v := newReader()
	get := func(path, cookie string) *reader {
		r := newRequest("GET", path)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		v.send(app, r, "")
		return v
	}
	refused := func(what string, cookie string) {
		t.Helper()
		get("/admin", cookie)
		if v.status != http.StatusUnauthorized && v.status != http.StatusSeeOther || strings.Contains(string(v.body), adminPage) {
			t.Errorf("%s: status %d, %q", what, v.status, v.body)
		}
		if !get("/", cookie).got(frontUnknown) {
			t.Errorf("front page, %s: status %d, %q", what, v.status, v.body)
		}
	}
	user := func(email string) string {
		t.Helper()
		cookie, err := signIn(app, email)
		if err != nil {
			t.Fatal(err)
		}
		return cookie
	}

	refused("without a cookie", "")
	if len(v.header["Set-Cookie"]) > 0 {
		t.Error("the response to a visitor sets a cookie")
	}
	v.send(app, newRequest("POST", "/login"), loginForm(admin, "wrong"))
	if v.signedIn() || v.status != http.StatusUnauthorized {
		t.Errorf("wrong password: status %d, %q", v.status, v.body)
	}
	cookie := user(admin)
	if !get("/admin", cookie).got(adminPage) {
		t.Errorf("an admin: status %d, %q", v.status, v.body)
	}
	if !get("/", cookie).got(frontSignedIn) {
		t.Errorf("front page, an admin: status %d, %q", v.status, v.body)
	}
	if get("/admin", user(member)).status != http.StatusForbidden {
		t.Errorf("another user: status %d, %q", v.status, v.body)
	}

	// Change one character in the middle of the cookie.
	first, _, _ := strings.Cut(cookie, ";")
	at := (strings.Index(first, "=") + len(first)) / 2
	other := "A"
	if cookie[at:at+1] == other {
		other = "B"
	}
	refused("with a forged cookie", cookie[:at]+other+cookie[at+1:])
}

// A new app accepts the cookies of an earlier app, but not the ID of a session in
// the earlier app's store.
func TestOpenAgain(t *testing.T) {
	e := newTestEnv(t)
	for _, c := range inOrder() {
		if c.bare {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			r, err := signedInRequest(open(t, e, c), "/admin", admin)
			if err != nil {
				t.Fatal(err)
			}
			v := newReader()
			if v.send(open(t, e, c), r, ""); v.got(adminPage) == c.apart {
				t.Errorf("status %d, %q", v.status, v.body)
			}
		})
	}
}

// The command does every task and writes the tables and the charts.
func TestQuickRun(t *testing.T) {
	r, err := runAll(quick, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	report := r.report()
	for _, c := range r.contenders {
		if !strings.Contains(report, c.name) {
			t.Errorf("%s is not in the tables", c.name)
		}
	}
	if rows := strings.Count(report, "\n"); rows < 60 {
		t.Errorf("%d lines", rows)
	}
	if len(r.skipped) == 0 {
		for _, target := range targets {
			if cells := target.row(r); target.what != stallTarget && strings.Contains(cells[2], "not measured") {
				t.Errorf("not measured: %q", cells)
			}
		}
	}
	for name, want := range map[string]float64{redisUnchanged: 0, redisRead: 1, sqliteRead: 1} {
		if got, ok := r.trips[name]; ok && got != want {
			t.Errorf("%s: %g round trips for each request, want %g", name, got, want)
		}
	}
	testPages(t, r)
	for _, c := range []colors{light, dark} {
		chart := r.chart(c)
		d := xml.NewDecoder(strings.NewReader(chart))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("the chart is no XML: %v\n%s", err, chart)
			}
		}
		for _, bar := range r.bars() {
			if !strings.Contains(chart, ">"+bar.name+"<") {
				t.Errorf("%s is not in the chart", bar.name)
			}
		}
	}
}

// testPages checks that each page with figures has blocks, and that a run can write them
// again and again.
func testPages(t *testing.T, r *results) {
	t.Helper()
	root, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pagesWithFigures {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		once, err := replaceBlocks(string(text), r.blocks())
		if err != nil || once == string(text) {
			t.Errorf("%s: error %v, or no block", name, err)
		}
		if twice, err := replaceBlocks(once, r.blocks()); err != nil || twice != once {
			t.Errorf("%s: error %v, or a second run writes other text", name, err)
		}
	}
	for _, page := range []string{blockBegin + "costs -->\n", blockBegin + "unknown -->\n" + blockEnd} {
		if got, err := replaceBlocks(page, r.blocks()); err == nil {
			t.Errorf("%q became %q, want an error", page, got)
		}
	}
}

// The prepared access token has the size that the targets are about.
func TestTokenSize(t *testing.T) {
	if n := len(accounts[admin].tokens.AccessToken); n != 417 {
		t.Errorf("the access token has %d bytes, want 417", n)
	}
}

// Each target that bounds a time has a profile, with the label of the samples that the
// figures are about. A quick run is too short for samples.
func TestProfiles(t *testing.T) {
	dir := t.TempDir()
	var progress strings.Builder
	if err := run([]string{"-quick", "-profile", dir}, io.Discard, &progress); err != nil {
		t.Fatal(err)
	}
	_, skipped, err := present(newTestEnv(t), inOrder())
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		for _, l := range target.limits {
			if l.work != (key{}) && len(skipped) == 0 && !strings.Contains(progress.String(), target.what) {
				t.Errorf("no profile for %q", target.what)
			}
		}
	}
	for line := range strings.Lines(progress.String()) {
		name, _, _ := strings.Cut(line, ":")
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, or it is empty", name, err)
		}
	}
}
