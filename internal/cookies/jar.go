// Package cookies names, splits and formats the cookies of sessions, and finds
// them again among those that a request presents.
package cookies

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// maxSetCookie is what browsers take of one Set-Cookie, name and attributes
// counted (RFC 6265bis, section 5.6).
const maxSetCookie = 4096

// MaxAge is what browsers cap a cookie's life at (RFC 6265bis, section 5.5).
const MaxAge = 400 * 24 * time.Hour

// DefaultChunks is over how many cookies a value may be split, MaxChunks how many
// may be configured.
const (
	DefaultChunks = 4
	MaxChunks     = 10
)

// Config is how cookies are set. The zero value of a field is the default of the
// field of the same name in the settings of an app.
type Config struct {
	Name, Domain            string
	SameSite                http.SameSite
	Insecure, NonPersistent bool
	MaxChunks               int

	// Keys is the number of keys that a value is tried with, MinSize the length
	// of the shortest sealed text.
	Keys, MinSize int

	// Authentic reports whether one of the keys has sealed the parts of a value.
	Authentic func(purpose, name string, parts []string) bool
}

// Jar names and formats the cookies of one app. It is safe for concurrent use.
type Jar struct {
	// Tokens are the names of the tokens cookie and its further chunks; the ID of
	// a stored session is in the first. State are those of the state cookie, and
	// MFA is the name of the cookie of a pending login.
	Tokens, State []string
	MFA           string

	cfg    Config
	prefix string // that all names share
	attrs  string // of every cookie, without Max-Age
	room   int    // for a value or a chunk of one
	budget int    // of bytes to open with every key; see Candidates
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
	name := cfg.Name
	switch {
	case cfg.Insecure:
	case cfg.Domain != "":
		name = "__Secure-" + name
	default:
		name = "__Host-" + name
	}
	j := &Jar{cfg: cfg, prefix: name, MFA: name + "-mfa", budget: maxOpened / cfg.Keys}
	j.Tokens = chunkNames(name, cfg.MaxChunks)
	j.State = chunkNames(name+"-state", cfg.MaxChunks)

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
	longest := j.State[len(j.State)-1]
	j.room = maxSetCookie - len(longest) - len("=") - len(maxAgeAttr(MaxAge)) - len(j.attrs)
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
func (j *Jar) chunks(n int) int {
	if n <= j.room {
		return 1
	}
	part := j.room - chunkHeader
	return (n + part - 1) / part
}

// Fits reports whether a sealed text of length n fits into cookies, FitsOne
// whether it fits into one.
func (j *Jar) Fits(n int) bool    { return j.chunks(n) <= len(j.Tokens) }
func (j *Jar) FitsOne(n int) bool { return n <= j.room }

// ErrTooLong is returned by [Jar.Set] for a text that does not fit.
var ErrTooLong = errors.New("too long for its cookies")

// Set adds the Set-Cookie fields for a sealed text to h, and expires the chunks
// that the browser presented and the text does not need. It returns ErrTooLong,
// and sets nothing, if the text needs more cookies than there are names.
func (j *Jar) Set(h http.Header, names []string, sealed string, age time.Duration, presented Presented) error {
	n := j.chunks(len(sealed))
	if n > len(names) {
		return ErrTooLong
	}
	if n == 1 {
		j.Add(h, names[0], sealed, age)
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
			j.Add(h, names[i], part, age)
		}
	}
	j.Expire(h, names[n:], presented)
	return nil
}

// Add adds the Set-Cookie field for a value that fits one cookie.
func (j *Jar) Add(h http.Header, name, value string, age time.Duration) {
	line := name + "=" + value
	if !j.cfg.NonPersistent {
		line += maxAgeAttr(max(min(age, MaxAge), time.Second))
	}
	h.Add("Set-Cookie", line+j.attrs)
}

// Expire deletes those of the named cookies that the browser presented.
func (j *Jar) Expire(h http.Header, names []string, presented Presented) {
	for _, name := range names {
		if presented.Has(name) {
			j.Delete(h, name)
		}
	}
}

// Delete deletes a cookie.
func (j *Jar) Delete(h http.Header, name string) {
	h.Add("Set-Cookie", name+"=; Max-Age=0"+j.attrs)
}
