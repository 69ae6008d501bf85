package middleware

import (
	"errors"
	"net/http"
	"strings"

	"github.com/synmetrix/session"
)

// Refuse writes the response to a request that failed with err. All guards and routes of
// this package call it. Apps should call it for their own refusals, too, so that all
// refusals have the same form.
//
// Refuse knows the errors of packages session and auth. A [*Problem] describes
// its own response. Refuse logs every other error and responds with status 500.
//
// If the user is not signed in and the request is a navigation, such as a link or a typed
// address, Refuse redirects to the login page (303). The login page leads back to the
// requested page. The app must have a login page: the built-in route, or its own page at
// session.Config.LoginPath. Sec-Fetch-Mode and Sec-Fetch-Dest identify a navigation. If a
// browser sends neither, Accept must prefer text/html, and the request must have no header
// field that scripts add, such as X-Requested-With.
//
// All other refusals have an error status, and are a page or JSON by the rule of
// [WantsPage]. Refuse never redirects under a prefix named by [WithAPI].
//
// Requests of htmx and Turbo lead to the login page, too, if the user is not signed in.
// htmx gets status 401 with the field HX-Redirect. Turbo gets the redirect for links and
// frames, and loads the login page as a whole. The login page leads back to the page that
// the user was on. Any other refusal of a request for a part of a page is written with the
// template "fragment", which fits into the page.
func Refuse(w http.ResponseWriter, r *http.Request, err error) {
	s := settingsOf(r.Context())
	ref := s.refusalOf(r, err)
	p := &ref.problem
	if p.Code == codeInternal || p.Code == codeNotLoaded {
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", addressOf(r).Path, "error", err)
	}
	if ref.lacksLogin {
		s.logNoLogin()
	}
	if ref.redirects {
		redirect(w, r, ref.loginURL)
		return
	}
	p.header(w.Header())
	if ref.leaves {
		w.Header().Set("HX-Redirect", ref.loginURL)
	}
	if !ref.wantsPage {
		ref.writeJSON(w, r)
		return
	}
	page := ref.page(r)
	// A form in a Turbo frame that needs a sign-in leaves the frame; see TurboReload.
	page.fragment = isPart(r.Header) && (!needsSignIn(p.Code) || isHTMX(r.Header))
	WritePage(w, r, page)
}

// refusal describes the response to a refused request: a redirect to the login
// page, a page, or JSON.
type refusal struct {
	problem    Problem
	kind       int // of problem, in kinds, or noKind
	redirects  bool
	leaves     bool // htmx loads the login page
	wantsPage  bool
	loginURL   string // empty if the response does not lead to the login page
	lacksLogin bool   // the response would lead to a login page, but the app has none
}

// refusalOf decides how to refuse a request. It has no side effects.
func (s *settings) refusalOf(r *http.Request, err error) refusal {
	ref := refusal{wantsPage: WantsPage(r)}
	ref.problem, ref.kind = problemOf(err)
	again := ref.problem.Code == codeReauthenticate
	unauthenticated := needsSignIn(ref.problem.Code)
	forbidden := ref.problem.Code == codeForbidden

	// Only programs send bearer tokens, and they cannot fill in a login form.
	mayLeave := unauthenticated && !s.isAPI(r) && !errors.Is(err, session.ErrBearer)
	leaves := mayLeave && isHTMX(r.Header)
	navigates := mayLeave && !leaves && (isNavigation(r) || isVisit(r))
	// A forbidden user may have another account with the role.
	links := ref.wantsPage && (unauthenticated || forbidden)
	// A refusal of the login page itself must not lead to it: a redirect would never end.
	if !navigates && !leaves && !links || s.isLogin(r) {
		return ref
	}
	if !s.hasLogin() {
		ref.lacksLogin = true
		return ref
	}
	// Only now, because without a login page the refusal keeps its status.
	ref.redirects, ref.leaves = navigates, leaves
	if ref.loginURL = s.loginURL(r); again {
		ref.loginURL = withParameter(ref.loginURL, "again", "1")
	}
	return ref
}

// writeJSON writes the refusal as problem details. Programs with a bearer token cannot
// use the login page.
func (ref *refusal) writeJSON(w http.ResponseWriter, r *http.Request) {
	s, p, loginURL := settingsOf(r.Context()), &ref.problem, ""
	if (needsSignIn(p.Code) || p.Code == codeSignInAgain) && !errors.Is(p.Err, session.ErrBearer) {
		loginURL = s.knownLoginURL()
	}
	if loginURL != "" && p.Code == codeReauthenticate {
		loginURL = withParameter(loginURL, "again", "1")
	}
	s.prepared.body(ref, loginURL).write(w, p.Status)
}

// needsSignIn reports whether the user has to sign in because of a problem.
func needsSignIn(code string) bool { return code == codeUnauthenticated || code == codeReauthenticate }

// page returns the page that shows the refusal of r.
func (ref *refusal) page(r *http.Request) Page {
	p := &ref.problem
	page := NewPage(r, "refusal")
	page.Title = page.titleOf(p)
	page.Status, page.Code, page.Field = p.Status, p.Code, p.Field
	page.Message = page.messageOf(p)
	page.LoginURL = ref.loginURL
	// The page has a link that repeats the request only if the request is safe. The link
	// would repeat a POST as a GET without its body.
	page.Retry = p.RetryAfter > 0 && isSafe(r)
	if p.Code == codeForbidden {
		page.showRoles(p.Err)
		page.showUser(r)
	}
	if page.Retry {
		page.addButton("page.retry", "")
	}
	if page.LoginURL != "" && p.Code == codeForbidden {
		page.addButton("login.other", page.LoginURL)
	} else if page.LoginURL != "" {
		page.addButton("login.title", page.LoginURL)
	}
	if page.Home != "" {
		page.addLink("page.home", page.Home)
	}
	return page
}

// showRoles adds the roles of a roleError.
func (p *Page) showRoles(err error) {
	var missing *roleError
	if !errors.As(err, &missing) {
		return
	}
	key := "forbidden.role"
	if len(missing.roles) > 1 {
		key = "forbidden.roles"
	}
	roles := strings.Join(missing.roles, ", ")
	p.Texts = append(p.Texts, p.Text(key, "role", roles, "roles", roles))
}

// titleOf returns the heading for a problem.
func (p *Page) titleOf(problem *Problem) string {
	if key := "title." + problem.Code; p.language.has(key) {
		return p.Text(key)
	}
	if text := http.StatusText(problem.Status); text != "" {
		return text
	}
	return p.Text("title.error")
}

// WantsPage reports whether the response to r, a success or a refusal, should be
// a page (or a redirect) rather than JSON. It returns true if the request's body
// is a form, or if the request has no body and either ranks text/html above JSON (RFC
// 9110, section 12.5.1), as browsers do, or is a request of htmx. It returns false
// under a prefix named by [WithAPI].
func WantsPage(r *http.Request) bool {
	if settingsOf(r.Context()).isAPI(r) {
		return false
	}
	return isForm(r) || !hasBody(r) && (prefersHTML(r.Header) || isHTMX(r.Header))
}

// isForm reports whether the request's body is a form. A browser that has sent a form
// shows the response to the user.
func isForm(r *http.Request) bool {
	typ, _ := contentType(r.Header)
	return typ == typeForm || typ == typeMultipart
}

// hasBody reports whether the request has a body. A ContentLength of -1 means that the
// length is unknown, so the body may still be empty.
func hasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

// isSafe reports whether the method only reads (RFC 9110, section 9.2.1). OPTIONS and
// TRACE are safe, too, but do not request a page.
func isSafe(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// isNavigation reports whether a browser shows the response as a page in a window
// or tab. Only then is a redirect to the login page useful. A script would follow
// the redirect and get a page in place of a status. A frame would show the login page
// inside another page, so it counts only with session.Config.Embedders.
func isNavigation(r *http.Request) bool {
	if !isSafe(r) {
		return false
	}
	// See https://www.w3.org/TR/fetch-metadata/. Scripts cannot set these fields.
	// Browsers omit them over plain HTTP, and Safari does before version 16.4.
	mode, dest := first(r.Header, "Sec-Fetch-Mode"), first(r.Header, "Sec-Fetch-Dest")
	if mode != "" || dest != "" {
		frame := dest == "iframe" || dest == "frame"
		return mode == "navigate" && (dest == "document" || frame && settingsOf(r.Context()).inFrames())
	}
	return prefersHTML(r.Header) && !isScript(r.Header)
}

// inFrames reports whether pages of other sites may show the app in frames.
func (s *settings) inFrames() bool { return len(s.embedders) > 0 }

// frameAncestors returns the sources of the directive frame-ancestors of the pages. It is
// the directive that a Manager adds to responses that have no policy with it.
func (s *settings) frameAncestors() string {
	if !s.inFrames() {
		return "'none'"
	}
	return "'self' " + strings.Join(s.embedders, " ")
}

// scriptFields are header fields that only scripts and prefetches send. Common
// libraries use these fields to mark requests or to send CSRF tokens. Checking
// Accept is not enough, because some of the libraries prefer text/html. Browsers
// add Origin to requests by scripts, but not to a GET that follows a link.
var scriptFields = []string{
	"Datastar-Request", "Hx-Request", "Next-Router-State-Tree", "Origin", "Purpose", "Rsc", "Sec-Purpose", "Turbo-Frame",
	"X-Alpine-Request", "X-Barba", "X-Csrf-Token", "X-Inertia", "X-Livewire", "X-Moz", "X-Pjax", "X-Pjax-Container", "X-Purpose",
	"X-Turbo-Request-Id", "X-Up-Target", "X-Up-Version", "X-Xsrf-Token",
}

// isScript reports whether the header of a GET or HEAD request shows that a
// script or a prefetch made it.
func isScript(h http.Header) bool {
	for _, name := range scriptFields {
		if _, ok := h[name]; ok {
			return true
		}
	}
	by := first(h, "X-Requested-With")
	// A browser view inside an Android app sends the app's name, such as
	// "com.example.app", even when the user follows a link. Names of script
	// libraries, such as "XMLHttpRequest", have no dot.
	return by != "" && !strings.Contains(by[:min(len(by), 256)], ".")
}
