package middleware

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/synmetrix/session"
)

// writer is the http.ResponseWriter that handlers inside Sessions get. It
// commits the session before the first byte of the response.
//
// What a server's writer can do besides is only offered if that one can, by
// the types below. Each is a pointer to a writer and nothing else, so that
// none costs an allocation.
type writer struct {
	w http.ResponseWriter
	r *http.Request
	x *session.Exchange

	vary      [1]string // room for a field of the header
	committed bool
	failed    error // why the commit failed
}

type (
	plainWriter   struct{ *writer }
	flushWriter   struct{ *writer }
	hijackWriter  struct{ *writer }
	readWriter    struct{ *writer }
	flushHijacker struct{ *writer }
	flushReader   struct{ *writer }
	hijackReader  struct{ *writer }
	fullWriter    struct{ *writer }
)

func (w flushWriter) Flush()   { _ = w.flushError() }
func (w flushHijacker) Flush() { _ = w.flushError() }
func (w flushReader) Flush()   { _ = w.flushError() }
func (w fullWriter) Flush()    { _ = w.flushError() }

func (w flushWriter) FlushError() error   { return w.flushError() }
func (w flushHijacker) FlushError() error { return w.flushError() }
func (w flushReader) FlushError() error   { return w.flushError() }
func (w fullWriter) FlushError() error    { return w.flushError() }

func (w hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error)  { return w.hijack() }
func (w flushHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }
func (w hijackReader) Hijack() (net.Conn, *bufio.ReadWriter, error)  { return w.hijack() }
func (w fullWriter) Hijack() (net.Conn, *bufio.ReadWriter, error)    { return w.hijack() }

func (w readWriter) ReadFrom(src io.Reader) (int64, error)   { return w.readFrom(src) }
func (w flushReader) ReadFrom(src io.Reader) (int64, error)  { return w.readFrom(src) }
func (w hijackReader) ReadFrom(src io.Reader) (int64, error) { return w.readFrom(src) }
func (w fullWriter) ReadFrom(src io.Reader) (int64, error)   { return w.readFrom(src) }

// wrapped returns w as the type that can do what the server's writer can.
func (w *writer) wrapped() http.ResponseWriter {
	_, flush := w.w.(http.Flusher)
	_, hijack := w.w.(http.Hijacker)
	_, read := w.w.(io.ReaderFrom)
	switch {
	case flush && hijack && read:
		return fullWriter{w}
	case flush && hijack:
		return flushHijacker{w}
	case flush && read:
		return flushReader{w}
	case hijack && read:
		return hijackReader{w}
	case flush:
		return flushWriter{w}
	case hijack:
		return hijackWriter{w}
	case read:
		return readWriter{w}
	}
	return plainWriter{w}
}

// commit writes the session's cookies into the header, once, and reports
// whether the handler's response may go on. If it may not, the refusal is what
// has been sent.
func (w *writer) commit() bool {
	if w.committed {
		return w.failed == nil
	}
	w.prepare()
	if w.failed == nil {
		return true
	}
	h := w.w.Header()
	for _, name := range aboutBody {
		delete(h, name)
	}
	Refuse(w.w, w.r, w.failed)
	return false
}

// aboutBody are the header fields of a response that go with what it says.
var aboutBody = []string{
	"Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
	"Content-Location", "Content-Range", "Content-Type", "Etag", "Last-Modified", "Location", "Trailer",
	"Transfer-Encoding",
}

// prepare makes the header what it must be and sends nothing.
func (w *writer) prepare() {
	if w.committed {
		return
	}
	w.committed = true
	h := w.w.Header()
	// Here and not at the start, since handlers overwrite it.
	if !variesByCookie(h) {
		if h["Vary"] == nil {
			w.vary[0] = "Cookie"
			h["Vary"] = w.vary[:]
		} else {
			h.Add("Vary", "Cookie")
		}
	}
	w.failed = w.x.Commit(h)
}

func variesByCookie(h http.Header) bool {
	for _, field := range h["Vary"] {
		for name := range strings.SplitSeq(field, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Cookie") {
				return true
			}
		}
	}
	return false
}

func (w *writer) Header() http.Header {
	if w.failed != nil {
		// The header of a response that has been sent is of no use but for
		// trailers, and those would be the handler's.
		return http.Header{}
	}
	return w.w.Header()
}

func (w *writer) WriteHeader(status int) {
	// Informational responses come before the one with the cookies. Switching
	// protocols is the last of its kind and has a header of its own.
	if informational := status >= 100 && status < 200 && status != http.StatusSwitchingProtocols; informational && w.failed == nil || w.commit() {
		w.w.WriteHeader(status)
	}
}

func (w *writer) Write(p []byte) (int, error) {
	if !w.commit() {
		return 0, w.failed
	}
	return w.w.Write(p)
}

// WriteString makes io.WriteString as cheap as it is without the middleware.
func (w *writer) WriteString(s string) (int, error) {
	if !w.commit() {
		return 0, w.failed
	}
	return io.WriteString(w.w, s)
}

func (w *writer) flushError() error {
	if !w.commit() {
		return w.failed
	}
	return http.NewResponseController(w.w).Flush()
}

func (w *writer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.commit() {
		return nil, nil, w.failed
	}
	return w.w.(http.Hijacker).Hijack()
}

func (w *writer) readFrom(src io.Reader) (int64, error) {
	if !w.commit() {
		return 0, w.failed
	}
	return w.w.(io.ReaderFrom).ReadFrom(src)
}

// Unwrap is for http.ResponseController, which looks for what w is missing in
// the writers below: deadlines, for one, pass w by. Flush and Hijack must not,
// also where w does not have them because the writer below has them only by
// its own Unwrap.
func (w *writer) Unwrap() http.ResponseWriter {
	_, flush := w.w.(http.Flusher)
	_, hijack := w.w.(http.Hijacker)
	if _, deeper := w.w.(unwrapper); deeper && !(flush && hijack) {
		return below{w}
	}
	return w.w
}

type unwrapper interface{ Unwrap() http.ResponseWriter }

// below is what a writer unwraps to where a writer further down may be able to
// flush or hijack.
type below struct{ *writer }

func (b below) Unwrap() http.ResponseWriter { return b.w }

func (b below) FlushError() error {
	return b.control(func(c *http.ResponseController) error { return c.Flush() })
}

func (b below) Hijack() (conn net.Conn, rw *bufio.ReadWriter, err error) {
	err = b.control(func(c *http.ResponseController) error {
		conn, rw, err = c.Hijack()
		return err
	})
	return conn, rw, err
}

func (b below) control(do func(*http.ResponseController) error) error {
	if !b.commit() {
		return b.failed
	}
	return do(http.NewResponseController(b.w))
}
