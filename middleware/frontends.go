package middleware

import (
	"net/http"
	"unicode/utf8"
)

// htmx and Turbo send requests by fetch or XMLHttpRequest and insert the responses into the
// page. A redirect would therefore show the login page inside the app's page. This file has
// the rules for these requests; docs/frontends.md describes them for apps. The rules do not
// depend on the version of a library. The names of fields are in canonical form, because
// Get allocates to convert any other spelling.

// isHTMX reports whether htmx has sent the request. htmx expects HTML, although versions 1
// and 2 send "Accept: */*". A browser that navigates sends no such field.
func isHTMX(h http.Header) bool {
	return first(h, "Hx-Request") == "true" && first(h, "Sec-Fetch-Mode") != "navigate"
}

// isBoosted reports whether htmx has sent the request for a link or a form with
// hx-boost. The response is then a page, and not a part of one.
func isBoosted(h http.Header) bool { return isHTMX(h) && h.Get("Hx-Boosted") == "true" }

// isTurbo reports whether Turbo has sent the request, as a visit, for a form or for a
// frame.
func isTurbo(h http.Header) bool {
	return first(h, "X-Turbo-Request-Id") != "" || first(h, "Turbo-Frame") != ""
}

// maxFrame bounds the ID of a Turbo frame, in bytes.
const maxFrame = 256

// frameOf returns the ID of the Turbo frame that shows the response, or the empty
// string. The ID gets into the response, so it must be plain text.
func frameOf(h http.Header) string {
	id := h.Get("Turbo-Frame")
	if len(id) > maxFrame || !utf8.ValidString(id) || hasControl(id) {
		return ""
	}
	return id
}

// isPart reports whether the response becomes a part of the page that the browser shows.
// The address of the request is then not the address of a page to return to.
func isPart(h http.Header) bool {
	return isHTMX(h) && !isBoosted(h) || frameOf(h) != ""
}

// isVisit reports whether Turbo follows a link, or loads a frame. Turbo then follows the
// redirect to the login page, and loads that page as a whole instead of inserting it; see
// Page.TurboReload. The request must accept HTML, because apps also use Turbo's fetch for
// JSON.
func isVisit(r *http.Request) bool {
	return isSafe(r) && isTurbo(r.Header) && prefersHTML(r.Header)
}
