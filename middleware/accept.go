package middleware

import (
	"mime"
	"net/http"
	"strings"
)

// Header fields are bounded before they are parsed, because a server accepts a
// megabyte of header by default. A longer field is treated like one that cannot
// be parsed. Browsers and libraries stay far below these bounds.
const (
	maxAccept      = 4096 // bytes of all Accept fields together
	maxFields      = 16   // number of Accept fields
	maxContentType = 256  // bytes
)

// first returns the first value of a field, as http.Header.Get does. name must be in the
// canonical form, to which Get would convert it in each call.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// prefersHTML reports whether the Accept fields of a request rank text/html
// above JSON (RFC 9110, section 12.5.1). It returns false if both rank equally,
// as with "*/*" or without the field: programs send these, and browsers
// name text/html when they request a page.
//
// prefersHTML parses the whole grammar. A search for "text/html" would misread
// fields that many HTTP libraries send, such as
// "application/json, text/html;q=0.5".
func prefersHTML(h http.Header) bool {
	// The fields are counted and measured before they are parsed: any client can send them,
	// and every refusal reads them.
	fields := h["Accept"]
	if len(fields) > maxFields || len(fields) == 1 && (fields[0] == "application/json" || fields[0] == "*/*") {
		return false
	}
	size := 0
	for _, field := range fields {
		size += len(field)
	}
	if size > maxAccept {
		return false
	}
	// A client may accept errors only as application/problem+json, so that type
	// counts as JSON, too.
	var html, json, problem offer
	for _, field := range fields {
		for field != "" {
			var member string
			member, field = cutAt(field, ',')
			r, ok := parseRange(member)
			if !ok {
				continue // one malformed member does not invalidate the others
			}
			html.rank("text/*", "text/html", r)
			json.rank("application/*", "application/json", r)
			problem.rank("application/*", "application/problem+json", r)
		}
	}
	return html.q > max(json.q, problem.q)
}

// mediaRange is a member of an Accept field, such as "text/*;q=0.8".
type mediaRange struct {
	name   string // not converted to lower case
	params int    // the number of parameters other than q
	utf8   bool   // one of the parameters is charset=utf-8
	q      int    // the quality in thousandths, which compare exactly
}

// parseRange parses a member of an Accept field. It returns false if a parameter
// is malformed, or if the member has more than one q.
func parseRange(member string) (mediaRange, bool) {
	name, rest := cutAt(member, ';')
	r := mediaRange{name: strings.Trim(name, " \t"), q: -1} // -1: no q yet
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
		// The parameters that matter here need no escapes within the quotes.
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
		r.q = 1000 // the default of RFC 9110, section 12.4.2
	}
	return r, true
}

// offer is a media type that the response could have. q is the quality of the most
// specific range that matches the type, in thousandths. With
// "text/*;q=0.9, text/html;q=0.1" the quality of text/html is 0.1.
type offer struct{ specificity, q int }

// rank applies the range r to the offer of the type name, whose other ranges are
// group and "*/*". If two ranges are equally specific, the later one counts.
func (o *offer) rank(group, name string, r mediaRange) {
	specificity := 0
	switch {
	case strings.EqualFold(r.name, name) && r.params == 0:
		specificity = 3
	// Responses are in UTF-8. A range with any other parameter does not match.
	case strings.EqualFold(r.name, name) && r.params == 1 && r.utf8:
		specificity = 4
	case strings.EqualFold(r.name, group) && r.params == 0:
		specificity = 2
	case r.name == "*/*" && r.params == 0:
		specificity = 1
	}
	// A range with q=0 excludes the type, so it must replace a less specific range, too.
	if specificity > 0 && specificity >= o.specificity {
		*o = offer{specificity, r.q}
	}
}

// quality parses the value of the parameter q, a number from 0 to 1 with up to
// three decimals (RFC 9110, section 12.4.2). It returns thousandths.
// strconv.ParseFloat would also accept values such as "1e-1" or "NaN".
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

// cutAt cuts s around the first separator that is not within a quoted string:
// the value of a parameter may contain commas and semicolons.
func cutAt(s string, separator byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		// Within quotes, a backslash escapes the next character (RFC 9110, section 5.6.4).
		switch c := s[i]; {
		case quoted && c == '\\':
			i++ // skip the escaped character, which may be a quote
		case c == '"':
			quoted = !quoted
		case c == separator && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// contentType returns the media type of a request's body, in lower case, and its
// parameters. The type is empty if the field is missing, too long or malformed.
func contentType(h http.Header) (name string, params map[string]string) {
	value := first(h, "Content-Type")
	if value == "" || len(value) > maxContentType {
		return "", nil
	}
	name, params, err := mime.ParseMediaType(value)
	if err != nil {
		return "", nil
	}
	return name, params
}
