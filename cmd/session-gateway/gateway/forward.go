package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// forwarder forwards requests to one upstream. All requests to upstreams go through its
// rewrite, which removes the gateway's cookies and the client's copies of its fields.
type forwarder struct {
	g       *Gateway
	target  *url.URL // without a slash at the end of its path
	strip   string   // the path that is removed, without a slash at its end
	roles   []string
	headers []Header
	proxy   *httputil.ReverseProxy
}

func (g *Gateway) newForwarder(u Upstream) *forwarder {
	target := *u.URL
	target.Path = trimSlash(absolute(target.Path))
	f := &forwarder{g: g, target: &target, roles: slices.Clone(u.Roles), headers: slices.Clone(u.Headers)}
	if u.StripPath {
		f.strip = trimSlash(u.Path)
	}
	transport := newTransport(max(0, cmp.Or(u.Timeout, defaultTimeout)))
	g.transports = append(g.transports, transport)
	f.proxy = &httputil.ReverseProxy{
		Transport:      transport,
		BufferPool:     buffers,
		ErrorLog:       slog.NewLogLogger(g.session.Logger.Handler(), slog.LevelDebug), // a client has disconnected
		Rewrite:        f.rewrite,
		ModifyResponse: f.modifyResponse,
		ErrorHandler:   f.handleError,
	}
	return f
}

// newTransport returns the transport to one upstream. It never repeats a request with an
// unsafe method; see rewrite.
func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // the response is the client's
		MaxIdleConns:           1000,
		MaxIdleConnsPerHost:    200,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 1 << 20,
	}
}

// forwarded is one request that is forwarded.
type forwarded struct {
	session *session.Session // nil if the path is public
	token   string           // for Authorization, or empty
	life    *lifetime
}

type forwardedKey struct{}

func forwardedOf(ctx context.Context) *forwarded {
	x, _ := ctx.Value(forwardedKey{}).(*forwarded)
	return x
}

// serve forwards a request that the user may send. s is nil on public paths.
func (f *forwarder) serve(w http.ResponseWriter, r *http.Request, s *session.Session, token string) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	x := &forwarded{session: s, token: token}
	ctx = context.WithValue(ctx, forwardedKey{}, x)
	x.life = &lifetime{ctx: ctx, cancel: cancel, session: s}
	defer x.life.begin().Stop()
	f.proxy.ServeHTTP(&responseWriter{w, f.g.cookies}, r.WithContext(ctx))
}

// keepWebSocket removes a request to switch to another protocol than WebSocket. With HTTP/2
// without TLS, further requests would reach the service without a check of roles, and with
// forged fields.
func keepWebSocket(h http.Header) {
	if !strings.EqualFold(h.Get("Upgrade"), "websocket") {
		delete(h, "Upgrade")
		delete(h, "Connection")
	}
	delete(h, "Http2-Settings")
}

// rewrite sets the request to the upstream. httputil has already removed the hop-by-hop
// fields, so a client cannot remove the fields that are set here by naming them in
// Connection.
func (f *forwarder) rewrite(r *httputil.ProxyRequest) {
	x := forwardedOf(r.In.Context())
	f.address(r.Out.URL)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // httputil has removed parameters that it cannot parse
	r.Out.Host = r.In.Host                 // services compare it with the Origin of a WebSocket

	f.g.cookies.removeFrom(r.Out.Header)
	removeReserved(r.Out.Header)
	removeReserved(r.Out.Trailer)
	keepWebSocket(r.Out.Header)
	f.describe(r)
	// A bearer token that the gateway has accepted is meant for the gateway.
	if slices.Contains(f.headers, Token) || x.session != nil && hasBearer(r.Out.Header) {
		delete(r.Out.Header, tokenField)
	}
	if x.token != "" {
		r.Out.Header.Set(tokenField, "Bearer "+x.token)
	}
	if x.session != nil {
		identify(r.Out.Header, f.headers, x.session)
	}
	if h := r.Out.Header; r.Out.Body == nil && (h["Idempotency-Key"] != nil || h["X-Idempotency-Key"] != nil) {
		// The transport repeats a request that has one of these fields and no body. It does
		// not repeat a request with a body, even if the body is empty.
		r.Out.Body = io.NopCloser(strings.NewReader(""))
	}
}

// address changes the address of the request to that at the upstream.
func (f *forwarder) address(u *url.URL) {
	u.Scheme, u.Host = f.target.Scheme, f.target.Host
	u.Path = f.target.Path + strings.TrimPrefix(u.Path, f.strip)
	if u.RawPath != "" {
		u.RawPath = f.target.Path + strings.TrimPrefix(u.RawPath, f.strip) // both prefixes have one spelling
	}
	if u.Path == "" {
		u.Path = "/"
	}
}

// describe sets the fields that describe the client's request. There is one address in
// X-Forwarded-For: that of the client.
func (f *forwarder) describe(r *httputil.ProxyRequest) {
	h := r.Out.Header
	if addr := f.g.cfg.Manager.ClientAddr(r.In); addr.IsValid() {
		set(h, "X-Forwarded-For", addr.String())
	}
	set(h, "X-Forwarded-Host", r.In.Host)
	proto := "http"
	if r.In.TLS != nil {
		proto = "https"
	}
	if sent := r.In.Header.Get("X-Forwarded-Proto"); (sent == "http" || sent == "https") && f.g.trusts(r.In) {
		proto = sent
	}
	set(h, "X-Forwarded-Proto", proto)
	set(h, "X-Forwarded-Prefix", f.g.session.BasePath+f.strip)
}

// modifyResponse checks the upstream's response, and removes cookies with the gateway's
// names.
func (f *forwarder) modifyResponse(res *http.Response) error {
	f.g.cookies.rejectFrom(res.Header)
	mediaType, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	if res.StatusCode == http.StatusSwitchingProtocols || strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream") {
		forwardedOf(res.Request.Context()).life.stream(f.g.streams)
	}
	return nil
}

// handleError refuses a request to which the upstream has not responded.
func (f *forwarder) handleError(w http.ResponseWriter, r *http.Request, err error) {
	why := failureOf(err)
	p := &middleware.Problem{
		Status: http.StatusBadGateway, Code: "upstream_unavailable",
		Detail: "The service behind this address is not available.", Err: why,
	}
	var timeout net.Error
	switch cause := context.Cause(r.Context()); {
	case errors.Is(cause, session.ErrEnded):
		middleware.Refuse(w, r, session.ErrEnded)
		return
	case errors.Is(cause, context.Canceled):
		return // the client has disconnected
	case errors.As(err, &timeout) && timeout.Timeout():
		p.Status, p.Code = http.StatusGatewayTimeout, "upstream_timeout"
		p.Detail = "The service behind this address does not respond."
	}
	f.g.session.Logger.WarnContext(r.Context(), p.Code, "upstream", f.target.Host, "error", why)
	middleware.Refuse(w, r, p)
}

// failureOf returns the part of an error of the transport that may be logged. Other errors
// quote the upstream's response, which may repeat the user's access token.
func failureOf(err error) error {
	var (
		network *net.OpError
		timeout net.Error
		cert    *tls.CertificateVerificationError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &network):
		return network
	case errors.As(err, &timeout) && timeout.Timeout():
		return os.ErrDeadlineExceeded
	case errors.As(err, &cert):
		return cert
	case errors.As(err, &record):
		return record
	}
	for _, known := range []error{http.ErrSchemeMismatch, io.ErrUnexpectedEOF, io.EOF, context.Canceled} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errors.New("invalid response")
}

// responseWriter keeps cookies that would replace the gateway's out of informational
// responses, such as 103 Early Hints. modifyResponse does not see these.
type responseWriter struct {
	http.ResponseWriter
	cookies ownCookies
}

func (w *responseWriter) WriteHeader(status int) {
	if status < 200 {
		w.cookies.rejectFrom(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController, with which the proxy flushes and hijacks.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bufferPool has the buffers in which responses are copied.
type bufferPool struct{ pool sync.Pool }

var buffers = &bufferPool{sync.Pool{New: func() any { return new([32 << 10]byte) }}}

func (p *bufferPool) Get() []byte  { return p.pool.Get().(*[32 << 10]byte)[:] }
func (p *bufferPool) Put(b []byte) { p.pool.Put((*[32 << 10]byte)(b)) }
