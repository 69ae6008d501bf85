package cookies

import (
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Any client can send any cookies. These limits bound what reading them costs,
// before anything is known about the client.
const (
	// maxPresented is how many cookies with names of the Jar are kept. The last
	// ones count. There are at most 53 names, and a browser has few cookies of one
	// name.
	maxPresented = 64

	// usualPresented is how many most browsers with a session present.
	usualPresented = 3

	// maxPairs is how many cookies of any name are read. A browser has at most a few
	// hundred for a site.
	maxPairs = 1000

	// maxBlanks is how many blanks may precede a name.
	maxBlanks = 8

	// maxOpened is how many bytes are opened to find a value among several cookies
	// of one name, multiplied by the number of keys. The first candidate is opened
	// in any case.
	maxOpened = 40 << 10

	// minOpened is how many bytes a candidate counts at least, because opening has
	// a fixed cost.
	minOpened = 512
)

// Presented holds the cookies of a request that have names of a Jar, in the order of
// the request.
type Presented []presented

type presented struct{ name, value string }

// Room has room for the cookies that most browsers with a session present, so that they
// need no separate allocation.
type Room [usualPresented]presented

// Read returns the cookies of a request that have exactly a name of the Jar. They are in
// room, if it is large enough.
func (j *Jar) Read(h http.Header, room *Room) Presented {
	found := Presented(room[:0])
	pairs := 0
	for _, line := range h["Cookie"] {
		for line != "" {
			if pairs++; pairs > maxPairs {
				return found
			}
			pair := line
			if i := strings.IndexByte(line, ';'); i >= 0 {
				pair, line = line[:i], line[i+1:]
			} else {
				line = ""
			}
			name, value, ok := j.parse(pair)
			if !ok {
				continue
			}
			if len(found) == maxPresented {
				found = found[:copy(found, found[1:])] // the last are tried first
			}
			found = append(found, presented{name, value})
		}
	}
	return found
}

// parse returns the name and the value of a cookie, if the name is one of the Jar's. It
// does not read the value otherwise: the cookies of other programs may be long.
func (j *Jar) parse(pair string) (name, value string, ok bool) {
	for range maxBlanks {
		if pair == "" || !isBlank(pair[0]) {
			break
		}
		pair = pair[1:]
	}
	if !strings.HasPrefix(pair, j.prefix) {
		return "", "", false
	}
	end := strings.IndexByte(pair, '=')
	if end < 0 || !j.names[pair[:end]] {
		return "", "", false
	}
	name, value = pair[:end], pair[end+1:]
	if len(value) <= 2*maxSetCookie { // a longer one is rejected later
		for value != "" && isBlank(value[len(value)-1]) {
			value = value[:len(value)-1]
		}
	}
	return name, value, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// Has reports whether a cookie with this name was presented.
func (c Presented) Has(name string) bool {
	for _, p := range c {
		if p.name == name {
			return true
		}
	}
	return false
}

// HasSeveral reports whether several cookies with this name were presented.
func (c Presented) HasSeveral(name string) bool {
	n := 0
	for _, p := range c {
		if p.name == name {
			n++
		}
	}
	return n > 1
}

// HasOther reports whether a cookie with another name was presented.
func (c Presented) HasOther(name string) bool {
	for _, p := range c {
		if p.name != name {
			return true
		}
	}
	return false
}

// HasAny reports whether one of the named cookies was presented.
func (c Presented) HasAny(names []string) bool {
	for _, p := range c {
		// The first name is the shortest. Most names that are presented are shorter.
		if len(p.name) >= len(names[0]) && slices.Contains(names, p.name) {
			return true
		}
	}
	return false
}

// Candidates yields the values that the presented cookies of these names can form.
// The caller opens each value until one opens. Candidates stops when the bytes to
// open exceed the budget.
//
// A browser presents several cookies of one name if a page of another path or
// subdomain has set one. Candidates yields the last cookies first: by default the Jar's
// cookies have the shortest path, and browsers send cookies with longer paths first
// (RFC 6265, section 5.4).
func (j *Jar) Candidates(c Presented, purpose string, names []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		s := search{j: j, purpose: purpose, names: names}
		for _, p := range slices.Backward(c) {
			if p.name != names[0] || len(p.value) > j.room {
				continue
			}
			if strings.IndexByte(p.value, '.') >= 0 {
				if !s.chunked(c, p.value, yield) {
					return
				}
				continue
			}
			if len(p.value) < j.cfg.MinSize {
				continue
			}
			first, ok := s.pay(len(p.value))
			if ok && !first && !j.cfg.Authentic(purpose, names[0], []string{p.value}) {
				continue // opening a forged text would allocate memory
			}
			if !ok || !yield(p.value) {
				return
			}
		}
	}
}

// search is one call of Candidates.
type search struct {
	j       *Jar
	purpose string
	names   []string
	spent   int // how many bytes the candidates have
}

// pay counts a candidate of n bytes. It reports whether the candidate is the first, and
// whether it may be opened.
func (s *search) pay(n int) (first, ok bool) {
	first = s.spent == 0
	s.spent += max(n, minOpened)
	return first, first || s.spent <= s.j.budget
}

// chunked yields the values that begin with the first chunk value. It returns false if
// there must be no further candidates.
func (s *search) chunked(c Presented, value string, yield func(string) bool) (more bool) {
	n, header, part := cutFirst(value)
	if n == 0 || n > len(s.names) {
		return true
	}
	var parts [MaxChunks][]string
	parts[0] = []string{part}
	for i := 1; i < n; i++ {
		parts[i] = c.chunksOf(s.names[i], header, s.j.room)
		if len(parts[i]) == 0 {
			return true
		}
	}
	return combine(make([]string, 0, MaxChunks), parts[:n], func(parts []string) bool {
		return s.join(parts, yield)
	})
}

// join yields the value that the parts form. There may be many combinations of chunks, so
// all but the first are checked before they are joined.
func (s *search) join(parts []string, yield func(string) bool) (more bool) {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	first, ok := s.pay(n)
	if ok && !first && !s.j.cfg.Authentic(s.purpose, s.names[0], parts) {
		return true // joining the parts would waste memory
	}
	return ok && yield(strings.Join(parts, ""))
}

// cutFirst parses the value of the first cookie of several. It returns the number of
// chunks, the header that the other chunks begin with, and the part of the first chunk.
// n is 0 for a value that no Jar writes.
func cutFirst(value string) (n int, header, part string) {
	count, rest, _ := strings.Cut(value, ".")
	if len(count) > 2 || len(rest) <= tagSize || rest[tagSize] != '.' {
		return 0, "", ""
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 2 || strconv.Itoa(n) != count {
		return 0, "", ""
	}
	return n, rest[:tagSize+1], rest[tagSize+1:]
}

// chunksOf returns the parts of the presented chunks that have this name and this header,
// the last cookie first.
func (c Presented) chunksOf(name, header string, room int) (list []string) {
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

// combine calls try with head and one part of each list, for every combination. It
// stops and returns false when try returns false.
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
