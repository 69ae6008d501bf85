package cookies

import (
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

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

// Presented are the cookies of a request that have the names of a Jar.
type Presented []struct{ name, value string }

// Read returns the cookies of a request that are the Jar's by their exact name.
func (j *Jar) Read(h http.Header) Presented {
	var found Presented
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

func (j *Jar) owns(name string) bool {
	return name == j.MFA || slices.Contains(j.Tokens, name) || slices.Contains(j.State, name)
}

// Has reports whether a cookie of that name was presented.
func (c Presented) Has(name string) bool {
	for _, p := range c {
		if p.name == name {
			return true
		}
	}
	return false
}

// HasAny reports whether one of the named cookies was presented.
func (c Presented) HasAny(names []string) bool { return slices.ContainsFunc(names, c.Has) }

// Candidates yields the values that the presented cookies of these names can
// be joined to, until the budget of bytes to open is used up.
//
// A browser presents several cookies of one name if a page of another path or
// host has set one. The last are tried first: ours have the shortest path that
// there is, and browsers order them by its length (RFC 6265, section 5.4).
func (j *Jar) Candidates(c Presented, purpose string, names []string) iter.Seq[string] {
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
			if ok && !first && !j.cfg.Authentic(purpose, names[0], parts) {
				return true // it is not worth the memory to join them
			}
			return ok && yield(strings.Join(parts, ""))
		}
		var parts [MaxChunks][]string
		for _, p := range slices.Backward(c) {
			if p.name != names[0] || len(p.value) > room {
				continue
			}
			n, header, part := cutFirst(p.value)
			if n == 1 {
				if len(part) < j.cfg.MinSize {
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
			if whole && !combine(make([]string, 0, MaxChunks), parts[:n], try) {
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
func (c Presented) chunksOf(list []string, name, header string, room int) []string {
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
