// Package nostore makes a response that no cache may store.
package nostore

import (
	"net/http"
	"strings"
)

// others are header fields that caches obey in place of Cache-Control or in
// addition to it, and that do not follow the naming of RFC 9213.
var others = map[string]bool{
	"Edge-Control":      true, // Akamai
	"Expires":           true,
	"Surrogate-Control": true, // Fastly, Varnish and others
	"X-Accel-Expires":   true, // nginx
}

// Set makes h the header of a response that must not be stored.
//
// It removes every other field that allows a cache to store a response. A field
// that targets some caches (RFC 9213), such as CDN-Cache-Control, overrides
// Cache-Control in these caches.
func Set(h http.Header) {
	for field := range h {
		if !mayMatter(field) {
			continue
		}
		// A handler may have written the field to the map in another spelling.
		name := http.CanonicalHeaderKey(field)
		if strings.HasSuffix(name, "Cache-Control") || others[name] {
			delete(h, field)
		}
	}
	h["Cache-Control"] = value
}

// mayMatter reports whether the name ends like one of the names that Set removes. Most
// fields of a response do not, and this check is faster than their canonical form.
func mayMatter(field string) bool {
	if len(field) < len("expires") {
		return false
	}
	end := field[len(field)-len("expires"):]
	return strings.EqualFold(end, "expires") || strings.EqualFold(end, "control")
}

// value is shared by all responses, which saves an allocation. Its capacity is its length,
// so that Add copies it.
var value = []string{"no-store"}
