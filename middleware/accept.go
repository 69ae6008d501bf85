package middleware

import (
	"mime"
	"net/http"
	"strings"
)

// prefersHTML reports whether the Accept fields of a request rank text/html
// above JSON (RFC 9110, section 12.5.1). Where they rank both alike, as "*/*"
// does and no field at all, it reports false.
func prefersHTML(h http.Header) bool {
	var html, json, problem offer
	for _, field := range h["Accept"] {
		for field != "" {
			var member string
			member, field = cutMember(field)
			name, params, err := mime.ParseMediaType(member)
			if err != nil {
				continue
			}
			q, ok := quality(params)
			if !ok {
				continue
			}
			delete(params, "q")
			html.rank("text/", "html", name, params, q)
			json.rank("application/", "json", name, params, q)
			problem.rank("application/", "problem+json", name, params, q)
		}
	}
	return html.q > max(json.q, problem.q)
}

// offer is how welcome one media type is: the quality that the most specific
// range gives that matches it, in thousandths.
type offer struct{ specificity, q int }

func (o *offer) rank(typ, subtype, name string, params map[string]string, q int) {
	specificity := 0
	switch {
	case name == typ+subtype && len(params) == 0:
		specificity = 3
	case name == typ+subtype && len(params) == 1 && strings.EqualFold(params["charset"], "utf-8"):
		specificity = 4
	case name == typ+"*" && len(params) == 0:
		specificity = 2
	case name == "*/*" && len(params) == 0:
		specificity = 1
	}
	if specificity > 0 && specificity >= o.specificity {
		*o = offer{specificity, q}
	}
}

// quality reads the parameter q by its grammar: up to three decimals, at most
// 1. It returns thousandths, and false for anything else.
func quality(params map[string]string) (int, bool) {
	s, ok := params["q"]
	if !ok {
		return 1000, true
	}
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

// cutMember cuts the first member off a comma-separated list. A comma within
// a quoted string is part of the member.
func cutMember(list string) (member, rest string) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return list[:i], list[i+1:]
		}
	}
	return list, ""
}
