package middleware

import (
	"context"
	"net/http"

	"github.com/synmetrix/session"
)

// Loader is what [Sessions] is made of. It is for adapters to frameworks with
// middleware of their own kind, and no program needs it that has Sessions or
// such an adapter. Its methods are safe for concurrent use.
//
//	var x middleware.Exchange
//	if !l.Begin(&x, w, r) {
//		return next(w, r)
//	}
//	defer x.End()
//	w, r = x.Writer(), x.Request()
//	if err := x.Check(); err != nil {
//		middleware.Refuse(w, r, err)
//	} else {
//		next(w, r)
//	}
//	return x.Commit()
type Loader struct {
	settings *settings
}

// NewLoader returns a Loader that does what Sessions does with the same
// arguments.
func NewLoader(m *session.Manager, opts ...Option) *Loader {
	s := &settings{manager: m, base: m.BasePath(), loginPath: m.LoginPath(), home: "/", pages: builtInPages(), log: m.Logger()}
	for _, opt := range opts {
		opt(s)
	}
	return &Loader{s}
}

// Begin loads the session of r into x, which must be zero and must not be
// copied afterwards. It returns false, and has done nothing, if r is inside of
// another Sessions of the same Manager, or what is like it, already.
func (l *Loader) Begin(x *Exchange, w http.ResponseWriter, r *http.Request) bool {
	m := l.settings.manager
	if s := settingsIn(r.Context()); s != nil && s.manager == m {
		return false
	}
	r, began := m.Begin(r.WithContext(context.WithValue(r.Context(), settingsKey{}, l.settings)))
	x.manager = m
	x.writer = writer{w: w, r: r, x: began}
	return true
}

// Exchange is a request that [Loader.Begin] has loaded the session of, and its
// response.
type Exchange struct {
	manager *session.Manager
	writer  writer
}

// Writer returns what the response must be written to.
func (x *Exchange) Writer() http.ResponseWriter { return x.writer.wrapped() }

// Request returns the request with the session in its context.
func (x *Exchange) Request() *http.Request { return x.writer.r }

// Check returns an error for [Refuse] if the request carries our cookie and
// session.Manager.CheckOrigin refuses it, or if [WithCleanPaths] refuses its
// path. It is called once, before the handler.
func (x *Exchange) Check() error {
	if settingsOf(x.writer.r.Context()).cleanPaths && !isClean(x.writer.r.URL) {
		return &Problem{Status: http.StatusNotFound}
	}
	// Without a cookie of ours a request from another origin can do no harm: it
	// is one of a visitor who is not signed in.
	if !x.writer.x.CarriesCookie() {
		return nil
	}
	return x.manager.CheckOrigin(x.writer.r)
}

// Commit saves the session and sets its cookies unless the response has begun,
// which has done so. It is called after the handler, but not after a panic.
//
// Its error is that of the first try, or nil. Then the response is a refusal
// with status 503, and has been written.
func (x *Exchange) Commit() error {
	x.writer.commit()
	return x.writer.failed
}

// End ends the exchange, after a panic too. It sends nothing: where the
// handler has panicked, whoever answers for it sends the cookies, through
// Writer or past it.
func (x *Exchange) End() {
	if w := &x.writer; !w.committed {
		w.prepare()
		w.failed = nil // nothing has been sent that the answer would have to be kept from
	}
	// What fails here has been logged by the Manager; the response is gone.
	_ = x.writer.x.End()
}
