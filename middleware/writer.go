package middleware

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/synmetrix/session"
)

// writer is the http.ResponseWriter of handlers inside Sessions. It commits the
// session before the first byte of the response.
//
// Handlers and libraries use type assertions to find out whether a
// ResponseWriter can flush, hijack or read from a file. So a writer must have
// exactly the optional methods of the server's writer. Each of the types below has
// one combination of these methods. Each is a single pointer, so that converting it
// to an interface does not allocate.
type writer struct {
	w http.ResponseWriter
	r *http.Request
	x session.Exchange // a field, like the next one, and not a pointer: this saves allocations

	vary      [1]string // backing array of the header field Vary
	committed bool
	failed    error // the error of the commit
}

// The names say which methods the types have in addition to those of writer.
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

// wrapped returns w as the type with the optional methods of the server's writer.
func (w *writer) wrapped() http.ResponseWriter {
	_, flush := w.w.(http.Flusher)
	_, hijack := w.w.(http.Hijacker)
	_, read := w.w.(io.ReaderFrom)
	switch {
	// net/http's writer for HTTP/1 has all three methods, and that for HTTP/2 only Flush.
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

// commit commits the session, once, and reports whether the handler may write its
// response. If the commit fails, commit writes a refusal and returns false. The
// handler's response must not follow the refusal. It could report a saved change or
// a sign-in that did not happen.
func (w *writer) commit() bool {
	if w.committed {
		return w.failed == nil
	}
	w.prepare()
	if w.failed == nil {
		return true
	}
	h := w.w.Header()
	maps.DeleteFunc(h, func(name string, _ []string) bool {
		// The fields of htmx load another page, or report a success of the handler.
		return slices.Contains(bodyFields, name) || strings.HasPrefix(name, "Hx-")
	})
	Refuse(w.w, w.r, w.failed)
	return false
}

// bodyFields has the header fields that describe the handler's body or lead to
// another page. They would be wrong for a refusal that replaces the response.
var bodyFields = []string{
	"Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length",
	"Content-Location", "Content-Range", "Content-Type", "Etag", "Last-Modified", "Location", "Refresh",
	"Trailer", "Transfer-Encoding",
}

// prepare saves the session and completes the header, without writing it.
func (w *writer) prepare() {
	if w.committed {
		return
	}
	w.committed = true
	h := w.w.Header()
	// Vary is set here and not before the handler runs, because handlers set
	// the field and would remove "Cookie".
	if !variesByCookie(h) {
		if h["Vary"] == nil { // the common case, without an allocation
			w.vary[0] = "Cookie"
			h["Vary"] = w.vary[:]
		} else {
			h.Add("Vary", "Cookie")
		}
	}
	w.failed = w.x.Commit(h)
}

// variesByCookie reports whether the handler's Vary covers cookies already.
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

// Header returns the header of the response. After a failed commit it returns an
// empty one: the refusal has been written, and fields that the handler sets now
// could become its trailers.
func (w *writer) Header() http.Header {
	if w.failed != nil {
		return http.Header{}
	}
	return w.w.Header()
}

// WriteHeader commits first, unless the status is informational.
func (w *writer) WriteHeader(status int) {
	// An informational response, such as 103 Early Hints, precedes the final one,
	// and only the final one has the cookies. Status 101 (Switching Protocols) is
	// informational by its number, but no other response follows it.
	if informational := status >= 100 && status < 200 && status != http.StatusSwitchingProtocols; informational && w.failed == nil || w.commit() {
		w.w.WriteHeader(status)
	}
}

// Write commits first. After a failed commit it returns the error of the commit, so that
// the handler can stop.
func (w *writer) Write(p []byte) (int, error) {
	if !w.commit() {
		return 0, w.failed
	}
	return w.w.Write(p)
}

// WriteString implements io.StringWriter. Without it, io.WriteString would copy
// the string.
func (w *writer) WriteString(s string) (int, error) {
	if !w.commit() {
		return 0, w.failed
	}
	return io.WriteString(w.w, s)
}

// flushError flushes with a ResponseController, which reports errors. The Flush
// method of a server's writer does not.
func (w *writer) flushError() error {
	if !w.commit() {
		return w.failed
	}
	return http.NewResponseController(w.w).Flush()
}

// hijack commits first. Afterwards the handler writes to the connection itself, and a
// refusal would come too late.
func (w *writer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.commit() {
		return nil, nil, w.failed
	}
	return w.w.(http.Hijacker).Hijack()
}

// readFrom lets io.Copy use the server's ReadFrom, which sends files with sendfile.
func (w *writer) readFrom(src io.Reader) (int64, error) {
	if !w.commit() {
		return 0, w.failed
	}
	return w.w.(io.ReaderFrom).ReadFrom(src)
}

// Unwrap returns the underlying writer to an http.ResponseController, which
// searches it for methods that w does not have, such as SetReadDeadline.
//
// Flush and Hijack must not bypass w: they send the header, and it would have no
// cookies. If w has both of them, a ResponseController does not search further
// for them. If w lacks Flush or Hijack, the server's writer lacks it too, but may
// wrap a writer that has it. In this case Unwrap returns a writer that commits
// before it flushes or hijacks.
func (w *writer) Unwrap() http.ResponseWriter {
	_, flush := w.w.(http.Flusher)
	_, hijack := w.w.(http.Hijacker)
	// A writer that wraps no other cannot be bypassed, so the ResponseController may use it
	// directly.
	if _, deeper := w.w.(unwrapper); deeper && !(flush && hijack) {
		return unwrapped{w}
	}
	return w.w
}

// unwrapper is the interface by which an http.ResponseController finds an inner writer.
type unwrapper interface{ Unwrap() http.ResponseWriter }

// unwrapped commits the session before a ResponseController searches the underlying
// writers for Flush or Hijack; see writer.Unwrap.
type unwrapped struct{ *writer }

// Unwrap returns the underlying writer, for methods other than Flush and Hijack, which need
// no commit.
func (u unwrapped) Unwrap() http.ResponseWriter { return u.w }

// FlushError is the method of writers that an http.ResponseController prefers to Flush.
func (u unwrapped) FlushError() error {
	return u.control(func(c *http.ResponseController) error { return c.Flush() })
}

func (u unwrapped) Hijack() (conn net.Conn, rw *bufio.ReadWriter, err error) {
	err = u.control(func(c *http.ResponseController) error {
		conn, rw, err = c.Hijack()
		return err
	})
	return conn, rw, err
}

// control commits, and then calls do with a controller of the underlying writer.
func (u unwrapped) control(do func(*http.ResponseController) error) error {
	if !u.commit() {
		return u.failed
	}
	return do(http.NewResponseController(u.w))
}
