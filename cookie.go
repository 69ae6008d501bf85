package session

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Cookie is how the session's cookies are set. The zero value is the safest
// there is: "__Host-session", Secure, HttpOnly, SameSite=Lax, Path=/
// (RFC 6265bis).
type Cookie struct {
	// Name is the name of the cookies without its prefix, which the library
	// puts before it: "__Host-", or "__Secure-" with a Domain, or none if
	// Insecure. Default: "session".
	Name string

	// Domain sends the cookies to all hosts below it, too. Default: the host
	// that set them, alone.
	Domain string

	// SameSite is http.SameSiteLaxMode by default. With
	// http.SameSiteStrictMode a visitor who follows a link from another site
	// arrives signed out.
	SameSite http.SameSite

	// Insecure sends the cookies over plain HTTP, too: for local work on
	// hosts that browsers do not trust as they trust localhost.
	Insecure bool

	// NonPersistent ends the session with the browser's. Default: the
	// cookies last as long as the session's Lifetime.
	NonPersistent bool

	// MaxChunks is over how many cookies a value that is longer than one
	// cookie may be split. Default: 4; at most 10.
	MaxChunks int
}

// maxSetCookie is what browsers take of one Set-Cookie, name and attributes
// counted (RFC 6265bis, section 5.6).
const maxSetCookie = 4096

// maxAge is what browsers cap a cookie's life at (RFC 6265bis, section 5.5).
const maxAge = 400 * 24 * time.Hour

const (
	defaultChunks = 4
	mostChunks    = 10
)

// jar names and formats the cookies of one Manager.
type jar struct {
	cfg    Cookie
	prefix string   // that all names share
	tokens []string // the tokens cookie and its further chunks; a stored session's ID is in the first
	state  []string
	mfa    string
	attrs  string // of every cookie, without Max-Age
	room   int    // for a value and its count of chunks
}

func newJar(cfg Cookie) *jar {
	if cfg.Name == "" {
		cfg.Name = "session"
	}
	if cfg.SameSite == 0 || cfg.SameSite == http.SameSiteDefaultMode {
		cfg.SameSite = http.SameSiteLaxMode
	}
	if cfg.MaxChunks == 0 {
		cfg.MaxChunks = defaultChunks
	}
	name := cfg.Name
	switch {
	case cfg.Insecure:
	case cfg.Domain != "":
		name = "__Secure-" + name
	default:
		name = "__Host-" + name
	}
	j := &jar{cfg: cfg, prefix: name, mfa: name + "-mfa"}
	j.tokens = chunkNames(name, cfg.MaxChunks)
	j.state = chunkNames(name+"-state", cfg.MaxChunks)

	j.attrs = "; Path=/"
	if cfg.Domain != "" {
		j.attrs += "; Domain=" + cfg.Domain
	}
	j.attrs += "; HttpOnly"
	if !cfg.Insecure {
		j.attrs += "; Secure"
	}
	j.attrs += "; SameSite=" + map[http.SameSite]string{
		http.SameSiteLaxMode:    "Lax",
		http.SameSiteStrictMode: "Strict",
		http.SameSiteNoneMode:   "None",
	}[cfg.SameSite]
	longest := j.state[len(j.state)-1]
	j.room = maxSetCookie - len(longest) - len("=") - len(maxAgeAttr(maxAge)) - len(j.attrs)
	return j
}

func chunkNames(name string, n int) []string {
	names := []string{name}
	for i := 1; i < n; i++ {
		names = append(names, name+"-"+strconv.Itoa(i))
	}
	return names
}

func maxAgeAttr(d time.Duration) string {
	return "; Max-Age=" + strconv.FormatInt(int64(d/time.Second), 10)
}

// A value that fits one cookie stands in it as it is. A longer one is cut; its
// first chunk begins with the number of chunks and a dot, which no sealed text
// contains. The seal is over the whole, so chunks of two writes never open.

// chunks is the number of cookies that a sealed text of length n needs.
func (j *jar) chunks(n int) int {
	if n <= j.room {
		return 1
	}
	n += len("10.")
	return (n + j.room - 1) / j.room
}

// fits reports whether plain bytes of length n can be sealed into cookies.
func (j *jar) fits(n int) bool { return j.chunks(sealedSize(n)) <= len(j.tokens) }

// set adds the Set-Cookie lines for a sealed text to h, and expires the chunks
// that the browser presented and the text does not need.
func (j *jar) set(h http.Header, names []string, sealed string, age time.Duration, has func(name string) bool) {
	n := j.chunks(len(sealed))
	if n > 1 {
		sealed = strconv.Itoa(n) + "." + sealed
	}
	for i := range n {
		part := sealed[:min(len(sealed), j.room)]
		sealed = sealed[len(part):]
		j.add(h, names[i], part, age)
	}
	j.expire(h, names[n:], has)
}

func (j *jar) add(h http.Header, name, value string, age time.Duration) {
	line := name + "=" + value
	if !j.cfg.NonPersistent {
		line += maxAgeAttr(max(min(age, maxAge), time.Second))
	}
	h.Add("Set-Cookie", line+j.attrs)
}

// expire deletes those of the named cookies that has reports.
func (j *jar) expire(h http.Header, names []string, has func(name string) bool) {
	for _, name := range names {
		if has(name) {
			h.Add("Set-Cookie", name+"=; Max-Age=0"+j.attrs)
		}
	}
}

// maxTries bounds how many combinations of cookies of one name are opened,
// maxPresented how many cookies of ours are looked at.
const (
	maxTries     = 8
	maxPresented = 100
)

// cookies are those of a request that have our names.
type cookies []struct{ name, value string }

// read returns the cookies of a request that are ours by their exact name.
func (j *jar) read(h http.Header) cookies {
	var found cookies
	for _, line := range h["Cookie"] {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			if !ok || !strings.HasPrefix(name, j.prefix) || !j.owns(name) || len(found) == maxPresented {
				continue
			}
			found = append(found, struct{ name, value string }{name, value})
		}
	}
	return found
}

func (j *jar) owns(name string) bool {
	for _, names := range [2][]string{j.tokens, j.state} {
		for _, n := range names {
			if n == name {
				return true
			}
		}
	}
	return name == j.mfa
}

func (c cookies) has(name string) bool {
	for _, p := range c {
		if p.name == name {
			return true
		}
	}
	return false
}

// hasAny reports whether one of the named cookies was presented.
func (c cookies) hasAny(names []string) bool {
	for _, name := range names {
		if c.has(name) {
			return true
		}
	}
	return false
}

// candidates yields the values that the presented cookies of these names can
// be joined to, until try returns true. A browser presents several cookies of
// one name if a page of another path or host has set one.
func (c cookies) candidates(names []string, room int, try func(value string) bool) bool {
	tries := 0
	for _, p := range c {
		if p.name != names[0] || len(p.value) > room {
			continue
		}
		count, first, cut := strings.Cut(p.value, ".")
		n, err := strconv.Atoi(count)
		switch {
		case !cut:
			if tries++; try(p.value) {
				return true
			}
		case err != nil || n < 2 || n > len(names) || count != strconv.Itoa(n):
		case c.join(names[1:n], room, first, &tries, try):
			return true
		}
		if tries >= maxTries {
			return false
		}
	}
	return false
}

func (c cookies) join(names []string, room int, head string, tries *int, try func(string) bool) bool {
	if len(names) == 0 {
		*tries++
		return try(head)
	}
	for _, p := range c {
		if p.name == names[0] && len(p.value) <= room && *tries < maxTries {
			if c.join(names[1:], room, head+p.value, tries, try) {
				return true
			}
		}
	}
	return false
}
