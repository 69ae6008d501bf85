package main

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// wantsPage reports whether a page is to be answered as HTML and not as JSON:
// if the request ranks text/html above JSON (RFC 9110, section 12.5.1), as
// browsers do.
func wantsPage(r *http.Request) bool {
	accept := strings.Join(r.Header["Accept"], ",")
	return quality(accept, "text/html") > quality(accept, "application/json")
}

// quality returns how welcome a media type is: what the most specific range of
// the list says that it is in.
func quality(accept, typ string) float64 {
	best, welcome := 0, 0.0
	for member := range strings.SplitSeq(accept, ",") {
		name, params, err := mime.ParseMediaType(member)
		if err != nil {
			continue
		}
		specificity := 0
		switch major, _, _ := strings.Cut(typ, "/"); name {
		case typ:
			specificity = 3
		case major + "/*":
			specificity = 2
		case "*/*":
			specificity = 1
		}
		if specificity <= best {
			continue
		}
		q, err := strconv.ParseFloat(params["q"], 64)
		if err != nil {
			q = 1
		}
		best, welcome = specificity, q
	}
	return welcome
}
