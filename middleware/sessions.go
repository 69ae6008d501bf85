package middleware

import (
	"context"
	"html/template"
	"log/slog"
	"net/http"
	"sync"

	"github.com/synmetrix/session"
)

// Sessions returns middleware that gives every request its session, which
// handlers get by session.FromContext, and every response its cookies. It goes
// around everything that has to do with sessions: handlers, guards and the
// ready-made routes.
//
// The session is saved, and its cookies are set, before the first byte of the
// response: when the handler writes, flushes or hijacks, or else returns. If
// that fails the response is a refusal with status 503, what the handler
// writes to it is dropped, and Write returns the error; a handler that wants
// to deal with such an error calls Session.Save before it writes. Values of a
// stored session may still change while a response goes out; they are saved at
// its end. A handler that panics gets its session's cookies set, too, if an
// outer middleware answers for it.
//
// An unsafe request (POST, PUT, DELETE and so on) that carries our cookie is
// refused if it comes from another origin, and so is one to switch protocols, as
// for a WebSocket; see session.Config.TrustedOrigins.
// All responses say that they vary by cookie. A response that sets one, and a
// response to a user whose session the handler has got before the first byte,
// says that it must not be stored, and loses what the handler has told caches.
// Other responses, such as files, keep it.
//
// The ResponseWriter that handlers get is an http.Flusher, http.Hijacker or
// io.ReaderFrom if the server's is one, and works with an
// http.ResponseController. It is never an http.Pusher.
//
// Inside another Sessions of the same Manager it does nothing.
func Sessions(m *session.Manager, opts ...Option) func(http.Handler) http.Handler {
	l := NewLoader(m, opts...)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var x Exchange
			if !l.Begin(&x, w, r) {
				next.ServeHTTP(w, r)
				return
			}
			defer x.End()
			w, r = x.Writer(), x.Request()
			if err := x.Check(); err != nil {
				Refuse(w, r, err)
			} else {
				next.ServeHTTP(w, r)
			}
			_ = x.Commit() // has been answered
		})
	}
}

// Option is a setting of [Sessions].
type Option func(*settings)

// WithAPI names prefixes of paths, such as "/api/", under which every refusal is
// JSON and none is a redirect to the login page, whatever the request accepts.
// They are paths as browsers see them, without session.Config.BasePath.
// Default: none.
func WithAPI(prefixes ...string) Option {
	return func(s *settings) { s.api = append(s.api, prefixes...) }
}

// WithHome sets where a browser goes after it has signed in or out, unless it
// had asked for a certain page, and where the links of refusals lead. It is a
// path as browsers see it, without session.Config.BasePath. Default: "/".
func WithHome(path string) Option {
	return func(s *settings) { s.home = path }
}

// WithCleanPaths refuses, with status 404, requests whose paths routers and file
// servers read in different ways: paths with dot segments, empty segments
// ("//"), backslashes, or encoded slashes, in any encoding, and paths of more
// than 2 KiB. See "Guards on paths" in the package documentation. Put Sessions
// around everything that serves files. Default: all paths are accepted.
func WithCleanPaths() Option {
	return func(s *settings) { s.cleanPaths = true }
}

// WithTemplates makes all pages of this package look as the app wants. t usually comes
// from [Templates] and redefines some of them:
//
//	t := template.Must(middleware.Templates().Parse(
//		`{{define "mark"}}<p><strong>Acme</strong> reports</p>{{end}}`))
//
// A template is executed with a [Page]. The pages' Content-Security-Policy
// allows the style element of the template "style", as it is when executed
// with the zero Page, and nothing else. One that the app has set before stays
// as it is: an app whose pages have pictures or files of styles sets its own.
//
// A page whose template is missing or fails is shown as built in, and the
// error logged. Default: Templates().
func WithTemplates(t *template.Template) Option {
	p := newPages(t)
	return func(s *settings) { s.pages = p }
}

// settings is what Sessions has been told, for everything inside it.
type settings struct {
	manager   *session.Manager
	base      string // what a proxy strips from the paths that browsers see
	loginPath string
	home      string
	api       []string

	cleanPaths bool
	pages      *pages
	log        *slog.Logger
	noLogin    sync.Once // logs that there is no login page
}

type settingsKey struct{}

// settingsOf returns the settings of the Sessions around a request. Outside of
// any there are none to obey.
func settingsOf(ctx context.Context) *settings {
	if s := settingsIn(ctx); s != nil {
		return s
	}
	return &settings{loginPath: "/login", home: "/", pages: builtInPages(), log: slog.Default()}
}

func settingsIn(ctx context.Context) *settings {
	s, _ := ctx.Value(settingsKey{}).(*settings)
	return s
}
