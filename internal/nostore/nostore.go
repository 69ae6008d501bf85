// Package nostore keeps a response out of every cache.
package nostore

import (
	"net/http"
	"strings"
)

// others are fields that caches obey before Cache-Control, or beside it, and
// whose names do not end as those of RFC 9213 do.
var others = map[string]bool{
	"Edge-Control":      true, // Akamai
	"Expires":           true,
	"Surrogate-Control": true, // Fastly, Varnish and others
	"X-Accel-Expires":   true, // nginx
}

// Set makes h the header of a response that must not be stored. It removes
// every other field that tells a cache how long to keep a response: those that
// are targeted at some caches (RFC 9213), such as CDN-Cache-Control, win over
// Cache-Control there.
func Set(h http.Header) {
	for field := range h {
		// A handler may have put a field into the map in another spelling.
		name := http.CanonicalHeaderKey(field)
		if strings.HasSuffix(name, "Cache-Control") || others[name] {
			delete(h, field)
		}
	}
	h.Set("Cache-Control", "no-store")
}
