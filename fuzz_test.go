package session_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// A Cookie header never causes an error, and signs in only if it contains every
// byte of a genuine session.
func FuzzCookieHeader(f *testing.F) {
	quiet := func(c *session.Config) { c.Logger = slog.New(slog.DiscardHandler) }
	apps := []*app{newApp(f, quiet), newApp(f, quiet), newApp(f, quiet, inMemory)}
	apps[1].auth.pad = strings.Repeat("x", 3000)
	var genuine [][]string // values that must all be there
	for _, a := range apps {
		b := a.withTheme("dark")
		header := b.header()
		var values []string
		for _, name := range b.names {
			if !strings.HasSuffix(name, "-state") {
				values = append(values, b.values[name])
			}
		}
		genuine = append(genuine, values)
		f.Add(header)
		f.Add(header + "; " + header)
		f.Add("__Host-session=garbage; " + header)
		f.Add(strings.Replace(header, "=", "=\"", 1) + "\"")
		f.Add(header[:len(header)/2])
		f.Add(header[len(header)/2:])
		f.Add(strings.ReplaceAll(header, "; ", "\r\n"))
		f.Add(strings.ReplaceAll(header, "__Host-session", "__Host-session-1"))
	}
	f.Add("")
	f.Add("; ;=; __Host-session; __Host-session==; __Host-session-state")
	f.Add("__Host-session=2.AAAA.x; __Host-session-1=AAAA.y; __Host-session-1=AAAA.z")
	f.Add("__Host-session-mfa=x; __Host-session-3=y")
	f.Fuzz(func(t *testing.T, header string) {
		for i := range apps {
			a := *apps[i]
			a.t = t
			h := a.visit(header, func(ctx context.Context, s *session.Session) {
				if s.Err() != nil {
					t.Errorf("an error: %v", s.Err())
				}
				if v, ok := favorite.Get(s); ok && (v != "dark" || !s.SignedIn()) {
					t.Errorf("the value %q", v)
				}
				if codePending(ctx, &a) {
					t.Error("a pending login")
				}
				if !s.SignedIn() {
					return
				}
				for _, value := range genuine[i] {
					// The number of chunks before the first dot is not part of the seal.
					if _, rest, split := strings.Cut(value, "."); split {
						value = rest
					}
					if !strings.Contains(header, value) {
						t.Error("signed in without all of a genuine session")
					}
				}
			})
			for _, line := range h.Values("Set-Cookie") {
				name, value, age := parseSetCookie(t, line)
				if value != "" || age != "0" || !strings.Contains(header, name+"=") {
					t.Errorf("Set-Cookie: %s", line)
				}
			}
		}
	})
}

// If a store returns any bytes for a session's record, the result is that
// session or an outage, never another session.
func FuzzStoredRecord(f *testing.F) {
	swapped := &swappingStore{}
	a := newApp(f, func(c *session.Config) {
		swapped.Store = &memstore.Store{Now: c.Now}
		c.Store, c.Logger = swapped, slog.New(slog.DiscardHandler)
	})
	b := a.withTheme("dark")
	header := b.header()
	rec, err := swapped.Get(context.Background(), swapped.put[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rec.Data)
	f.Add(rec.Data[:len(rec.Data)-1])
	f.Add([]byte{})
	f.Add([]byte(strings.Repeat("\xff", 100)))
	var version uint64
	f.Fuzz(func(t *testing.T, data []byte) {
		version++
		swapped.mu.Lock()
		swapped.alter = func(r *store.Record) { r.Data, r.Version = data, version }
		swapped.mu.Unlock()
		want := string(data) == string(rec.Data)
		s := sessionOf(a, http.Header{"Cookie": {header}})
		if s.SignedIn() != want || (s.Err() == nil) != want {
			t.Errorf("signed in: %v (%v), want %v", s.SignedIn(), s.Err(), want)
		}
	})
}
