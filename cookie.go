package session

import (
	"iter"
	"net/http"
	"slices"
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

	// Insecure sends the cookies over plain HTTP, too, for local work: on
	// hosts other than localhost, and with Safari, which reportedly drops
	// Secure cookies from http://localhost. See [Manager.DropsCookies].
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
	room   int    // for a value or a chunk of one
	budget int    // of bytes to open with every key; see candidates

	// authentic reports whether one of the keys has sealed the parts of a value.
	authentic func(purpose, name string, parts []string) bool
}

func newJar(cfg Cookie, keys int) *jar {
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
	j := &jar{cfg: cfg, prefix: name, mfa: name + "-mfa", budget: maxOpened / keys}
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

// maxAgeAttr rounds up: the session says itself when it is over.
func maxAgeAttr(d time.Duration) string {
	return "; Max-Age=" + strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// A value that fits one cookie stands in it as it is. A longer one is cut into
// chunks, "3.Tag4.part", "Tag4.part" and so on: the first has their number, and
// all have a piece of the seal, which tells those of one write from those of
// another. No sealed text contains a dot. The seal is over the whole, so chunks
// of two writes never open together, whatever their tags say.
const (
	tagSize     = 4
	chunkHeader = len("10.") + tagSize + len(".")
)

// tag is a piece of a sealed text's MAC, which is before its last characters.
func tag(sealed string) string {
	end := len(sealed) - tagSize
	return sealed[end-tagSize : end]
}

// chunks is the number of cookies that a sealed text of length n needs.
func (j *jar) chunks(n int) int {
	if n <= j.room {
		return 1
	}
	part := j.room - chunkHeader
	return (n + part - 1) / part
}

// fits reports whether plain bytes of length n can be sealed into cookies,
// fitsOne whether into one.
func (j *jar) fits(n int) bool    { return j.chunks(sealedSize(n)) <= len(j.tokens) }
func (j *jar) fitsOne(n int) bool { return sealedSize(n) <= j.room }

// set adds the Set-Cookie lines for a sealed text to h, and expires the chunks
// that the browser presented and the text does not need. It fails with
// ErrTooLarge, and sets nothing, where the names are too few for the text.
func (j *jar) set(h http.Header, names []string, sealed string, age time.Duration, has func(name string) bool) error {
	n := j.chunks(len(sealed))
	if n > len(names) {
		return errCookiesFull
	}
	if n == 1 {
		j.add(h, names[0], sealed, age)
	} else {
		header := tag(sealed) + "."
		for i := range n {
			part := sealed[:min(len(sealed), j.room-chunkHeader)]
			sealed = sealed[len(part):]
			if i == 0 {
				part = strconv.Itoa(n) + "." + header + part
			} else {
				part = header + part
			}
			j.add(h, names[i], part, age)
		}
	}
	j.expire(h, names[n:], has)
	return nil
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

const (
	// maxPresented bounds how many cookies of ours are looked at, the last of
	// them: there are 21 names at most, and a browser has few cookies of one name.
	maxPresented = 64

	// maxCookieHeader bounds how much of the Cookie field is looked at, the end
	// of it. Few servers accept so much of it.
	maxCookieHeader = 128 << 10

	// maxSeen bounds how many cookies are looked at whose names begin as ours.
	maxSeen = 400

	// maxOpened bounds how many bytes are opened to find a value among several
	// of one name, counted once for each key; anybody can send them. What is
	// tried first is tried in any case.
	maxOpened = 40 << 10

	// minOpened is what opening costs at least.
	minOpened = 512
)

// cookies are those of a request that have our names.
type cookies []struct{ name, value string }

// read returns the cookies of a request that are ours by their exact name.
func (j *jar) read(h http.Header) cookies {
	var found cookies
	seen := 0
	for _, line := range last(h["Cookie"], maxCookieHeader) {
		for {
			// Most of a long header is not ours: it is searched, not parsed.
			at := strings.Index(line, j.prefix)
			if at < 0 {
				break
			}
			if seen++; seen > maxSeen {
				return found
			}
			before := strings.TrimRight(line[:at], " \t")
			line = line[at:]
			if before != "" && before[len(before)-1] != ';' {
				line = line[len(j.prefix):]
				continue
			}
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			name, value, ok := strings.Cut(strings.TrimRight(pair, " \t"), "=")
			if !ok || !j.owns(name) {
				continue
			}
			if len(found) == maxPresented {
				found = found[:copy(found, found[1:])] // the last are tried first
			}
			found = append(found, struct{ name, value string }{name, value})
		}
	}
	return found
}

// last returns the end of what the lines hold together, size bytes at most.
func last(lines []string, size int) []string {
	first := len(lines)
	for ; first > 0 && size > 0; first-- {
		size -= len(lines[first-1])
	}
	lines = lines[first:]
	if size < 0 {
		_, end, _ := strings.Cut(lines[0][-size:], ";") // the cut may be in the middle of a cookie
		lines = append([]string{end}, lines[1:]...)
	}
	return lines
}

func (j *jar) owns(name string) bool {
	return name == j.mfa || slices.Contains(j.tokens, name) || slices.Contains(j.state, name)
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
func (c cookies) hasAny(names []string) bool { return slices.ContainsFunc(names, c.has) }

// candidates yields the values that the presented cookies of these names can
// be joined to, until the budget of bytes to open is used up.
//
// A browser presents several cookies of one name if a page of another path or
// host has set one. The last are tried first: ours have the shortest path that
// there is, and browsers order them by its length (RFC 6265, section 5.4).
func (c cookies) candidates(j *jar, purpose string, names []string) iter.Seq[string] {
	room, budget := j.room, j.budget
	return func(yield func(string) bool) {
		spent := 0
		pay := func(n int) (first, ok bool) {
			first = spent == 0
			spent += max(n, minOpened)
			return first, first || spent <= budget
		}
		try := func(parts []string) (more bool) {
			n := 0
			for _, part := range parts {
				n += len(part)
			}
			first, ok := pay(n)
			if ok && !first && !j.authentic(purpose, names[0], parts) {
				return true // it is not worth the memory to join them
			}
			return ok && yield(strings.Join(parts, ""))
		}
		var parts [mostChunks][]string
		for _, p := range slices.Backward(c) {
			if p.name != names[0] || len(p.value) > room {
				continue
			}
			n, header, part := cutFirst(p.value)
			if n == 1 {
				if len(part) < sealedSize(0) {
					continue
				}
				if _, ok := pay(len(part)); !ok || !yield(part) {
					return
				}
				continue
			}
			if n == 0 || n > len(names) {
				continue
			}
			parts[0] = append(parts[0][:0], part)
			whole := true
			for i := 1; i < n && whole; i++ {
				parts[i] = c.chunksOf(parts[i][:0], names[i], header, room)
				whole = len(parts[i]) > 0
			}
			if whole && !combine(make([]string, 0, mostChunks), parts[:n], try) {
				return
			}
		}
	}
}

// cutFirst returns how many cookies a value is in of which the first is given,
// what its chunks begin with, and the rest of the first. It returns 0 chunks for
// what is none.
func cutFirst(value string) (n int, header, part string) {
	count, rest, chunked := strings.Cut(value, ".")
	if !chunked {
		return 1, "", value
	}
	if len(count) > 2 || len(rest) <= tagSize || rest[tagSize] != '.' {
		return 0, "", ""
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 2 || strconv.Itoa(n) != count {
		return 0, "", ""
	}
	return n, rest[:tagSize+1], rest[tagSize+1:]
}

// chunksOf appends the chunks to list that are in cookies of a name and begin
// as those of one write do.
func (c cookies) chunksOf(list []string, name, header string, room int) []string {
	for _, p := range slices.Backward(c) {
		if p.name != name || len(p.value) > room {
			continue
		}
		if part, ok := strings.CutPrefix(p.value, header); ok {
			list = append(list, part)
		}
	}
	return list
}

// combine yields every way to join head and one part of each list, until it
// may not pay for it or yield returns false.
func combine(head []string, lists [][]string, try func(parts []string) bool) bool {
	if len(lists) == 0 {
		return try(head)
	}
	for _, part := range lists[0] {
		if !combine(append(head, part), lists[1:], try) {
			return false
		}
	}
	return true
}
