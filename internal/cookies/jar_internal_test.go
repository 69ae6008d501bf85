package cookies

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/seal"
)

// A sealed text is among the candidates, whatever other cookies the request has, and
// the candidates stay within the budget.
func FuzzJoinChunks(f *testing.F) {
	f.Add(100, "")
	f.Add(9000, "__Host-session=garbage; __Host-session-1=x")
	f.Add(9000, "__Host-session=3.AAAA.x; __Host-session-1=AAAA.y; __Host-session-2=AAAA.z")
	f.Add(15_000, "__Host-session=2.AAAA.x; __Host-session-1=AAAA.y; __Host-session-1=BBBB.y")
	f.Add(4100, "__Host-session=99.; __Host-session=-1.AAAA.; __Host-session=2.AAAA; __Host-session-1=AAAA")
	f.Add(5000, "__Host-session=2..; ;;==; __Host-session-1; __Host-session-9=x")
	sealer := seal.NewSecret("a secret of 32 bytes or more, as it is configured").Cookies
	j := NewJar(Config{Keys: 1, MinSize: seal.Size(0), Authentic: func(string, string, []string) bool { return true }})
	f.Fuzz(func(t *testing.T, size int, garbage string) {
		if size < 0 || !j.Fits(seal.Size(size)) || strings.Count(garbage, j.prefix) > maxPresented/2 {
			return
		}
		sealed, err := sealer.Seal(seal.Tokens, j.Tokens[0], make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != seal.Size(size) {
			t.Fatalf("%d bytes sealed, want %d", len(sealed), seal.Size(size))
		}
		h := http.Header{}
		if !j.Set(h, j.Tokens, []byte(sealed), time.Hour, nil) {
			t.Fatal("Set returned false for a text that fits")
		}
		var pairs []string
		for _, line := range h["Set-Cookie"] {
			if len(line) > maxSetCookie {
				t.Fatalf("a Set-Cookie of %d bytes", len(line))
			}
			pair, _, _ := strings.Cut(line, ";")
			pairs = append(pairs, pair)
		}
		genuine := strings.Join(pairs, "; ")
		for _, header := range []string{genuine, garbage + ";" + genuine, garbage} {
			presented := j.Read(http.Header{"Cookie": {header}}, new(Room))
			found, opened, tries := false, 0, 0
			for value := range j.Candidates(presented, seal.Tokens, j.Tokens) {
				if opened += len(value); tries > 0 && opened > j.budget {
					t.Fatalf("%d bytes to open in %d tries", opened, tries)
				}
				tries++
				found = found || value == sealed
			}
			if want := header != garbage; found != want && !strings.Contains(garbage, pairs[0]) {
				t.Fatalf("found: %v, want %v, among %q", found, want, garbage)
			}
		}
	})
}
