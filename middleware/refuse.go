package middleware

import (
	"errors"
	"net/http"
	"strings"

	"github.com/synmetrix/session"
)

// Refuse answers a request with what err means. All guards and routes of this
// package answer with it; an app that refuses something itself should, too, so
// that all its refusals look alike.
//
// The errors of package session are known, an [*Problem] says what it is, and
// everything else is logged and answered with status 500.
//
// Somebody who is not signed in and follows a link, or types an address, is
// sent to the login page (303), which leads back, if the app has one: the
// ready-made routes, or its own at session.Config.LoginPath. Sec-Fetch-Mode and
// Sec-Fetch-Dest decide what a link is. Where a browser does not send them,
// Accept must prefer text/html, and no header field may show a script, as
// X-Requested-With and HX-Request do. Everything else is a refusal with its
// status, as a page or as JSON by the rule of [WantsPage]. Under a
// prefix that is named by [WithAPI] nobody is redirected, either.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	s := settingsOf(r.Context())
	p := problemOf(err)
	if p.Code == codeInternal || p.Code == codeNotLoaded {
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", addressOf(r).Path, "error", err)
	}
	if p.Code == codeUnauthenticated && !s.isAPI(r) && isNavigation(r) && !errors.Is(err, session.ErrBearer) && !s.isLogin(r) && s.hasLogin() {
		redirect(w, s.loginURL(r))
		return
	}
	p.header(w.Header())
	if !WantsPage(r) {
		p.writeJSON(w)
		return
	}
	page := Page{
		Name:    "refusal",
		Title:   texts[p.Code].title,
		Status:  p.Status,
		Code:    p.Code,
		Message: p.Detail,
		Field:   p.Field,
		Home:    s.homeURL(),
		Retry:   p.RetryAfter > 0 && isSafe(r),
	}
	if page.Title == "" {
		page.Title = http.StatusText(p.Status)
	}
	if (p.Code == codeUnauthenticated || p.Code == codeForbidden) && !s.isLogin(r) && s.hasLogin() {
		page.LoginURL = s.loginURL(r)
	}
	s.pages.write(w, s.log, page)
}

// WantsPage is the rule for the form of every answer: it reports whether the
// answer to r, a success or a refusal, is a page (or a redirect) and not JSON.
// That is so if the request's body is a form, or if it has no body and ranks
// text/html above JSON (RFC 9110, section 12.5.1), as browsers do. Under a
// prefix that is named by [WithAPI] it is never so.
func WantsPage(r *http.Request) bool {
	if settingsOf(r.Context()).isAPI(r) {
		return false
	}
	return isForm(r) || !hasBody(r) && prefersHTML(r.Header)
}

func isForm(r *http.Request) bool {
	typ, _ := contentType(r.Header)
	return typ == typeForm || typ == typeMultipart
}

func hasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

func isSafe(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// isNavigation reports whether the answer to a request will be what a browser
// shows in a window. A redirect to the login page would be the wrong answer to
// anything else: a script or a frame would get a page instead of a status.
func isNavigation(r *http.Request) bool {
	if !isSafe(r) {
		return false
	}
	// https://www.w3.org/TR/fetch-metadata/; not sent over plain HTTP, nor by
	// Safari before version 16.4.
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	if mode != "" || dest != "" {
		return mode == "navigate" && dest == "document"
	}
	return prefersHTML(r.Header) && !isScript(r.Header)
}

// scriptFields are the header fields of requests that scripts make: those by
// which common libraries and frameworks mark them, those that hold tokens
// against forged requests, and those of browsers that fetch ahead. Some of the
// libraries ask for text/html. Origin is the browser's own: it sends none along
// with a GET that follows a link.
var scriptFields = []string{
	"Datastar-Request", "Hx-Request", "Next-Router-State-Tree", "Origin", "Purpose", "Rsc", "Sec-Purpose", "Turbo-Frame",
	"X-Alpine-Request", "X-Barba", "X-Csrf-Token", "X-Inertia", "X-Livewire", "X-Moz", "X-Pjax", "X-Pjax-Container", "X-Purpose",
	"X-Turbo-Request-Id", "X-Up-Target", "X-Up-Version", "X-Xsrf-Token",
}

// isScript reports whether a GET or HEAD request shows that a script or a
// prefetch has made it.
func isScript(h http.Header) bool {
	for _, name := range scriptFields {
		if _, ok := h[name]; ok {
			return true
		}
	}
	by := h.Get("X-Requested-With")
	// A browser inside an Android app sends the app's name, such as
	// "com.example.app", with links, too.
	return by != "" && !strings.Contains(by[:min(len(by), 256)], ".")
}
