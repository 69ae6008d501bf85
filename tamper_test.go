package session_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// withTheme is a browser that has signed in and has a value in its session.
func (a *app) withTheme(value string) *browser {
	a.t.Helper()
	b := a.signedIn()
	b.visit(func(_ context.Context, s *session.Session) {
		if err := favorite.Set(s, value); err != nil {
			a.t.Fatal(err)
		}
	})
	return b
}

// pairs are the cookies in the header of a browser.
func (b *browser) pairs() []string { return strings.Split(b.header(), "; ") }

// refuses checks that a header signs no user in, causes no error, and that each
// of our cookies in it is deleted once. Other cookies stay.
func (a *app) refuses(what, header string) {
	a.t.Helper()
	h := a.visit(header, func(_ context.Context, s *session.Session) {
		if s.SignedIn() || s.Err() != nil || s.UserID() != "" || s.Roles() != nil || len(s.ValueNames()) != 0 {
			a.t.Errorf("%s: signed in: %v (%v)", what, s.SignedIn(), s.Err())
		}
	})
	expired := map[string]bool{}
	for _, line := range h.Values("Set-Cookie") {
		name, value, age := parseSetCookie(a.t, line)
		if value != "" || age != "0" || expired[name] || !strings.HasSuffix(line, "; Path=/; HttpOnly; Secure; SameSite=Lax") {
			a.t.Errorf("%s: Set-Cookie: %s", what, line)
		}
		if !strings.Contains(header, name+"=") {
			a.t.Errorf("%s: %s was expired and not presented", what, name)
		}
		expired[name] = true
	}
	if strings.Contains("; "+header, "; __Host-session=") && !expired["__Host-session"] {
		a.t.Errorf("%s: the cookie was not expired", what)
	}
}

// accepts checks that a header signs in, and that nothing is set or expired.
func (a *app) accepts(what, header string) {
	a.t.Helper()
	h := a.visit(header, func(_ context.Context, s *session.Session) {
		if !s.SignedIn() {
			a.t.Errorf("%s: not signed in (%v)", what, s.Err())
		}
	})
	if lines := h.Values("Set-Cookie"); len(lines) != 0 {
		a.t.Errorf("%s: Set-Cookie: %.200q", what, lines)
	}
}

// Flips every bit of the whole header, including names and separators.
func TestEveryBitFlipped(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		a := newApp(t, kind)
		header := []byte(a.withTheme("dark").header())
		tokens, _, _ := strings.Cut(string(header), ";")
		accepted := 0
		for i := range header {
			for bit := range 8 {
				header[i] ^= 1 << bit
				a.visit(string(header), func(_ context.Context, s *session.Session) {
					if s.Err() != nil {
						t.Errorf("byte %d, bit %d: %v", i, bit, s.Err())
					}
					value, found := favorite.Get(s)
					switch inTokens := i < len(tokens); {
					case s.SignedIn() && inTokens:
						t.Errorf("byte %d, bit %d: accepted", i, bit)
					case !s.SignedIn() && found, found && value != "dark":
						t.Errorf("byte %d, bit %d: the value %q", i, bit, value)
					case s.SignedIn() && found && i > len(tokens)+2 && !stored:
						t.Errorf("byte %d, bit %d: the state was accepted", i, bit)
					case s.SignedIn():
						accepted++
					}
				})
				header[i] ^= 1 << bit
			}
		}
		// Changes after the tokens cookie do not affect it.
		if accepted == 0 && !stored {
			t.Error("no flip in the state left the session alive: the test shows nothing")
		}
		a.accepts("unflipped", string(header))
	})
}

// The same for several cookies: each bit at the start of their chunks, and one
// bit of each byte after it, or all bits with LONG.
func TestEveryBitOfChunksFlipped(t *testing.T) {
	a := newApp(t)
	a.auth.pad = strings.Repeat("x", 5500)
	b := a.signedIn()
	delete(b.values, "__Host-session-state")
	b.names = slices.DeleteFunc(b.names, func(name string) bool { return strings.HasSuffix(name, "-state") })
	if len(b.names) != 3 {
		t.Fatalf("cookies %q, want three chunks", b.names)
	}
	header := []byte(b.header())
	start := 0
	for i := range header {
		if header[i] == ' ' {
			start = i + 1
		}
		for bit := range 8 {
			if i-start > 40 && bit != i%8 && !scale.Long() {
				continue
			}
			if header[i] == ' ' || header[i] == ';' {
				continue // separators are not part of a cookie
			}
			header[i] ^= 1 << bit
			a.visit(string(header), func(_ context.Context, s *session.Session) {
				if s.SignedIn() || s.Err() != nil {
					t.Errorf("byte %d, bit %d: signed in: %v (%v)", i, bit, s.SignedIn(), s.Err())
				}
			})
			header[i] ^= 1 << bit
		}
	}
	a.accepts("unflipped", string(header))
}

// Each text has one encoding. Other encodings of the same bytes, which a
// lenient decoder accepts, are rejected.
func TestNonCanonicalEncodings(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// strayBits changes the unused bits of the last character.
	strayBits := func(v string) string {
		body := strings.TrimRight(v, "=")
		i := strings.IndexByte(alphabet, body[len(body)-1])
		if len(v) == len(body) {
			return v + "A" // no bit is unused
		}
		return body[:len(body)-1] + alphabet[i+1:i+2] + v[len(body):]
	}
	every := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
		return b.String()
	}
	changes := map[string]func(v string) string{
		"newline after":         func(v string) string { return v + "\n" },
		"newline before":        func(v string) string { return "\n" + v },
		"newline within":        func(v string) string { return v[:100] + "\n" + v[100:] },
		"line break within":     func(v string) string { return v[:100] + "\r\n" + v[100:] },
		"four newlines":         func(v string) string { return v[:100] + "\n\n\n\n" + v[100:] },
		"no padding":            func(v string) string { return strings.TrimRight(v, "=") + "A"[:1-min(1, strings.Count(v, "="))] },
		"more padding":          func(v string) string { return v + "=" },
		"a block of padding":    func(v string) string { return v + "====" },
		"padding within":        func(v string) string { return v[:100] + "=" + v[100:] },
		"stray bits":            strayBits,
		"quoted":                func(v string) string { return `"` + v + `"` },
		"half quoted":           func(v string) string { return `"` + v },
		"percent-encoded":       every,
		"percent-encoded in it": func(v string) string { return every(v[:1]) + v[1:] },
		"padding by percent":    func(v string) string { return url.QueryEscape(v) + "%3D" },
		"standard alphabet":     func(v string) string { return strings.NewReplacer("-", "+", "_", "/").Replace(v) + "+" },
		"space within":          func(v string) string { return v[:100] + " " + v[100:] },
		"tab within":            func(v string) string { return v[:100] + "\t" + v[100:] },
		"comma after":           func(v string) string { return v + "," },
		"NUL after":             func(v string) string { return v + "\x00" },
		"a byte more":           func(v string) string { return v + "A" },
		"four bytes more":       func(v string) string { return v + "AAAA" },
		"a byte before":         func(v string) string { return "A" + v },
		"a byte less":           func(v string) string { return v[:len(v)-1] },
		"four bytes less":       func(v string) string { return v[:len(v)-4] },
		"the first four gone":   func(v string) string { return v[4:] },
		"twice":                 func(v string) string { return v + v },
		"lower case":            strings.ToLower,
		"upper case":            strings.ToUpper,
		"one chunk":             func(v string) string { return "1.AAAA." + v },
		"a dot after":           func(v string) string { return v + "." },
		"a dot before":          func(v string) string { return "." + v },
		"a dot within":          func(v string) string { return v[:100] + "." + v[100:] },
		"empty":                 func(string) string { return "" },
		"not ASCII":             func(v string) string { return v + "é" },
		"letters alike":         func(v string) string { return strings.Replace(v, v[:1], "А", 1) },
	}
	overKinds(t, func(t *testing.T, kind func(*session.Config), stored bool) {
		a := newApp(t, kind)
		// Sessions whose sealed texts end in every kind of padding.
		kinds := map[int]bool{}
		for i := range 3 {
			a.auth.pad = strings.Repeat("x", 3*i)
			b := a.withTheme(strings.Repeat("x", 3*i))
			for _, name := range b.names {
				kinds[strings.Count(b.values[name], "=")] = true
				for what, change := range changes {
					value := b.values[name]
					if change(value) == value {
						t.Fatalf("%s changes nothing", what)
					}
					header := strings.Replace(b.header(), name+"="+value, name+"="+change(value), 1)
					if strings.HasSuffix(name, "-state") {
						a.visit(header, func(_ context.Context, s *session.Session) {
							if v, ok := favorite.Get(s); ok || !s.SignedIn() {
								t.Errorf("state, %s: value %q (%v), signed in: %v", what, v, ok, s.SignedIn())
							}
						})
						continue
					}
					a.refuses(what, header)
				}
			}
		}
		if !stored && len(kinds) != 3 {
			t.Errorf("sealed texts of %d kinds of padding, want 3", len(kinds))
		}
	})
}

// Chunks that are cut, swapped, moved or missing.
func TestTamperedChunks(t *testing.T) {
	a := newApp(t)
	a.auth.pad = strings.Repeat("x", 5500)
	b := a.signedIn()
	pairs := b.pairs()
	if len(pairs) != 4 || !strings.HasPrefix(pairs[0], "__Host-session=3.") || !strings.HasPrefix(pairs[3], "__Host-session-state=") {
		t.Fatalf("cookies %q, want three chunks and a state", b.names)
	}
	chunks := pairs[:3]
	value := func(pair string) string { _, v, _ := strings.Cut(pair, "="); return v }
	name := func(pair string) string { n, _, _ := strings.Cut(pair, "="); return n }
	with := func(i int, v string) string {
		changed := slices.Clone(pairs)
		changed[i] = name(pairs[i]) + "=" + v
		return strings.Join(changed, "; ")
	}
	a.accepts("untouched", strings.Join(pairs, "; "))
	for i, pair := range chunks {
		v := value(pair)
		a.refuses(fmt.Sprintf("chunk %d missing", i), strings.Join(slices.Delete(slices.Clone(pairs), i, i+1), "; "))
		a.refuses(fmt.Sprintf("only chunk %d", i), pair)
		for what, changed := range map[string]string{
			"empty":             "",
			"cut in half":       v[:len(v)/2],
			"cut by one":        v[:len(v)-1],
			"cut by four":       v[:len(v)-4],
			"longer by four":    v + "AAAA",
			"too long":          v + strings.Repeat("A", 4096),
			"without its front": v[1:],
			"doubled":           v + v,
		} {
			a.refuses(fmt.Sprintf("chunk %d %s", i, what), with(i, changed))
		}
		for j, other := range chunks[:i] {
			swapped := slices.Clone(pairs)
			swapped[i], swapped[j] = name(pair)+"="+value(other), name(other)+"="+v
			a.refuses(fmt.Sprintf("chunks %d and %d swapped", i, j), strings.Join(swapped, "; "))
			a.refuses(fmt.Sprintf("chunk %d in the place of %d", i, j), with(j, v))
		}
		// A cookie may be presented twice.
		a.accepts(fmt.Sprintf("chunk %d doubled", i), strings.Join(slices.Insert(slices.Clone(pairs), i, pair), "; "))
	}
	first := value(chunks[0])
	for _, count := range []string{"0", "1", "2", "4", "5", "03", "3 ", "-3", "+3", "10", "99", "3e0", "", "99999999999999999999", "٣"} {
		a.refuses("the number of chunks "+strconv.Quote(count), with(0, count+first[1:]))
	}
	a.refuses("no number of chunks", with(0, first[2:]))
	a.refuses("chunks without headers", strings.Join([]string{
		name(chunks[0]) + "=" + first[7:], name(chunks[1]) + "=" + value(chunks[1])[5:], name(chunks[2]) + "=" + value(chunks[2])[5:],
	}, "; "))
	slices.Reverse(pairs)
	a.accepts("in another order", strings.Join(pairs, "; "))
}

// Chunks of two sessions, or of two generations of one, never open together.
func TestMixedChunks(t *testing.T) {
	a := newApp(t)
	a.auth.pad = strings.Repeat("x", 5500)
	b := a.signedIn()
	first := b.pairs()[:3]
	a.clock.Advance(a.auth.life)
	second := b.is(true).pairs()[:3]
	other := a.signedIn().pairs()[:3]
	for _, set := range [][]string{second, other} {
		for mask := 1; mask < 7; mask++ {
			mixed := slices.Clone(first)
			for i := range mixed {
				if mask&(1<<i) != 0 {
					mixed[i] = set[i]
				}
			}
			a.refuses(fmt.Sprintf("mixed %03b", mask), strings.Join(mixed, "; "))
			// The same, with one tag for all chunks.
			tag := first[0][strings.Index(first[0], ".")+1:][:4]
			for i, pair := range mixed {
				if i == 0 {
					at := strings.Index(pair, ".") + 1
					mixed[i] = pair[:at] + tag + pair[at+4:]
					continue
				}
				at := strings.Index(pair, "=") + 1
				mixed[i] = pair[:at] + tag + pair[at+4:]
			}
			a.refuses(fmt.Sprintf("mixed %03b under one tag", mask), strings.Join(mixed, "; "))
		}
	}
	// Each session opens if the other is also presented.
	for _, sets := range [][][]string{{second, other}, {other, second}, {other, second, other}} {
		a.accepts("two sessions", strings.Join(slices.Concat(sets...), "; "))
	}
}

// A genuine cookie is found among other cookies of the same name, in any
// position, and none of them is deleted.
func TestGenuineCookieAmongForgedCookies(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		stranger := newApp(t, kind)
		for _, size := range []int{0, 4000} {
			a.auth.pad, stranger.auth.pad = strings.Repeat("x", size), strings.Repeat("x", size)
			b := a.signedIn()
			pairs := b.pairs()
			genuine := b.header()
			flipped := func(pair string) string {
				i := len(pair) / 2
				return pair[:i] + string(rune('A'+(pair[i]+1)%26)) + pair[i+1:]
			}
			var altered []string
			for _, pair := range pairs {
				altered = append(altered, flipped(pair))
			}
			garbage := map[string]string{
				"empty":                  "__Host-session=",
				"short":                  "__Host-session=garbage",
				"long":                   "__Host-session=" + strings.Repeat("A", 3900),
				"too long":               "__Host-session=" + strings.Repeat("A", 10_000),
				"chunks":                 "__Host-session=2.AAAA.x; __Host-session-1=AAAA.x",
				"a first chunk":          "__Host-session=2.AAAA.x",
				"another session":        strings.Join(stranger.signedIn().pairs(), "; "),
				"altered":                strings.Join(altered, "; "),
				"altered in the first":   altered[0],
				"altered in the last":    altered[len(altered)-1],
				"altered in the one but": altered[max(len(altered)-2, 0)],
				"a state":                "__Host-session-state=garbage",
				"without an equal sign":  "__Host-session",
			}
			for what, text := range garbage {
				what = fmt.Sprintf("%d, %s", size, what)
				a.accepts(what+" before", text+"; "+genuine)
				a.accepts(what+" after", genuine+"; "+text)
				a.accepts(what+" around", text+"; "+genuine+"; "+text)
				a.accepts(what+" five times", strings.Repeat(text+"; ", 5)+genuine)
			}
			for _, text := range []string{"__Host-session=garbage; ", "__Host-session=x; __Host-session-state=y; ", "other=1; "} {
				a.accepts("180 before", strings.Repeat(text, 180/strings.Count(text, ";")-len(pairs))+genuine)
			}
		}
	})
}

// Rejecting many invalid cookies costs no more than rejecting one.
func TestManyBadCookies(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		a := newApp(t, kind)
		for _, size := range []int{0, 4000} {
			a.auth.pad = strings.Repeat("x", size)
			pairs := a.signedIn().pairs()
			pair := pairs[0]
			i := len(pair) - 20
			altered := pair[:i] + string(rune('A'+(pair[i]+1)%26)) + pair[i+1:]
			for _, n := range []int{2, 200, 2000} {
				all := slices.Repeat([]string{altered}, n)
				a.refuses(fmt.Sprintf("%d altered cookies", n), strings.Join(all, "; "))
				a.refuses(fmt.Sprintf("%d altered cookies, and the rest", n), strings.Join(append(all, pairs[1:]...), "; "))
				var named []string
				for j := range n {
					named = append(named, fmt.Sprintf("__Host-session-%d=%s", j%5+1, pair[len(pair)-50:]))
				}
				a.refuses(fmt.Sprintf("%d further chunks", n), strings.Join(named, "; "))
			}
		}
	})
}

// A text that was sealed for one purpose, name or kind of session does not open
// for another.
func TestPurposes(t *testing.T) {
	key := session.GenerateKey()
	withKey := func(c *session.Config) { c.Keys = []session.SecretKey{key} }
	a := newApp(t, withKey)
	b := a.withTheme("dark")
	a.auth.mfa = true
	b.visit(func(ctx context.Context, _ *session.Session) { _ = a.Login(ctx, "user@example.com", "password") })
	tokens, state, pending := b.values["__Host-session"], b.values["__Host-session-state"], b.values["__Host-session-mfa"]
	renamed := newApp(t, withKey, func(c *session.Config) { c.Cookie.Name = "other" }).signedIn()
	insecure := newApp(t, withKey, func(c *session.Config) { c.Cookie.Insecure = true }).signedIn()
	domain := newApp(t, withKey, func(c *session.Config) { c.Cookie.Domain = "example.org" }).signedIn()
	stored := newApp(t, withKey, inMemory)
	id := stored.signedIn().values["__Host-session"]

	for what, value := range map[string]string{
		"the state":                    state,
		"a pending login":              pending,
		"tokens of another name":       renamed.values["__Host-other"],
		"tokens of an insecure cookie": insecure.values["session"],
		"tokens of a domain's cookie":  domain.values["__Secure-session"],
		"the ID of a stored session":   id,
		"tokens of another key":        newApp(t).signedIn().values["__Host-session"],
	} {
		a.refuses(what+" as tokens", "__Host-session="+value)
		a.refuses(what+" as tokens, with a state", "__Host-session="+value+"; __Host-session-state="+state)
		if value != id {
			stored.refuses(what+" as an ID", "__Host-session="+value)
		}
	}
	stored.refuses("tokens as an ID", "__Host-session="+tokens)
	// The ID opens as the cookie of a stored session only.
	stored.accepts("an ID", "__Host-session="+id)
	newApp(t, withKey, inMemory).refuses("an ID of another store", "__Host-session="+id)

	for what, value := range map[string]string{
		"tokens":                     tokens,
		"a pending login":            pending,
		"the state of another name":  renamed.values["__Host-other-state"],
		"an ID":                      id,
		"the state of another login": newApp(t, withKey).withTheme("light").values["__Host-session-state"],
		"the state of another key":   newApp(t).withTheme("light").values["__Host-session-state"],
	} {
		a.visit("__Host-session="+tokens+"; __Host-session-state="+value, func(_ context.Context, s *session.Session) {
			if v, ok := favorite.Get(s); ok || !s.SignedIn() {
				t.Errorf("%s as state: value %q, signed in: %v", what, v, s.SignedIn())
			}
		})
	}

	for what, value := range map[string]string{"tokens": tokens, "the state": state, "an ID": id, "half": pending[:len(pending)/2]} {
		a.visit("__Host-session-mfa="+value, func(ctx context.Context, _ *session.Session) {
			if codePending(ctx, a) || a.LoginTOTP(ctx, "123456") == nil {
				t.Errorf("%s passed for a pending login", what)
			}
		})
	}
	a.visit("__Host-session-mfa="+pending, func(ctx context.Context, _ *session.Session) {
		if err := a.LoginTOTP(ctx, "123456"); err != nil {
			t.Errorf("a pending login: %v", err)
		}
	})
}

// If the store returns a record of another key, the session is not accepted.
func TestRecordsOfOthers(t *testing.T) {
	swapped := &swappingStore{}
	a := newApp(t, func(c *session.Config) {
		swapped.Store = &memstore.Store{Now: c.Now}
		c.Store = swapped
	})
	one, two := a.signedIn(), a.signedIn()
	keys := swapped.put
	if len(keys) != 2 {
		t.Fatalf("%d records, want 2", len(keys))
	}
	other := map[string]string{keys[0]: keys[1], keys[1]: keys[0]}
	for _, alter := range []func(*store.Record){nil, func(r *store.Record) { r.Key = other[r.Key] }} {
		swapped.instead, swapped.alter = other, alter
		before := a.log.count(session.EventRecordCorrupt)
		for _, b := range []*browser{one, two} {
			h := a.visit(b.header(), func(_ context.Context, s *session.Session) {
				if s.SignedIn() || s.Err() == nil {
					t.Errorf("signed in: %v (%v), want an outage", s.SignedIn(), s.Err())
				}
			})
			if lines := h.Values("Set-Cookie"); len(lines) != 0 {
				t.Errorf("cookies were set: %q", lines)
			}
		}
		if a.log.count(session.EventRecordCorrupt) != before+2 {
			t.Error("the log does not report it")
		}
	}
	swapped.instead, swapped.alter = nil, nil
	one.is(true)
}

// Cookies that are far too long are refused and deleted, each of them.
func TestVeryLongCookies(t *testing.T) {
	a := newApp(t)
	b := a.signedIn()
	for _, name := range b.names {
		b.values[name] = strings.Repeat("A", 100_000)
	}
	names := len(b.names)
	b.is(false)
	if n := len(b.last.Values("Set-Cookie")); n != names || b.header() != "" {
		t.Errorf("%d cookies deleted of %d", n, names)
	}
}
