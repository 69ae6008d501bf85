package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// Whatever a Cookie header says, it is not an error, and signs in only with
// every byte of a genuine session in it.
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
				if a.LoginPending(ctx) {
					t.Error("a pending login")
				}
				if !s.SignedIn() {
					return
				}
				for _, value := range genuine[i] {
					// A chunk stands behind its name, whole.
					_, rest, _ := strings.Cut(value, ".")
					if !strings.Contains(header, rest) {
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

// Whatever an access token says, it is claims of a user or an error, which
// does not quote it.
func FuzzParseClaims(f *testing.F) {
	for _, payload := range []string{
		`{"exp":2,"iat":1,"hasura":{"x-hasura-user-id":"u","x-hasura-allowed-roles":["a","b"],"x-hasura-default-role":"a"}}`,
		`{"exp":2,"https://hasura.io/jwt/claims":"{\"x-hasura-user-id\":\"u\",\"x-hasura-allowed-roles\":[]}"}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":"a","default_role":null}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":["a",null]}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":[["a"]]}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":{"0":"a"}}}`,
		`{"exp":2,"hasura":{"user_id":"u","allowed_roles":["\ud800"]}}`,
		`{"exp":1e400,"iat":-1,"hasura":null}`,
		`{"exp":"2","hasura":[]}`,
		`{"exp":9007199254740993,"hasura":{"user_id":""}}`,
		`{"exp":253402300799.9,"iat":0.5,"hasura":{"user_id":"u"}}`,
		`{"EXP":2,"Hasura":{"user_id":"u"}}`,
		`{"exp":2,"exp":1,"hasura":{"user_id":"u"},"hasura":{"user_id":"v"}}`,
		`[]`, `null`, `"x"`, `{`, ``, strings.Repeat("[", 10_000),
	} {
		f.Add(`{"alg":"HS256"}`, payload)
	}
	f.Add(`{"alg":"none"}`, `{}`)
	f.Add(`{"alg":1,"crit":["b64"],"b64":false}`, `{}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		b64 := base64.RawURLEncoding.EncodeToString
		for _, token := range []string{b64([]byte(header)) + "." + b64([]byte(payload)) + ".c2ln", header + "." + payload + ".c2ln", payload} {
			for _, names := range []auth.ClaimNames{{}, {Namespaces: []string{""}, UserID: []string{"sub", "user_id"}}} {
				c, err := auth.ParseClaims(token, names)
				if err != nil {
					if !errors.Is(err, auth.ErrInvalidToken) {
						t.Errorf("%v is not ErrInvalidToken", err)
					}
					if len(token) > 8 && strings.Contains(err.Error(), token) || c.UserID != "" || c.AllowedRoles != nil {
						t.Errorf("the error quotes the token, or comes with claims: %v", err)
					}
					continue
				}
				if c.UserID == "" || c.ExpiresAt.IsZero() || !c.IssuedAt.IsZero() && !c.IssuedAt.Before(c.ExpiresAt) {
					t.Errorf("claims %+v", c)
				}
				for _, role := range append([]string{c.DefaultRole}, c.AllowedRoles...) {
					if !strings.Contains(payload, "\\") && !strings.Contains(strings.ToValidUTF8(payload, "\uFFFD"), role) {
						t.Errorf("the role %q is not in the token", role)
					}
				}
				for _, name := range c.Names() {
					var v any
					if ok, err := c.Get(name, &v); !ok || err != nil {
						t.Errorf("claim %q: %v", name, err)
					}
				}
			}
		}
	})
}

// Whatever a store returns for a session's record, it is that session or an
// outage, never another one.
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
