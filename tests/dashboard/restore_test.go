package dashboard_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/synmetrix/session/authtest"
)

var refusedRefresh = regexp.MustCompile(`session_ended session=\w+ reason=refresh_refused`)

// After a backup of SQLite is restored, sessions behave as docs/operations.md describes.
// The backup was made while the program ran.
func TestRestoredBackup(t *testing.T) {
	t.Parallel()
	const life = 2 * time.Second // of access tokens
	auth := authtest.NewServer(t, authtest.Options{Accounts: accounts(), PasswordCost: -1, AccessLife: life})
	dir := t.TempDir()
	file, backup := filepath.Join(dir, "sessions.db"), filepath.Join(dir, "backup.db")
	var s *site
	run := func() {
		s = start(t, target{framework: "nethttp", store: "sqlite:" + file}, authtest.Options{}, "SESSION_KEYS="+keyA, "AUTH_URL="+auth.URL)
	}
	// in returns the browser for the program that is running now.
	in := func(b *browser) *browser {
		now := s.browser(t)
		now.client.Jar.SetCookies(now.request("GET", "/", nil).URL, b.cookies())
		return now
	}

	run()
	unused, refreshed, ended := s.signedIn(t, viewer), s.signedIn(t, viewer), s.signedIn(t, viewer)
	copied := ended.copy()
	refreshed.put("theme", `"light"`).is(204)
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("VACUUM INTO ?", backup); err != nil {
		t.Fatal(err)
	}
	refreshed.put("theme", `"dark"`).is(204)
	time.Sleep(life)
	before := auth.Refreshes()
	refreshed.get("/api/me").is(200)
	if auth.Refreshes() == before {
		t.Error("the session was not refreshed")
	}
	ended.postForm("/logout").is(303)
	begun := s.signedIn(t, viewer)
	s.Signal(syscall.SIGTERM)
	if status := s.Wait(); status != 0 {
		t.Fatalf("exit status %d", status)
	}

	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(file + suffix); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.Rename(backup, file); err != nil {
		t.Fatal(err)
	}
	run()
	in(unused).get("/api/me").is(200)
	in(begun).get("/api/me").problem(401, "unauthenticated")
	in(copied).get("/api/me").problem(401, "unauthenticated") // its token has expired
	in(refreshed).get("/api/prefs").problem(401, "unauthenticated")
	eventually(t, "the log says why", func() bool {
		log := s.Stderr()
		return len(refusedRefresh.FindAllString(log, -1)) == 2 && strings.Count(log, "reason=revoked") == 1
	})
}
