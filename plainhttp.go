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
// cookies, so that a sign-in has no effect: the cookies are Secure, and the request
// came over plain HTTP to a host that is neither localhost nor a loopback address.
// The ready-made login page then shows a warning, and an app's own login page
// should do the same. DropsCookies also reports [EventCookiesDropped], at most once
// an hour.
//
// If a proxy in front of the app accepts HTTPS, r itself came over plain HTTP.
// DropsCookies then returns false if r shows that the browser used HTTPS: by a
// header field of the proxy such as X-Forwarded-Proto or Forwarded, by
// Sec-Fetch-Site, which browsers do not send over plain HTTP, or by a cookie that
// the browser has kept. Clients can forge these fields, so nothing else depends on
// them.
func (m *Manager) DropsCookies(r *http.Request) bool {
	if m.cfg.Cookie.Insecure || !overPlainHTTP(r) || len(m.jar.Read(r.Header)) > 0 {
		return false
	}
	if m.cookieReports.due(m.now()) {
		m.event(r.Context(), slog.LevelWarn, nil, Event{Name: EventCookiesDropped, Err: errPlainHTTP})
	}
	return true
}

var errPlainHTTP = errors.New("the request came over plain HTTP, and browsers drop Secure cookies there; serve HTTPS, or set Config.Cookie.Insecure for local work")

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

// hourly limits a report to once an hour: anyone can request the login page, and
// must not fill the log. The zero value is ready to use.
type hourly struct {
	mu   sync.Mutex
	last time.Time
}

// due reports whether an hour has passed since due last returned true.
func (h *hourly) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	// A clock that was set back must not stop the reports.
	if since := now.Sub(h.last); since >= 0 && since < time.Hour {
		return false
	}
	h.last = now
	return true
}
