// Package cookies writes the cookies of sessions and reads them from requests. A
// value that is too long for one cookie is split into chunks.
//
//   - jar.go: names, attributes, and writing
//   - presented.go: reading, with bounds on what a client can make it cost
package cookies

import (
	"net/http"
	"strconv"
	"time"
)

// maxSetCookie is the longest Set-Cookie that browsers accept, with name and
// attributes (RFC 6265bis, section 5.6).
const maxSetCookie = 4096

// MaxAge is the longest life of a cookie. Browsers shorten a longer one (RFC 6265bis,
// section 5.5).
const MaxAge = 400 * 24 * time.Hour

// DefaultChunks is the default limit of cookies for one value. MaxChunks is the
// highest limit that can be configured.
const (
	DefaultChunks = 4
	MaxChunks     = 10
)

// Config says how cookies are set. The zero value of a field means the default of
// the field of the same name in session.Cookie.
type Config struct {
	Name, Domain, Path      string
	HTTPPrefix, Partitioned bool
	SameSite                http.SameSite
	Insecure                bool
	MaxChunks               int

	// Keys is the number of keys that may have sealed a value. Opening a value
	// costs as much for each of them.
	Keys int

	// MinSize is the length of the shortest sealed text.
	MinSize int

	// Authentic reports whether one of the keys has sealed the text that the parts
	// form together.
	Authentic func(purpose, name string, parts []string) bool
}

// Jar names and formats the cookies of one app. It is safe for concurrent use.
type Jar struct {
	// Tokens are the names of the tokens cookie and its further chunks. The first
	// also names the cookie of a stored session, which holds its ID.
	Tokens []string

	// State are the names of the state cookie and its further chunks.
	State []string

	// Visitor are the names of the cookie with the values of a visitor and its further
	// chunks. The first also names the cookie of a stored visitor's session.
	Visitor []string

	// Acting and ActingState are like Tokens and State, for the session in which a user
	// acts as another user.
	Acting, ActingState []string

	// MFA is the name of the cookie of a login that waits for its code, and Link of
	// that of a sign-in that waits for its link. Device is that of the cookie with the
	// accounts that have signed in in the browser.
	MFA, Link, Device string

	cfg    Config
	prefix string // shared by all names
	names  map[string]bool
	attrs  string // the attributes of every cookie, without Max-Age
	room   int    // the bytes for a value or a chunk in one cookie
	budget int    // how many bytes Candidates may yield, apart from the first candidate
}

// NewJar returns a Jar for cfg.
func NewJar(cfg Config) *Jar {
	if cfg.Name == "" {
		cfg.Name = "session"
	}
	if cfg.SameSite == 0 || cfg.SameSite == http.SameSiteDefaultMode {
		cfg.SameSite = http.SameSiteLaxMode
	}
	if cfg.MaxChunks == 0 {
		cfg.MaxChunks = DefaultChunks
	}
	if cfg.Path == "" {
		cfg.Path = "/"
	}
	name := cfg.prefix() + cfg.Name
	j := &Jar{cfg: cfg, prefix: name, MFA: name + "-mfa", Link: name + "-link", Device: name + "-device", budget: maxOpened / cfg.Keys}
	j.Tokens = chunkNames(name, cfg.MaxChunks)
	j.State = chunkNames(name+"-state", cfg.MaxChunks)
	j.Visitor = chunkNames(name+"-visitor", cfg.MaxChunks)
	j.Acting = chunkNames(name+"-acting", cfg.MaxChunks)
	j.ActingState = chunkNames(name+"-acting-state", cfg.MaxChunks)

	j.names = map[string]bool{j.MFA: true, j.Link: true, j.Device: true}
	for _, names := range [][]string{j.Tokens, j.State, j.Visitor, j.Acting, j.ActingState} {
		for _, name := range names {
			j.names[name] = true
		}
	}

	j.attrs = "; Path=" + cfg.Path
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
	if cfg.Partitioned {
		j.attrs += "; Partitioned"
	}
	// The room is the same for all cookies, so the longest name counts.
	longest := j.ActingState[len(j.ActingState)-1]
	j.room = maxSetCookie - len(longest) - len("=") - len(appendMaxAge(nil, MaxAge)) - len(j.attrs)
	return j
}

// prefix returns the prefix of the names (RFC 6265bis, section 4.1.3). Each prefix
// promises attributes that the cookies have. Those with "Host" exclude a Domain and
// another Path.
func (cfg Config) prefix() string {
	host := cfg.Domain == "" && cfg.Path == "/"
	switch {
	case cfg.Insecure:
		return ""
	case host && cfg.HTTPPrefix:
		return "__Host-Http-"
	case host:
		return "__Host-"
	case cfg.HTTPPrefix:
		return "__Http-"
	}
	return "__Secure-"
}

// chunkNames returns the names of n cookies for one value.
func chunkNames(name string, n int) []string {
	names := []string{name}
	for i := 1; i < n; i++ {
		names = append(names, name+"-"+strconv.Itoa(i))
	}
	return names
}

// appendMaxAge appends the Max-Age attribute for d. It rounds up, so that a browser
// never drops a cookie whose session has not ended. The session itself checks its
// timeouts.
func appendMaxAge(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(append(b, "; Max-Age="...), int64((d+time.Second-1)/time.Second), 10)
}

// A value that fits into one cookie is written unchanged. A longer value is split
// into chunks: "3.Tag4.part", "Tag4.part" and so on. The first chunk has the number of
// chunks. All chunks have the same tag, a piece of the seal, which distinguishes the
// chunks of one write from those of another. A sealed text contains no dot, so the
// format is unambiguous.
//
// The tag only saves work. The seal covers the whole value, so chunks of two writes
// never open together, even if their tags are equal.
const (
	tagSize     = 4
	chunkHeader = len("10.") + tagSize + len(".")
)

// tag returns a piece of the MAC at the end of a sealed text. It leaves out the last
// characters, which may be padding.
func tag(sealed string) string {
	end := len(sealed) - tagSize
	return sealed[end-tagSize : end]
}

// chunks returns the number of cookies that a sealed text of length n needs.
func (j *Jar) chunks(n int) int {
	if n <= j.room {
		return 1
	}
	part := j.room - chunkHeader
	return (n + part - 1) / part
}

// Fits reports whether a sealed text of length n fits into the cookies of a value.
func (j *Jar) Fits(n int) bool { return j.chunks(n) <= len(j.Tokens) }

// FitsOne reports whether a sealed text of length n fits into one cookie.
func (j *Jar) FitsOne(n int) bool { return n <= j.room }

// Set adds the Set-Cookie fields for a sealed text to h. It deletes presented cookies
// that the text does not need: the chunks of a longer value. If the text needs more
// cookies than there are names, Set adds nothing and returns false.
func (j *Jar) Set(h http.Header, names []string, sealed []byte, age time.Duration, presented Presented) bool {
	n := j.chunks(len(sealed))
	if n > len(names) {
		return false
	}
	if n == 1 {
		add(j, h, names[0], sealed, age)
	} else {
		rest := string(sealed)
		header := tag(rest) + "."
		for i := range n {
			part := rest[:min(len(rest), j.room-chunkHeader)]
			rest = rest[len(part):]
			if i == 0 {
				part = strconv.Itoa(n) + "." + header + part
			} else {
				part = header + part
			}
			j.Add(h, names[i], part, age)
		}
	}
	j.Expire(h, names[n:], presented)
	return true
}

// UntilClosed is the age of a cookie that the browser deletes when it is closed.
const UntilClosed time.Duration = 0

// Add adds the Set-Cookie field for a value that fits into one cookie.
func (j *Jar) Add(h http.Header, name, value string, age time.Duration) { add(j, h, name, value, age) }

func add[T string | []byte](j *Jar, h http.Header, name string, value T, age time.Duration) {
	var room [32]byte
	maxAge := room[:0]
	if age != UntilClosed {
		maxAge = appendMaxAge(maxAge, max(min(age, MaxAge), time.Second))
	}
	if h["Set-Cookie"] == nil {
		h["Set-Cookie"] = make([]string, 0, usualCookies)
	}
	h.Add("Set-Cookie", name+"="+string(value)+string(maxAge)+j.attrs)
}

// usualCookies is how many cookies a sign-in sets: of the session, and of the device.
const usualCookies = 3

// Expire deletes the named cookies, if the browser presented them.
func (j *Jar) Expire(h http.Header, names []string, presented Presented) {
	for _, name := range names {
		if presented.Has(name) {
			j.Delete(h, name)
		}
	}
}

// Delete adds the Set-Cookie field that deletes a cookie.
func (j *Jar) Delete(h http.Header, name string) {
	h.Add("Set-Cookie", name+"=; Max-Age=0"+j.attrs)
}
