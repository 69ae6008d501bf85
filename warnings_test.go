package session_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/synmetrix"
)

// warnings returns the warnings of New for cfg, as "field: why".
func warnings(t *testing.T, cfg session.Config) []string {
	t.Helper()
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewJSONHandler(&log, nil))
	if cfg.Auth == nil {
		cfg.Auth = &testkit.Service{T: t}
	}
	if cfg.Keys == nil {
		cfg.Keys = []session.SecretKey{session.GenerateKey()}
	}
	if _, err := session.New(cfg); err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(log.String()) {
		var l struct{ Level, Msg, Setting, Why string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		if l.Level != "WARN" || l.Msg != "unsafe_setting" {
			t.Errorf("logged: %s", line)
		}
		all = append(all, l.Setting+": "+l.Why)
	}
	return all
}

func TestWarnings(t *testing.T) {
	now := time.Now()
	dated := func(age time.Duration) []session.SecretKey {
		old := session.GenerateKey().Encode()
		keys, err := session.ParseKeys(now.Add(-age).Format(time.DateOnly) + ":" + old + "," + session.GenerateKey().Encode())
		if err != nil {
			t.Fatal(err)
		}
		if keys[0].Encode() != old {
			t.Error("the day has changed the key")
		}
		return keys
	}
	const day = 24 * time.Hour
	client := func(url string) session.Config { return session.Config{Auth: synmetrix.NewClient(url)} }
	for _, tt := range []struct {
		name string
		cfg  session.Config
		want string // "": no warning
	}{
		{"defaults", session.Config{}, ""},
		{"cookies without Secure", session.Config{Cookie: session.Cookie{Insecure: true}}, "Config.Cookie.Insecure: "},
		{"HTTPS", client("https://auth.example.org"), ""},
		{"plain HTTP", client("http://auth.example.org/base"), "Config.Auth: "},
		{"plain HTTP to an address", client("http://10.0.0.1:3000"), "Config.Auth: "},
		{"a name that begins like this machine's", client("http://localhost.example.org"), "Config.Auth: "},
		{"plain HTTP to this machine", client("http://127.0.0.1:3000"), ""},
		{"by IPv6", client("http://[::1]:3000"), ""},
		{"by name", client("http://LOCALHOST:3000"), ""},
		{"by a name below", client("http://auth.localhost"), ""},
		{"a new key", session.Config{Keys: dated(0)}, ""},
		{"a key of 11 months", session.Config{Keys: dated(335 * day)}, ""},
		{"a key of 13 months", session.Config{Keys: dated(396 * day)}, "Config.Keys: the newest key is 39"},
		{"a key of tomorrow", session.Config{Keys: dated(-day)}, ""},
		{"a key of next year", session.Config{Keys: dated(-365 * day)}, "Config.Keys: "},
		{"by the app's clock", session.Config{Keys: dated(0), Now: func() time.Time { return now.Add(400 * day) }}, "Config.Keys: "},
	} {
		got := warnings(t, tt.cfg)
		switch {
		case tt.want == "" && len(got) > 0, tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)):
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		for _, line := range got {
			for _, k := range tt.cfg.Keys {
				quotes(t, tt.name, line, k.Encode())
			}
			if strings.Contains(line, "example.org") {
				t.Errorf("%s: %q has the address", tt.name, line)
			}
		}
	}
}

// New does not warn of an old key behind a newer one, because it is being replaced.
func TestWarningsOfNewestKey(t *testing.T) {
	keys, err := session.ParseKeys(session.GenerateKey().Encode() + ",2001-01-01:" + session.GenerateKey().Encode())
	if err != nil {
		t.Fatal(err)
	}
	if got := warnings(t, session.Config{Keys: keys}); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func TestKeyDays(t *testing.T) {
	text := session.GenerateKey().Encode()
	if _, err := parseKey(" 2026-05-31 : " + text + " \n"); err != nil {
		t.Errorf("spaces: %v", err)
	}
	for _, bad := range []string{":" + text, "2026-02-30:" + text, "31.05.2026:" + text, text + ":", text + ":" + text, "2026-05-31:", "2026-05-31:2026-05-31:" + text} {
		_, err := parseKey(bad)
		if err == nil {
			t.Error("a key with a wrong day was parsed")
			continue
		}
		quotes(t, "wrong day", err.Error(), text)
	}
	// The same secret with a day is the same secret.
	if _, err := session.ParseKeys("2026-05-31:" + text + "," + text); err == nil {
		t.Error("a repetition was not noticed")
	}
}

func TestReadKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	one, two := session.GenerateKey().Encode(), session.GenerateKey().Encode()
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if at := time.Now().Add(-age); os.Chtimes(file, at, at) != nil {
			t.Fatal("the file's time cannot be set")
		}
	}
	const years = 2 * 365 * 24 * time.Hour
	today := time.Now().Format(time.DateOnly) + ":"
	for _, tt := range []struct {
		name, text string
		age        time.Duration
		warns      bool
	}{
		{"new file", "# newest first\n" + one + "\n\n  " + two + "\r\n", 0, false},
		{"old file", one + "\n" + two, years, true},
		{"old file with a new day", today + one + "\n" + two + "\n", years, false},
		{"new file with an old day", "2001-01-01:" + one + "\n" + two + "\n", 0, true},
	} {
		write(tt.text, tt.age)
		keys, err := session.ReadKeys(file)
		if err != nil || len(keys) != 2 || keys[0].Encode() != one || keys[1].Encode() != two {
			t.Errorf("%s: %d keys, error %v", tt.name, len(keys), err)
			continue
		}
		if got := warnings(t, session.Config{Keys: keys}); (len(got) == 1) != tt.warns {
			t.Errorf("%s: warnings %q", tt.name, got)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "comments": "# nothing\n", "a wrong line": one + "\nwrong\n", "twice": one + "\n" + one + "\n",
		"two in a line": one + "," + two + "\n", "too large": strings.Repeat("# comment\n", 10_000) + one,
	} {
		write(text, 0)
		keys, err := session.ReadKeys(file)
		if err == nil || keys != nil {
			t.Errorf("%s: %d keys", name, len(keys))
			continue
		}
		quotes(t, name, err.Error(), one)
	}
	if _, err := session.ReadKeys(file + "-missing"); err == nil {
		t.Error("a missing file has keys")
	}
}
