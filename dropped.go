package session

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/synmetrix/session/internal/cookies"
)

// DropsCookies reports whether the browser that sent r drops the Manager's
// cookies, so that a sign-in has no effect. The built-in login page then shows a
// warning, and an app's own login page should do the same. DropsCookies also reports
// [EventCookiesDropped], at most once an hour.
//
// Browsers drop the cookies in these cases:
//
//   - The cookies are Secure, and the request came over plain HTTP to a host that is
//     neither localhost nor a loopback address.
//   - The page is in a frame of another site, and Cookie.SameSite is not
//     http.SameSiteNoneMode. Only requests from a page in the frame show that, and
//     only those of browsers that send Sec-Fetch-Storage-Access.
//   - Cookie.Domain is not a domain of the host. Only a request with an Origin, such as
//     a POST, shows that.
//
// DropsCookies returns false in all other cases: no request shows that the user has
// turned cookies off. It also returns false if the browser has kept a cookie.
//
// If a proxy in front of the app accepts HTTPS, r itself came over plain HTTP.
// DropsCookies then returns false if r shows that the browser used HTTPS: by a
// header field of the proxy such as X-Forwarded-Proto or Forwarded, or by
// Sec-Fetch-Site, which browsers do not send over plain HTTP. Clients can forge these
// fields, so nothing else depends on them.
func (m *Manager) DropsCookies(r *http.Request) bool {
	var cause error
	switch c := m.cfg.Cookie; {
	case !c.Insecure && overPlainHTTP(r):
		cause = errPlainHTTP
	case c.SameSite != http.SameSiteNoneMode && inForeignFrame(r.Header):
		cause = errForeignFrame
	case c.Domain != "" && outsideDomain(r.Header, c.Domain):
		cause = errOtherDomain
	}
	if cause == nil || len(m.jar.Read(r.Header, new(cookies.Room))) > 0 {
		return false
	}
	if m.cookieReports.due(m.now()) {
		m.event(r.Context(), slog.LevelWarn, nil, Event{Name: EventCookiesDropped, Err: cause})
	}
	return true
}

var (
	errPlainHTTP    = errors.New("the request came over plain HTTP, and browsers drop Secure cookies there; serve HTTPS, or set Config.Cookie.Insecure for local work")
	errForeignFrame = errors.New("the request came from a frame of another site, and browsers drop cookies there; set Config.Cookie.SameSite to None and Config.Cookie.Partitioned")
	errOtherDomain  = errors.New("the browser's address is not in Config.Cookie.Domain, and browsers drop such cookies")
)

// inForeignFrame reports whether a page in a frame has sent the request, and the frame,
// or one around it, is in a page of another site.
//
// Browsers send Sec-Fetch-Storage-Access in two cases: another site has sent the request,
// or a page of another site is around the frame. In the first case browsers keep cookies,
// and Sec-Fetch-Site excludes it.
func inForeignFrame(h http.Header) bool {
	dest := h.Get("Sec-Fetch-Dest")
	return h.Get("Sec-Fetch-Site") == "same-origin" && h.Get(accessField) != "" && (dest == "iframe" || dest == "frame")
}

// outsideDomain reports whether the app's host, as the browser sees it, is outside
// domain. Only a request from a page of the app shows that host.
func outsideDomain(h http.Header, domain string) bool {
	origin := h.Get("Origin")
	if h.Get("Sec-Fetch-Site") != "same-origin" || len(origin) > maxOrigin {
		return false
	}
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" {
		return false
	}
	domain = strings.ToLower(strings.Trim(domain, "."))
	host, ok := strings.CutSuffix(strings.ToLower(u.Hostname()), domain)
	return !ok || host != "" && !strings.HasSuffix(host, ".")
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
