package session

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// DropsCookies reports whether the browser that sent r drops the Manager's
// cookies, so that a sign-in does not last: they are Secure, and the request
// came over plain HTTP from a host that is neither localhost nor a loopback
// address. An app with its own login page says so there, as the ready-made one
// does. DropsCookies also reports [EventCookiesDropped], once an hour at most.
//
// Where a proxy in front of the app accepts HTTPS, r itself came over plain
// HTTP. DropsCookies then returns false if anything in r shows the browser's
// scheme: a header field of the proxy such as X-Forwarded-Proto or Forwarded,
// Sec-Fetch-Site, which browsers do not send over plain HTTP, or a cookie that
// the browser has kept. Such fields are not trusted with anything else.
func (m *Manager) DropsCookies(r *http.Request) bool {
	if m.cfg.Cookie.Insecure || !overPlainHTTP(r) || len(m.jar.Read(r.Header)) > 0 {
		return false
	}
	if m.dropped.due(m.now()) {
		m.event(r.Context(), slog.LevelWarn, nil, Event{Name: EventCookiesDropped, Err: errPlainHTTP})
	}
	return true
}

var errPlainHTTP = errors.New("the request came over plain HTTP, and browsers drop Secure cookies there; serve HTTPS, or set Config.Cookie.Insecure for local work")

// overPlainHTTP reports whether the browser that sent r has not used HTTPS, as
// far as r shows, and treats the host as one that needs it.
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

// schemeFields are the header fields by which proxies report the browser's
// scheme, and what they hold for HTTPS.
var schemeFields = []struct{ name, secure string }{
	{"Forwarded", "proto=https"}, {"Forwarded", `proto="https"`},
	{"X-Forwarded-Proto", "https"}, {"X-Forwarded-Protocol", "https"}, {"X-Forwarded-Scheme", "https"},
	{"X-Url-Scheme", "https"}, {"X-Scheme", "https"}, {"Cloudfront-Forwarded-Proto", "https"}, {"Cf-Visitor", "https"},
	{"X-Forwarded-Ssl", "on"}, {"Front-End-Https", "on"}, {"X-Forwarded-Port", "443"},
}

// maxHost bounds a Host field that is parsed: a host's name of 253 bytes and a
// port are shorter.
const maxHost = 512

// isLocal reports whether browsers trust a host, with or without a port, over
// plain HTTP.
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

// hourly lets a report through once an hour. The zero value is ready to use.
type hourly struct {
	mu   sync.Mutex
	last time.Time
}

func (h *hourly) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if since := now.Sub(h.last); since >= 0 && since < time.Hour {
		return false
	}
	h.last = now
	return true
}
