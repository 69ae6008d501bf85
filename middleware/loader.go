package middleware

import (
	"fmt"
	"net/http"

	"github.com/synmetrix/session"
)

// Loader does the work of [Sessions] in separate steps. It is for adapters to
// frameworks that have their own middleware types. Programs that use Sessions or
// such an adapter do not need it. Its methods are safe for concurrent use.
//
//	var scope middleware.Scope
//	if !l.Begin(&scope, w, r) {
//		return next(w, r)
//	}
//	defer scope.End()
//	w, r = scope.Writer(), scope.Request()
//	if err := scope.Check(); err != nil {
//		middleware.Refuse(w, r, err)
//	} else {
//		next(w, r)
//	}
//	return scope.Commit()
type Loader struct {
	settings *settings
}

// NewLoader returns a Loader. The arguments are those of [Sessions].
func NewLoader(m *session.Manager, opts ...Option) *Loader {
	cfg := m.Config()
	s := &settings{manager: m, base: cfg.BasePath, embedders: cfg.Embedders, loginPath: cfg.LoginPath, home: "/", pages: builtInPages(), log: cfg.Logger}
	for _, opt := range opts {
		opt(s)
	}
	// The languages are computed once, after all options, and not for each page.
	s.languages = builtInLanguages
	if s.addedTexts != nil {
		s.languages = newLanguages(s.addedTexts)
	}
	return &Loader{s}
}

// Begin loads the session of r into scope. The scope must be zero, and must not
// be copied afterwards. Begin returns false and does nothing if r is already
// inside a Scope of the same Manager.
func (l *Loader) Begin(scope *Scope, w http.ResponseWriter, r *http.Request) bool {
	m := l.settings.manager
	// Only one Scope may commit a session: two would set its cookies twice.
	if s := settingsIn(r.Context()); s != nil && s.manager == m {
		return false
	}
	// Tokens that are due are refreshed when a handler uses the user, and not here. So
	// files and public pages never wait for the auth service.
	scope.settings, scope.outer = l.settings, r
	scope.writer.w = w
	scope.ctx = settingsContext{r.Context(), l.settings}
	scope.writer.r = m.Begin(&scope.ctx, &scope.writer.x, r)
	return true
}

// Scope is one request inside [Sessions], together with its response. It lasts
// from [Loader.Begin] to [Scope.End].
type Scope struct {
	settings *settings
	outer    *http.Request // of Begin
	ctx      settingsContext
	writer   writer
}

// Format keeps the cookies of the request out of every fmt verb.
func (s *Scope) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("middleware.Scope" + redacted)) }

// Writer returns the ResponseWriter for the handler. A response that bypasses
// it carries no cookies.
func (s *Scope) Writer() http.ResponseWriter { return s.writer.wrapped() }

// Request returns the request with the session in its context.
func (s *Scope) Request() *http.Request { return s.writer.r }

// Check returns an error for [Refuse] if the request carries a session cookie
// and session.Manager.CheckOrigin rejects it, or if [WithCleanPaths] rejects its
// path. Call it once, before the handler.
func (s *Scope) Check() error {
	if s.settings.cleanPaths && !isClean(s.writer.r.URL) {
		return &Problem{Status: http.StatusNotFound}
	}
	// A cross-origin request without a session cookie has no user's rights to abuse.
	// Letting it through keeps public forms and webhooks working. The built-in routes check
	// the origin of every request; see guarded.
	if !s.writer.x.CarriesCookie() {
		return nil
	}
	return s.settings.manager.CheckOrigin(s.writer.r)
}

// Commit saves the session and sets its cookies, unless the response has begun:
// then its first byte has already committed. Call it after the handler returns,
// but not after a panic.
//
// Commit returns the error of the first attempt. If it is not nil, the response is
// a refusal, with status 413 if the values no longer fit (session.ErrTooLarge), 401 if the
// browser has signed in again meanwhile (session.ErrEnded), and
// otherwise 503.
func (s *Scope) Commit() error {
	s.writer.commit()
	return s.writer.failed
}

// End releases the session. It must be called even after a panic, and it writes
// no response. After a panic it adds the session's cookies to the header, for
// the outer middleware that recovers and writes the response.
func (s *Scope) End() {
	if w := &s.writer; !w.committed {
		w.prepare()
		// After a failed commit the writer discards all output, which would
		// otherwise follow the refusal. After a panic no refusal has been written,
		// so the recovering middleware may respond.
		w.failed = nil
	}
	// net/http deletes the files of a form after the handler, but knows only its own request.
	if form := s.writer.r.MultipartForm; form != nil {
		s.outer.MultipartForm = form
	}
	// It is too late to report the error to the client. The Manager has reported it
	// as an event.
	_ = s.writer.x.End()
}
