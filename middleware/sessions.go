package middleware

import (
	"context"
	"html/template"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/synmetrix/session"
)

// Sessions returns middleware that loads the session of each request and sets its cookies
// in the response. Handlers get the session from session.FromContext. Sessions must be
// around all handlers, guards and built-in routes that use sessions.
//
// Sessions saves the session and sets its cookies before the first byte of the response:
// when the handler writes, flushes or hijacks, or when it returns without any of these. If
// saving fails, the response is a refusal: with status 413 if the values no longer fit, 401
// if the browser has signed in again in the meantime, and otherwise 503. The handler's
// Write then returns the error. A handler that needs the error before it writes calls
// Session.Save. The values of a stored session may still change while the handler writes;
// Sessions saves them when the handler returns. If a handler panics, Sessions sets the
// cookies in the header for an outer middleware that recovers and responds.
//
// Sessions refuses a cross-origin request that carries a session cookie if its
// method is unsafe (POST, PUT, DELETE and so on), or if it switches protocols, as
// for a WebSocket; see session.Config.TrustedOrigins.
//
// All responses have "Vary: Cookie". A response gets "Cache-Control: no-store",
// in place of the handler's own caching fields, if it sets a session cookie, or if
// the handler called session.FromContext for a signed-in user before the first
// byte. Other responses, such as files, keep the handler's caching fields.
//
// With session.Config.Embedders, all responses also have a Content-Security-Policy with
// frame-ancestors, and vary by Origin and Sec-Fetch-Storage-Access if they depend on them.
//
// The ResponseWriter of the handler is an http.Flusher, http.Hijacker or
// io.ReaderFrom if the server's is one, and works with an
// http.ResponseController. It is never an http.Pusher.
//
// Inside another Sessions of the same Manager, Sessions does nothing.
func Sessions(m *session.Manager, opts ...Option) func(http.Handler) http.Handler {
	l := NewLoader(m, opts...)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var scope Scope
			if !l.Begin(&scope, w, r) {
				next.ServeHTTP(w, r)
				return
			}
			// Deferred, because the session has to be released after a panic, too.
			defer scope.End()
			w, r = scope.Writer(), scope.Request()
			if err := scope.Check(); err != nil {
				Refuse(w, r, err)
			} else {
				next.ServeHTTP(w, r)
			}
			_ = scope.Commit() // on an error, Commit has written the response
		})
	}
}

// Option configures [Sessions].
type Option func(*settings)

// WithAPI names path prefixes, such as "/api/". Under them every refusal is JSON,
// whatever the request accepts, and none is a redirect to the login page. The
// prefixes are compared with the path that the server receives, which does not
// have session.Config.BasePath. Default: none.
func WithAPI(prefixes ...string) Option {
	return func(s *settings) { s.api = append(s.api, prefixes...) }
}

// WithHome sets the path of the start page. Browsers are redirected there after
// signing out, and after signing in if no other page was requested. Refusal
// pages link to it. session.Config.BasePath is added to the path. Default: "/".
// [WithSignedOutHome] and [WithLanding] set other pages.
func WithHome(path string) Option {
	return func(s *settings) { s.home = path }
}

// WithSignedOutHome sets the path of the page after signing out, if the request for
// the sign-out names no other page in return_to. session.Config.BasePath is added to
// the path. Default: the path of [WithHome].
func WithSignedOutHome(path string) Option {
	return func(s *settings) { s.signedOutHome = path }
}

// WithLanding sets a function that returns the path of the page after signing in, for
// example by the user's roles. It is used if no other page was requested. The path may have
// a query. session.Config.BasePath is added to it. If landing returns the empty string, the
// page is that of [WithHome]. The same applies if it returns an address that is not a path
// on this host, which is logged. landing is called once per sign-in whose response is a
// redirect, and must be safe for concurrent use. Default: none.
func WithLanding(landing func(*session.Session) string) Option {
	return func(s *settings) { s.landing = landing }
}

// WithCleanPaths refuses, with status 404, requests whose paths routers and file
// servers may interpret differently. These are paths of more than 2 KiB, and
// paths with dot segments, empty segments ("//"), backslashes, encoded slashes, and
// escapes that are unnecessary or have lower-case digits, in any encoding. So it
// also refuses "/caf%c3%a9" and "/%7Euser", but not "/caf%C3%A9" and "/~user". See
// "Guards on paths" in the package documentation. Sessions must be around all handlers
// that serve files. Default: all paths are accepted.
func WithCleanPaths() Option {
	return func(s *settings) { s.cleanPaths = true }
}

// WithTemplates sets the templates of this package's pages. t usually comes from
// [Templates] and redefines some of them:
//
//	t := template.Must(middleware.Templates().Parse(
//		`{{define "login"}}{{template "top" .}}<h1>Acme</h1>{{template "form" .}}{{template "bottom" .}}{{end}}`))
//
// The app's name, mark, links, texts and language need no template; see
// [WithBrand], [WithLinks], [WithTexts] and [WithLanguage]. The colors are in the
// template "colors".
//
// Templates are executed with a [Page]. By default the pages'
// Content-Security-Policy allows only the elements that the templates "style" and
// "script" produce, by their hashes, the script only with [WithShowPassword], and
// the page's own images in data URLs. An app whose pages need other images, style
// sheets or scripts sets that header field itself before the page is written.
//
// If a template is missing or fails, the built-in page is shown and the error is
// logged. Default: Templates().
func WithTemplates(t *template.Template) Option {
	p := newPages(t)
	return func(s *settings) { s.pages = p }
}

// settings are the settings of Sessions. They are in the context of its requests. Many
// requests share them, so no field changes after NewLoader, except noLoginOnce.
type settings struct {
	manager *session.Manager
	// Paths of the app are stored without the prefix of BasePath, as the server receives
	// them. Addresses for browsers get the prefix when a page or a redirect is written.
	base      string   // the prefix that a proxy strips from the paths that browsers see
	loginPath string   // without base
	embedders []string // the sites whose pages may show the app in frames
	home      string   // of WithHome, without base
	api       []string

	signedOutHome string // of WithSignedOutHome, without base, or empty
	landing       func(*session.Session) string

	cleanPaths     bool
	pages          *pages
	showPassword   bool
	appName        string
	appMark        template.URL
	links          []Link
	userText       func(*session.Session) string
	rememberMe     bool // see WithRememberMe, with the next two
	remembers      bool
	forgetAfter    time.Duration
	languages      map[string]*language // by canonical tags
	addedTexts     map[string]map[string]string
	chooseLanguage func(*http.Request) string
	log            *slog.Logger
	noLoginOnce    sync.Once // for logNoLogin
	prepared       preparedBodies
}

// settingsKey is the key of the settings in a context. Other packages cannot make one.
type settingsKey struct{}

// settingsContext is a context with the settings. It is a field of a Scope, and not made by
// context.WithValue, which saves an allocation.
type settingsContext struct {
	context.Context
	settings *settings
}

func (c *settingsContext) Value(key any) any {
	if key == (settingsKey{}) {
		return c.settings
	}
	return c.Context.Value(key)
}

// String names the context without the settings.
func (c *settingsContext) String() string { return "middleware.Sessions" }

// settingsOf returns the settings of the Sessions around a request, or the
// default settings if there is none. Refuse must work outside Sessions, because a
// missing Sessions is one of the errors that it reports.
func settingsOf(ctx context.Context) *settings {
	if s := settingsIn(ctx); s != nil {
		return s
	}
	return &settings{loginPath: "/login", home: "/", pages: builtInPages(), languages: builtInLanguages, log: slog.Default()}
}

// settingsIn returns the settings in ctx, or nil.
func settingsIn(ctx context.Context) *settings {
	s, _ := ctx.Value(settingsKey{}).(*settings)
	return s
}
