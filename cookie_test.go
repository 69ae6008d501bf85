package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

var favorite = session.NewKey[string]("theme")

// inMemory keeps sessions in a store of the app's own clock.
func inMemory(c *session.Config) { c.Store = &memstore.Store{Now: c.Now} }

// overKinds runs a test with sessions in cookies and in a store.
func overKinds(t *testing.T, test func(t *testing.T, kind func(*session.Config), stored bool)) {
	t.Run("cookie", func(t *testing.T) { test(t, func(*session.Config) {}, false) })
	t.Run("stored", func(t *testing.T) { test(t, inMemory, true) })
}

func TestCookieAttributes(t *testing.T) {
	const month = "; Max-Age=2592000"
	for _, tt := range []struct {
		name        string
		cookie      session.Cookie
		lifetime    time.Duration
		prefix      string
		maxAge      string
		attributes  string
		temporarily string // Max-Age of the cookie of a pending login
	}{
		{"the zero value", session.Cookie{}, 0, "__Host-session", month, "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"a name", session.Cookie{Name: "App_1.x"}, 0, "__Host-App_1.x", month, "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"a domain", session.Cookie{Domain: "example.org"}, 0, "__Secure-session", month, "; Path=/; Domain=example.org; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"insecure", session.Cookie{Insecure: true}, 0, "session", month, "; Path=/; HttpOnly; SameSite=Lax", "; Max-Age=900"},
		{"insecure domain", session.Cookie{Insecure: true, Domain: "example.org"}, 0, "session", month, "; Path=/; Domain=example.org; HttpOnly; SameSite=Lax", "; Max-Age=900"},
		{"default mode", session.Cookie{SameSite: http.SameSiteDefaultMode}, 0, "__Host-session", month, "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"strict", session.Cookie{SameSite: http.SameSiteStrictMode}, 0, "__Host-session", month, "; Path=/; HttpOnly; Secure; SameSite=Strict", "; Max-Age=900"},
		{"none", session.Cookie{SameSite: http.SameSiteNoneMode}, 0, "__Host-session", month, "; Path=/; HttpOnly; Secure; SameSite=None", "; Max-Age=900"},
		{"the HTTP prefix", session.Cookie{HTTPPrefix: true}, 0, "__Host-Http-session", month, "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"the HTTP prefix with a domain", session.Cookie{HTTPPrefix: true, Domain: "example.org"}, 0, "__Http-session", month, "; Path=/; Domain=example.org; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"a path", session.Cookie{Path: "/app"}, 0, "__Secure-session", month, "; Path=/app; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"the path /", session.Cookie{Path: "/"}, 0, "__Host-session", month, "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"the HTTP prefix with a path", session.Cookie{HTTPPrefix: true, Path: "/app"}, 0, "__Http-session", month, "; Path=/app; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"an insecure path", session.Cookie{Insecure: true, Path: "/app"}, 0, "session", month, "; Path=/app; HttpOnly; SameSite=Lax", "; Max-Age=900"},
		{"partitioned", session.Cookie{Partitioned: true, SameSite: http.SameSiteNoneMode}, 0, "__Host-session", month, "; Path=/; HttpOnly; Secure; SameSite=None; Partitioned", "; Max-Age=900"},
		{"not persistent", session.Cookie{NonPersistent: true}, 0, "__Host-session", "", "; Path=/; HttpOnly; Secure; SameSite=Lax", ""},
		{"400 days", session.Cookie{}, 400 * 24 * time.Hour, "__Host-session", "; Max-Age=34560000", "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
		{"an hour", session.Cookie{}, time.Hour, "__Host-session", "; Max-Age=3600", "; Path=/; HttpOnly; Secure; SameSite=Lax", "; Max-Age=900"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
				a := newApp(t, kind, func(c *session.Config) {
					c.Cookie, c.Lifetime, c.LoginPath = tt.cookie, tt.lifetime, strings.TrimSuffix(tt.cookie.Path, "/")+"/login"
				})
				b := a.signedIn()
				want := []string{tt.prefix}
				if !stored {
					want = append(want, tt.prefix+"-state")
				}
				checkLines(t, b.last, want, tt.maxAge+tt.attributes)

				// Deleted cookies have the same names and attributes.
				b.visit(func(ctx context.Context, _ *session.Session) {
					if err := a.Logout(ctx); err != nil {
						t.Error(err)
					}
				})
				checkLines(t, b.last, want, "; Max-Age=0"+tt.attributes)

				a.auth.mfa = true
				b.visit(func(ctx context.Context, _ *session.Session) {
					if err := a.Login(ctx, "user@example.com", "password"); !errors.Is(err, auth.ErrSecondFactor) {
						t.Errorf("login: %v", err)
					}
				})
				checkLines(t, b.last, []string{tt.prefix + "-mfa"}, tt.temporarily+tt.attributes)
				b.visit(func(ctx context.Context, _ *session.Session) {
					if err := a.LoginTOTP(ctx, "123456"); err != nil {
						t.Error(err)
					}
				})
				if !slices.Contains(b.last.Values("Set-Cookie"), tt.prefix+"-mfa=; Max-Age=0"+tt.attributes) {
					t.Errorf("the pending login was not deleted: %q", b.last.Values("Set-Cookie"))
				}
				b.is(true)
			})
		})
	}
}

// checkLines checks the names of the cookies that a response sets, and that all
// of them have the same attributes.
func checkLines(t *testing.T, h http.Header, names []string, attributes string) {
	t.Helper()
	var got []string
	for _, line := range h.Values("Set-Cookie") {
		name, _, _ := strings.Cut(line, "=")
		got = append(got, name)
		if !strings.HasSuffix(line, attributes) || strings.Count(line, "; ") != strings.Count(attributes, "; ") {
			t.Errorf("Set-Cookie: %s, want the attributes %s", line, attributes)
		}
	}
	if !slices.Equal(got, names) {
		t.Errorf("cookies %q, want %q", got, names)
	}
	if h.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %q in a response that sets cookies", h.Get("Cache-Control"))
	}
}

// A cookie never outlives the session's lifetime, whenever it is written.
func TestMaxAgeIsTheRemainingLifetime(t *testing.T) {
	a := newApp(t, func(c *session.Config) { c.Lifetime = 10 * time.Hour })
	b := a.signedIn()
	a.clock.Advance(4 * time.Hour)
	b.is(true)
	for _, line := range b.last.Values("Set-Cookie") {
		if _, _, age := parseSetCookie(t, line); age != "21600" {
			t.Errorf("Max-Age=%s four hours after the login, want 21600", age)
		}
	}
	if n := len(b.last.Values("Set-Cookie")); n != 2 {
		t.Errorf("%d cookies were set, want the refreshed tokens and the state", n)
	}
}

// Tokens of every size are restored exactly, from as many cookies as needed,
// and no cookie is too long. Tokens that need too many cookies are rejected.
func TestCookieSizes(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cookie session.Cookie
		chunks int
	}{
		{"default", session.Cookie{}, 4},
		{"long", session.Cookie{
			Name:     strings.Repeat("n", 64),
			Domain:   strings.Repeat("d", 60) + "." + strings.Repeat("e", 60) + ".org",
			Path:     "/" + strings.Repeat("p", 255),
			SameSite: http.SameSiteNoneMode, Partitioned: true, HTTPPrefix: true,
		}, 4},
		{"short", session.Cookie{Name: "s", Insecure: true, NonPersistent: true, SameSite: http.SameSiteLaxMode}, 4},
		{"one", session.Cookie{MaxChunks: 1}, 1},
		{"ten", session.Cookie{MaxChunks: 10}, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := newApp(t, func(c *session.Config) {
				c.Cookie, c.LoginPath = tt.cookie, strings.TrimSuffix(tt.cookie.Path, "/")+"/login"
			})
			most := 0
			for size := 0; ; size += 61 {
				a.auth.pad = strings.Repeat("x", size)
				b := a.browser()
				var loginErr error
				b.visit(func(ctx context.Context, _ *session.Session) { loginErr = a.Login(ctx, "user@example.com", "password") })
				if loginErr != nil {
					if !errors.Is(loginErr, session.ErrTooLarge) {
						t.Fatal(loginErr)
					}
					break
				}
				want := accessToken(a.clock.Now(), a.auth.life, "u1", a.auth.roles, a.auth.pad)
				b.visit(func(ctx context.Context, s *session.Session) {
					if got, err := s.AccessToken(ctx); err != nil || got != want {
						t.Fatalf("padding of %d: another access token: %v", size, err)
					}
				})
				most = max(most, len(b.names)-1)
			}
			if most != tt.chunks {
				t.Errorf("tokens went over %d cookies, want up to %d", most, tt.chunks)
			}
		})
	}
}

// A browser sends the cookies with each request, so they must be short. The sizes are
// those of usual tokens: an access token of 417 bytes, and a UUID.
func TestCookieHeaderSize(t *testing.T) {
	const maxHeader = 1000
	a := newApp(t)
	for pad := ""; ; pad += "x" {
		access := accessToken(a.clock.Now(), a.auth.life, "6f8b3f2e-6d6a-4f0e-9a3b-0c9a55b7a2d1", []string{"user", "admin"}, pad)
		if len(access) < 417 {
			continue
		}
		b := a.browser().visit(func(ctx context.Context, _ *session.Session) {
			err := a.Start(ctx, auth.Grant{Tokens: auth.Tokens{AccessToken: access, RefreshToken: "b7e1c0de-3c5c-4b8e-8f0a-7f4b0d0b9d3c"}, User: auth.User{Email: "ada@example.com"}})
			if err != nil {
				t.Fatal(err)
			}
		})
		if n := len(b.header()); n > maxHeader || len(b.names) != 2 {
			t.Errorf("cookies %q have %d bytes, want 2 cookies of %d bytes at most", b.names, n, maxHeader)
		} else {
			t.Logf("%d bytes for an access token of %d bytes", n, len(access))
		}
		return
	}
}

// If the tokens fit no cookie, the login fails, the error names the solution,
// and the tokens are revoked.
func TestTokensThatFitNoCookie(t *testing.T) {
	a := newApp(t)
	b := a.signedIn()
	before := b.header()
	a.auth.pad = strings.Repeat("x", 20_000)
	b.visit(func(ctx context.Context, s *session.Session) {
		err := a.Login(ctx, "user@example.com", "password")
		if !errors.Is(err, session.ErrTooLarge) || !strings.Contains(err.Error(), "Config.Store") {
			t.Errorf("login: %v, want ErrTooLarge and the way out", err)
		}
		if !session.FromContext(ctx).SignedIn() {
			t.Error("the previous session has ended")
		}
	})
	if b.header() != before || a.auth.liveTokens() != 1 {
		t.Errorf("cookies changed: %v; %d refresh tokens live, want that of the session before", b.header() != before, a.auth.liveTokens())
	}
	b.is(true)

	// A store has room.
	a = newApp(t, inMemory)
	a.auth.pad = strings.Repeat("x", 20_000)
	a.signedIn().is(true)
}

// A response with shorter tokens also deletes the cookies that are not needed
// any more.
func TestShrinkingTokens(t *testing.T) {
	a := newApp(t)
	roles := []string{"user"}
	for i := range 300 {
		roles = append(roles, fmt.Sprintf("the-role-%03d", i))
	}
	a.auth.roles = roles
	b := a.signedIn()
	want := []string{"__Host-session", "__Host-session-1", "__Host-session-2", "__Host-session-state"}
	if !slices.Equal(b.names, want) {
		t.Fatalf("300 roles are in %q, want %q", b.names, want)
	}
	b.visit(func(_ context.Context, s *session.Session) {
		if len(s.Roles()) != 301 || !s.HasRole("the-role-299") {
			t.Errorf("%d roles, want 301", len(s.Roles()))
		}
	})
	a.auth.roles = []string{"user"}
	a.clock.Advance(a.auth.life)
	b.is(true)
	if want := []string{"__Host-session", "__Host-session-state"}; !slices.Equal(b.names, want) {
		t.Errorf("cookies %q with fewer roles, want %q", b.names, want)
	}
	for i := 1; i <= 2; i++ {
		line := "__Host-session-" + strconv.Itoa(i) + "=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Lax"
		if !slices.Contains(b.last.Values("Set-Cookie"), line) {
			t.Errorf("no %q in %q", line, b.last.Values("Set-Cookie"))
		}
	}
	b.is(true)
	if n := len(b.last.Values("Set-Cookie")); n != 0 {
		t.Errorf("%d cookies set by a response that changes nothing", n)
	}
}

// The state shrinks and grows as the tokens do.
func TestStateOverChunks(t *testing.T) {
	a := newApp(t)
	b := a.signedIn()
	set := func(v string) func(context.Context, *session.Session) {
		return func(_ context.Context, s *session.Session) {
			if err := favorite.Set(s, v); err != nil {
				t.Error(err)
			}
		}
	}
	long := strings.Repeat("long ", 1500)
	b.visit(set(long))
	if want := []string{"__Host-session", "__Host-session-state", "__Host-session-state-1", "__Host-session-state-2", "__Host-session-state-3"}; !slices.Equal(b.names, want) {
		t.Errorf("cookies %q, want %q", b.names, want)
	}
	b.visit(func(_ context.Context, s *session.Session) {
		if got, _ := favorite.Get(s); got != long {
			t.Errorf("a value of %d bytes, want %d", len(got), len(long))
		}
	})
	b.visit(set("short"))
	if want := []string{"__Host-session", "__Host-session-state"}; !slices.Equal(b.names, want) {
		t.Errorf("cookies %q, want %q", b.names, want)
	}
}

// If a new key is first, the next response seals the cookies and the record again. A
// removed key opens nothing.
func TestKeyRotation(t *testing.T) {
	k1, k2, k3 := session.GenerateKey(), session.GenerateKey(), session.GenerateKey()
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		shared := struct{ store.Store }{&memstore.Store{Now: (&clock{}).Now}} // a *memstore.Store's records are not sealed
		with := func(keys ...session.SecretKey) *app {
			return newApp(t, kind, func(c *session.Config) {
				c.Keys = keys
				if stored {
					c.Store = shared
				} else {
					c.Coordinator = shared
				}
			})
		}
		b := with(k1).signedIn()
		b.visit(func(_ context.Context, s *session.Session) {
			if err := favorite.Set(s, "dark"); err != nil {
				t.Error(err)
			}
		})
		old := b.header()

		b.app = with(k2, k1)
		b.is(true)
		wanted := len(b.names)
		if n := len(b.last.Values("Set-Cookie")); n != wanted {
			t.Errorf("%d of %d cookies were sealed again", n, wanted)
		}
		b.is(true)
		if n := len(b.last.Values("Set-Cookie")); n != 0 {
			t.Errorf("%d cookies were sealed a second time", n)
		}

		b.app = with(k2)
		b.visit(func(_ context.Context, s *session.Session) {
			if v, _ := favorite.Get(s); v != "dark" {
				t.Errorf("value %q, want what was set before", v)
			}
		})
		for _, keys := range [][]session.SecretKey{{k2}, {k3, k2}} {
			if lines := with(keys...).visit(old, signedOut(t)).Values("Set-Cookie"); len(lines) != wanted {
				t.Errorf("%d cookies of a removed key were deleted, want %d", len(lines), wanted)
			}
		}
	})
}

// signedOut is a handler that fails the test if a user is signed in.
func signedOut(t *testing.T) func(context.Context, *session.Session) {
	return func(_ context.Context, s *session.Session) {
		t.Helper()
		if s.SignedIn() || s.Err() != nil || !errors.Is(s.Authorize(nil), session.ErrUnauthenticated) {
			t.Errorf("signed in: %v (%v)", s.SignedIn(), s.Err())
		}
	}
}

// Only cookies with exactly the Manager's names are read.
func TestCookiesOfOtherNames(t *testing.T) {
	a := newApp(t)
	b := a.signedIn()
	for _, name := range []string{
		"session", "__Secure-session", "__Host-Session", "__host-session", "__Host-session-", "__Host-session2", "__Host-session-0",
		"__Host-session-4", "__Host-session-10", "__Host-session-01", "__Host-session-state-4", "__Host-session-other", "x__Host-session", "__Host-session ",
	} {
		h := a.visit(name+"="+b.values["__Host-session"], signedOut(t))
		if lines := h.Values("Set-Cookie"); len(lines) != 0 {
			t.Errorf("%q was read as our cookie: %q", name, lines)
		}
	}
	// The cookies are found among others with any separators.
	genuine := "__Host-session=" + b.values["__Host-session"]
	for _, header := range []string{
		"a=b; " + genuine, genuine + "; a=b", "a=b;" + genuine + ";c", ";;" + genuine + ";;", "a; \t " + genuine + " \t ;",
		"__Host-session-x=1; " + genuine, "note=__Host-session; " + genuine, "__Host-session2=x;" + genuine,
	} {
		a.visit(header, func(_ context.Context, s *session.Session) {
			if !s.SignedIn() {
				t.Errorf("not found in %q", strings.ReplaceAll(header, genuine, "OURS"))
			}
		})
	}
}

// Tokens that have grown too large at a refresh cannot be sent to the browser.
// The session continues with the tokens in this process, and an event reports
// it. The browser keeps its cookies.
func TestTokensThatOutgrowTheirCookies(t *testing.T) {
	a := newApp(t)
	b := a.withTheme("dark")
	before := b.header()
	a.auth.pad = strings.Repeat("x", 20_000)
	a.clock.Advance(a.auth.life)
	for range 3 {
		b.is(true)
		if lines := b.last.Values("Set-Cookie"); len(lines) != 0 || b.header() != before {
			t.Fatalf("cookies were set: %.100q", lines)
		}
	}
	if n := a.log.count(session.EventSessionRefreshed); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	if a.log.count(session.EventTokensUnwritten, "Config.Store") == 0 {
		t.Error("the log does not name the solution")
	}
	// Tokens that fit again are delivered.
	a.auth.pad = ""
	a.clock.Advance(a.auth.life)
	if b.is(true); b.header() == before {
		t.Error("tokens that fit were not delivered")
	}
	b.visit(func(_ context.Context, s *session.Session) {
		if v, _ := favorite.Get(s); v != "dark" {
			t.Errorf("value %q", v)
		}
	})
}

// If fewer chunks are allowed than before, existing cookies stay and can be
// read.
func TestFewerChunksThanBefore(t *testing.T) {
	key := session.GenerateKey()
	with := func(chunks int) *app {
		return newApp(t, func(c *session.Config) {
			c.Keys, c.Cookie.MaxChunks, c.MaxTokenAge = []session.SecretKey{key}, chunks, -1
		})
	}
	a := with(4)
	a.auth.life = 100 * time.Hour
	b := a.withTheme(strings.Repeat("x", 3500)) // two chunks
	b.app = with(2)
	b.is(true)
	b.app = with(1)
	// The old state no longer opens, which is not an error.
	b.app.clock.Advance(3 * time.Hour) // so that the state is due
	b.visit(func(_ context.Context, s *session.Session) {
		if _, ok := favorite.Get(s); ok || !s.SignedIn() {
			t.Errorf("signed in: %v, with a value: %v", s.SignedIn(), ok)
		}
	})
}

// A ticket that fits no cookie causes no panic. The sign-in has to start again.
func TestTicketThatFitsNoCookie(t *testing.T) {
	a := newApp(t)
	a.auth.mfa, a.auth.ticket = true, strings.Repeat("t", 5000)
	b := a.browser()
	b.visit(func(ctx context.Context, _ *session.Session) {
		if err := a.Login(ctx, "user@example.com", "password"); !errors.Is(err, session.ErrTooLarge) || codePending(ctx, a) {
			t.Errorf("login: %v, pending: %v", err, codePending(ctx, a))
		}
	})
	if b.header() != "" {
		t.Errorf("cookies %q", b.names)
	}
}

// The cookies of a large session do not stay in the browser after the app has got a store,
// even if the first request there is a sign-in, or sets the first value of a visitor.
func TestCookiesFromBeforeTheStore(t *testing.T) {
	key := session.GenerateKey()
	large := func(b *browser) *browser { return b.set(favorite, strings.Repeat("v", 6000)) }
	for name, do := range map[string]func(a *app, ctx context.Context) error{
		"sign-in": func(a *app, ctx context.Context) error { return a.Login(ctx, "user@example.com", "password") },
		"value":   func(_ *app, ctx context.Context) error { return favorite.Set(session.FromContext(ctx), "light") },
	} {
		for _, visitor := range []bool{false, true} {
			old := newApp(t, func(c *session.Config) { c.Keys = []session.SecretKey{key} })
			b := large(old.browser())
			if !visitor {
				old.auth.pad = strings.Repeat("p", 6000)
				b = large(old.signedIn())
			}
			if len(b.names) < 2 {
				t.Fatalf("cookies %q", b.names)
			}
			stored := newApp(t, inMemory, func(c *session.Config) { c.Keys = []session.SecretKey{key} })
			b.app = stored
			b.visit(func(ctx context.Context, _ *session.Session) {
				if err := do(stored, ctx); err != nil {
					t.Fatal(err)
				}
			})
			want := map[string]string{"sign-in": "__Host-session", "value": "__Host-session-visitor"}[name]
			if !slices.Equal(b.names, []string{want}) {
				t.Errorf("%s, visitor %v: cookies %q, want only %s", name, visitor, b.names, want)
			}
		}
	}
}

// A response with data of the session must not be stored, even if it sets no cookie because
// the browser has signed in again in the meantime.
func TestNoStoreAfterLateLogout(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		b := a.signedIn()
		h := a.visit(b.header(), func(ctx context.Context, s *session.Session) {
			if s.UserID() != "u1" {
				t.Fatal("not signed in")
			}
			b.login()
			if err := a.Logout(ctx); err != nil {
				t.Fatal(err)
			}
		})
		if h["Set-Cookie"] != nil || h.Get("Cache-Control") != "no-store" {
			t.Errorf("header %v", h)
		}
		b.is(true)
	})
}

// If a browser presents several cookies of one name, for example after a change of
// Cookie.Path, a session that has ended does not hide one that has not, whatever the order of
// the cookies is. The response does not delete the cookies of the other either.
func TestEndedSessionBesideAnother(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		for name, end := range map[string]func(*browser){
			"logout": func(b *browser) { b.logout() },
			"login":  func(b *browser) { b.login() },
			"idle":   func(b *browser) { b.clock.Advance(25 * time.Hour) },
		} {
			for _, last := range []bool{false, true} {
				a := newApp(t, kind)
				ended := a.signedIn()
				old := ended.header()
				end(ended)
				b := a.signedIn().set(favorite, "dark")
				both := []string{b.header(), old}
				if last {
					slices.Reverse(both)
				}
				h := a.visit(strings.Join(both, "; "), func(_ context.Context, s *session.Session) {
					if v, _ := favorite.Get(s); !s.SignedIn() || v != "dark" {
						t.Errorf("%s, last %v: signed in: %v, value %q", name, last, s.SignedIn(), v)
					}
				})
				for _, line := range h["Set-Cookie"] {
					if strings.Contains(line, "Max-Age=0") {
						t.Errorf("%s, last %v: %s", name, last, line)
					}
				}
				b.is(true)
			}
		}
	})
}

// The cookies of ended sessions cost a bounded number of reads, and are deleted together.
func TestManyEndedSessions(t *testing.T) {
	counted := &swappingStore{}
	a := newApp(t, func(c *session.Config) { counted.Store, c.Store = &memstore.Store{Now: c.Now}, counted })
	var all []string
	for range 6 {
		all = append(all, a.signedIn().header())
	}
	a.clock.Advance(25 * time.Hour)
	var h http.Header
	read := counted.reads(func() {
		h = a.visit(strings.Join(all, "; "), func(_ context.Context, s *session.Session) {
			if s.SignedIn() || s.Err() != nil {
				t.Errorf("signed in: %v (%v)", s.SignedIn(), s.Err())
			}
		})
	})
	if read > 4 { // of three sessions, and the user's mark
		t.Errorf("%d records are read", read)
	}
	if len(h["Set-Cookie"]) != 1 || !strings.Contains(h.Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("Set-Cookie: %q", h["Set-Cookie"])
	}
}
