package session

import (
	"net"
	"net/http"
	"strings"
)

// overPlainHTTP reports whether the browser that sent r used plain HTTP, as far as
// r shows, and drops Secure cookies of that host.
func overPlainHTTP(r *http.Request) bool {
	if r.TLS != nil || isLocal(r.Host) {
		return false
	}
	h := r.Header
	if h.Get("Sec-Fetch-Site") != "" || strings.HasPrefix(h.Get("Origin"), "https://") {
		return false
	}
	for _, f := range schemeFields {
		values := h[f.name]
		for _, v := range values[:min(len(values), maxSchemeFields)] {
			if strings.Contains(strings.ToLower(v[:min(len(v), maxSchemeField)]), f.secure) {
				return false
			}
		}
	}
	return true
}

// maxSchemeField bounds how many bytes of a header field are searched for a
// scheme, and maxSchemeFields how many fields of one name.
const (
	maxSchemeField  = 512
	maxSchemeFields = 4
)

// schemeFields are the header fields in which proxies report the browser's scheme,
// with a text that the field contains for HTTPS.
var schemeFields = []struct{ name, secure string }{
	{"Forwarded", "proto=https"}, {"Forwarded", `proto="https"`},
	{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Protocol", "https"}, {"X-Forwarded-Scheme", "https"},
	{"X-Url-Scheme", "https"}, {"X-Scheme", "https"}, {"Cloudfront-Forwarded-Proto", "https"}, {"Cf-Visitor", "https"},
	{"X-Forwarded-Ssl", "on"}, {"Front-End-Https", "on"}, {"X-Forwarded-Port", "443"},
}

// maxHost bounds the Host fields that are parsed. A host name of 253 bytes and a
// port are shorter.
const maxHost = 512

// isLocal reports whether browsers keep Secure cookies of host over plain HTTP.
// host may have a port.
func isLocal(host string) bool {
	if len(host) > maxHost {
		return false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	return isLoopback(host) || strings.HasSuffix(host, ".localhost")
}
