package middleware

import (
	"mime"
	"net/http"
	"strings"
)

// Header fields are bounded before they are parsed: anybody can send a megabyte
// of one. A longer field counts as one that cannot be read. Browsers and
// libraries stay far below the bounds.
const (
	maxAccept      = 4096 // bytes of all Accept fields
	maxFields      = 16   // Accept fields
	maxContentType = 256  // bytes
)

// prefersHTML reports whether the Accept fields of a request rank text/html
// above JSON (RFC 9110, section 12.5.1). Where they rank both alike, as "*/*"
// does and no field at all, it reports false.
func prefersHTML(h http.Header) bool {
	fields := h["Accept"]
	if len(fields) > maxFields {
		return false
	}
	size := 0
	for _, field := range fields {
		size += len(field)
	}
	if size > maxAccept {
		return false
	}
	var html, json, problem offer
	for _, field := range fields {
		for field != "" {
			var member string
			member, field = cutAt(field, ',')
			r, ok := parseRange(member)
			if !ok {
				continue
			}
			html.rank("text/*", "text/html", r)
			json.rank("application/*", "application/json", r)
			problem.rank("application/*", "application/problem+json", r)
		}
	}
	return html.q > max(json.q, problem.q)
}

// mediaRange is a member of an Accept field.
type mediaRange struct {
	name   string // in the case that it was sent in
	params int    // the number of parameters other than q
	utf8   bool   // one of them is charset=utf-8
	q      int    // the quality in thousandths
}

// parseRange parses a member of an Accept field. It returns false if the
// member has a parameter that does not follow the grammar, or a second q.
func parseRange(member string) (mediaRange, bool) {
	name, rest := cutAt(member, ';')
	r := mediaRange{name: strings.Trim(name, " \t"), q: -1}
	for rest != "" {
		var param string
		param, rest = cutAt(rest, ';')
		if param = strings.Trim(param, " \t"); param == "" {
			continue
		}
		key, value, ok := strings.Cut(param, "=")
		if !ok || key == "" || value == "" {
			return r, false
		}
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if strings.EqualFold(key, "q") {
			if r.q >= 0 {
				return r, false
			}
			if r.q, ok = quality(value); !ok {
				return r, false
			}
			continue
		}
		r.params++
		r.utf8 = r.utf8 || strings.EqualFold(key, "charset") && strings.EqualFold(value, "utf-8")
	}
	if r.q < 0 {
		r.q = 1000
	}
	return r, true
}

// offer is how welcome one media type is: the quality that the most specific
// range gives that matches it, in thousandths.
type offer struct{ specificity, q int }

func (o *offer) rank(group, name string, r mediaRange) {
	specificity := 0
	switch {
	case strings.EqualFold(r.name, name) && r.params == 0:
		specificity = 3
	case strings.EqualFold(r.name, name) && r.params == 1 && r.utf8:
		specificity = 4
	case strings.EqualFold(r.name, group) && r.params == 0:
		specificity = 2
	case r.name == "*/*" && r.params == 0:
		specificity = 1
	}
	if specificity > 0 && specificity >= o.specificity {
		*o = offer{specificity, r.q}
	}
}

// quality parses the value of the parameter q by its grammar: up to three
// decimals, at most 1. It returns thousandths, and false for anything else.
func quality(s string) (int, bool) {
	if s == "" || len(s) > len("0.000") || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	q, unit := int(s[0]-'0')*1000, 100
	for _, c := range []byte(s[min(2, len(s)):]) {
		if c < '0' || c > '9' {
			return 0, false
		}
		q += int(c-'0') * unit
		unit /= 10
	}
	return q, q <= 1000
}

// cutAt cuts s around the first separator that is not within a quoted string.
func cutAt(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// contentType returns the media type of a request's body and its parameters.
// The type is empty if there is none that can be read.
func contentType(h http.Header) (name string, params map[string]string) {
	value := h.Get("Content-Type")
	if len(value) > maxContentType {
		return "", nil
	}
	name, params, err := mime.ParseMediaType(value)
	if err != nil {
		return "", nil
	}
	return name, params
}
