package middleware

import (
	"net/http"
	"unicode/utf8"
)

// htmx and Turbo send requests by fetch or XMLHttpRequest and insert the responses into
// the page. So a redirect to the login page would show that page within the app's page.
// This file has the rules for these requests; docs/frontends.md describes them for apps.
// Nothing here depends on which version of a library sends a request. The names of fields are
// in canonical form: Get converts every other spelling, with an allocation.

// isHTMX reports whether htmx has sent the request. htmx wants HTML, whatever Accept
// says: versions 1 and 2 send "*/*". Browsers navigate without the fields of scripts.
func isHTMX(h http.Header) bool {
	return h.Get("Hx-Request") == "true" && h.Get("Sec-Fetch-Mode") != "navigate"
}

// isBoosted reports whether htmx has sent the request for a link or a form with
// hx-boost. The response is then a page, and not a part of one.
func isBoosted(h http.Header) bool { return isHTMX(h) && h.Get("Hx-Boosted") == "true" }

// isTurbo reports whether Turbo has sent the request, as a visit, for a form or for a
// frame.
func isTurbo(h http.Header) bool {
	return h.Get("X-Turbo-Request-Id") != "" || h.Get("Turbo-Frame") != ""
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
// The address of the request is then no page to return to.
func isPart(h http.Header) bool {
	return isHTMX(h) && !isBoosted(h) || frameOf(h) != ""
}

// isVisit reports whether Turbo follows a link, or loads a frame. Turbo follows the
// redirect to the login page, and loads that page anew instead of inserting it; see
// Page.TurboReload. Apps call Turbo's fetch for JSON, too.
func isVisit(r *http.Request) bool {
	return isSafe(r) && isTurbo(r.Header) && prefersHTML(r.Header)
}
