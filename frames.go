package session

import (
	"net/http"
	"slices"
	"strings"
)

// accessField is the header field in which a browser reports whether a request from a page
// of another site has access to unpartitioned cookies. The value inactive means that the
// user has granted the access, but that the request was sent without cookies. See
// https://privacycg.github.io/storage-access-headers/.
const accessField = "Sec-Fetch-Storage-Access"

// access is an instruction of the response to the browser about unpartitioned cookies in
// frames.
type access uint8

const (
	accessNone  access = iota
	accessRetry        // send the request again, with cookies
	accessLoad         // let the page in the frame use cookies
)

// accessOf returns the instruction for the response to r.
//
// Only GET and HEAD requests are sent again, because the handler runs twice. Partitioned
// cookies need no access, and with the access a browser would send both kinds of cookies.
func (m *Manager) accessOf(r *http.Request) access {
	if !m.activates() || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return accessNone
	}
	switch dest := r.Header.Get("Sec-Fetch-Dest"); r.Header.Get(accessField) {
	case "inactive":
		if slices.Contains(m.cfg.Embedders, r.Header.Get("Origin")) {
			return accessRetry
		}
	case "active":
		// Such a request has no Origin. The frame-ancestors of the response keep other
		// sites from showing the page.
		if dest == "iframe" || dest == "frame" {
			return accessLoad
		}
	}
	return accessNone
}

// activates reports whether responses may activate storage access. In a frame of another
// site, browsers send only cookies with SameSite=None, even with the access.
func (m *Manager) activates() bool {
	return len(m.cfg.Embedders) > 0 && m.cfg.Cookie.SameSite == http.SameSiteNoneMode && !m.cfg.Cookie.Partitioned
}

// setFrameFields sets the header fields of a response for frames.
func (x *Exchange) setFrameFields(h http.Header) {
	if len(x.m.cfg.Embedders) == 0 {
		return
	}
	// Browsers obey all policies, so this one does not replace the handler's. The pages of
	// package middleware have the directive already.
	const policy = "Content-Security-Policy"
	sources := "'self' " + strings.Join(x.m.cfg.Embedders, " ")
	if !slices.ContainsFunc(h[policy], func(field string) bool { return hasAncestors(field, sources) }) {
		h.Add(policy, frameAncestors+" "+sources)
	}
	if !x.m.activates() {
		return
	}
	h.Add("Vary", "Origin, "+accessField)
	switch x.access {
	case accessRetry:
		// The origin is one of Embedders, which contain no character to quote.
		h.Set("Activate-Storage-Access", `retry; allowed-origin="`+x.header.Get("Origin")+`"`)
	case accessLoad:
		h.Set("Activate-Storage-Access", "load")
	}
}

const frameAncestors = "frame-ancestors"

// hasAncestors reports whether one of the policies in a Content-Security-Policy field has
// exactly the given sources of frame-ancestors.
func hasAncestors(field, sources string) bool {
	for policy := range strings.SplitSeq(field, ",") {
		for directive := range strings.SplitSeq(policy, ";") {
			directive = strings.TrimSpace(directive)
			n := min(len(directive), len(frameAncestors))
			if !strings.EqualFold(directive[:n], frameAncestors) {
				continue
			}
			if strings.TrimSpace(directive[n:]) == sources {
				return true
			}
			break // browsers ignore further directives with the same name
		}
	}
	return false
}
