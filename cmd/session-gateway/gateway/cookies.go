package gateway

import (
	"net/http"
	"slices"
	"strings"
)

// ownCookies recognizes the gateway's cookies by their name without a prefix.
type ownCookies string

// prefixes are the prefixes of names that browsers know. All of them count: a
// browser may still have cookies from before a change of the configuration.
var prefixes = []string{"__Host-Http-", "__Host-", "__Secure-", "__Http-"}

// has reports whether a cookie is one of the gateway's. Browsers ignore the case of a
// prefix.
func (own ownCookies) has(name string) bool {
	// A cookie without a name is sent as its value, which may look like a name.
	name = strings.TrimLeft(name, " \t=")
	for _, prefix := range prefixes {
		if len(name) >= len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
			name = name[len(prefix):]
			break
		}
	}
	rest, ok := strings.CutPrefix(strings.TrimRight(name, " \t"), string(own))
	return ok && (rest == "" || rest[0] == '-')
}

// hasPair reports whether "name=value" is one of the gateway's cookies.
func (own ownCookies) hasPair(pair string) bool {
	pair = strings.TrimLeft(pair, " \t=")
	name, _, _ := strings.Cut(pair, "=")
	return own.has(name)
}

// removeFrom removes the gateway's cookies from the header of a request.
func (own ownCookies) removeFrom(h http.Header) {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		if !strings.Contains(line, string(own)) { // the common case, without an allocation
			kept = append(kept, line)
			continue
		}
		pairs := slices.DeleteFunc(strings.Split(line, ";"), own.hasPair)
		if line = strings.TrimSpace(strings.Join(pairs, ";")); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

// rejectFrom removes cookies that would replace the gateway's from the header of a
// response.
func (own ownCookies) rejectFrom(h http.Header) {
	lines := h["Set-Cookie"]
	isOwn := func(line string) bool {
		pair, _, _ := strings.Cut(line, ";")
		return own.hasPair(pair)
	}
	if !slices.ContainsFunc(lines, isOwn) {
		return
	}
	if lines = slices.DeleteFunc(slices.Clone(lines), isOwn); len(lines) == 0 {
		delete(h, "Set-Cookie")
		return
	}
	h["Set-Cookie"] = lines
}
