package authtest

import (
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// perform carries out a request and sends the response, with the fault f.
func (s *Server) perform(w http.ResponseWriter, c *call, handle handler, f Fault) {
	if !s.sleep(f.Delay) || !f.Before.pass(s.done) {
		panic(http.ErrAbortHandler)
	}
	c.between = func() bool { return f.Between.pass(s.done) }
	c.down, c.noToken = f.BackendDown, f.NoToken
	var resp *Response
	if f.carryOut() {
		if resp = c.respond(handle); resp == nil {
			panic(http.ErrAbortHandler) // the server was closed meanwhile
		}
		s.finish(c.req, resp)
	}
	if f.Status != 0 || resp == nil {
		resp = f.response()
	}
	if !f.After.pass(s.done) {
		panic(http.ErrAbortHandler)
	}
	if f.Edit != nil {
		f.Edit(resp)
	}
	s.deliver(w, c.req, resp, f)
}

// sleep waits for d and returns true. It returns false if the server closes first.
func (s *Server) sleep(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.done:
		return false
	}
}

func (s *Server) deliver(w http.ResponseWriter, r *http.Request, resp *Response, f Fault) {
	switch f.Deliver {
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		panic(http.ErrAbortHandler)
	case Close:
		panic(http.ErrAbortHandler)
	case Reset:
		reset(w)
		return
	}

	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	body := resp.Body
	if resp.Status != http.StatusNoContent && resp.Status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	if r.Method == http.MethodHead {
		body = nil
	}
	half := f.Deliver == HalfThenClose || f.Deliver == HalfThenReset
	if half {
		body = body[:len(body)/2]
	}
	w.WriteHeader(resp.Status)
	if !s.write(w, body, f.Drip) {
		panic(http.ErrAbortHandler)
	}
	if !half {
		return
	}
	_ = http.NewResponseController(w).Flush()
	if f.Deliver == HalfThenReset {
		reset(w)
		return
	}
	panic(http.ErrAbortHandler)
}

// write sends a body at once, or in pieces over the time drip. It returns false if
// it cannot send the whole body.
func (s *Server) write(w http.ResponseWriter, body []byte, drip time.Duration) bool {
	if drip <= 0 {
		_, err := w.Write(body)
		return err == nil || err == http.ErrBodyNotAllowed
	}
	const maxPieces = 20
	size := len(body)/maxPieces + 1
	pause := drip / time.Duration(max(1, (len(body)+size-1)/size))
	for piece := range slices.Chunk(body, size) {
		if _, err := w.Write(piece); err != nil {
			return false
		}
		_ = http.NewResponseController(w).Flush()
		if !s.sleep(pause) {
			return false
		}
	}
	return true
}

// reset closes a connection with a TCP RST. If the connection is not TCP, reset
// closes it in the ordinary way.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	raw := conn
	if t, ok := conn.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = raw.Close()
}
