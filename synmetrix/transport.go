package synmetrix

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/synmetrix/session/auth"
)

const (
	// idleTimeout is a second less than the five after which the service
	// closes an idle connection, so that a request does not meet the close.
	idleTimeout = 4 * time.Second

	maxBody   = 1 << 20
	maxHeader = 64 << 10
)

// NewTransport returns a transport as a [Client] uses it by default, for
// programs that need to change something in it and pass it to [WithTransport].
//
// It speaks HTTP/1.1 only, since its rules about repeating a request are the
// simpler ones, gives idle connections up after four seconds, and honors
// HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
func NewTransport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: DefaultTimeout}).DialContext,
		TLSHandshakeTimeout:    DefaultTimeout,
		Protocols:              &protocols,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    100,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
	}
}

// request is one request to the service, and how its answer is read.
type request struct {
	op     string
	method string
	path   string
	query  url.Values
	body   fields // sent as JSON, unless nil
	bearer string // access token, or empty

	refusals refusals

	// decode reads a 2xx with a JSON object. Nil: nothing is expected in it.
	decode func(answer, members) error

	// redirect reads a 302, where that is an answer to the call.
	redirect func(answer) error

	// partial marks a call that the service may have carried out in part when
	// it reports its own failure.
	partial bool

	// judge replaces the reading of the whole answer, where it is not nil.
	judge func(answer) error
}

// fields are the members of a JSON object.
type fields map[string]any

// answer is what came back. Where the body could not be read to its end,
// broken says why.
type answer struct {
	op     string
	status int
	header http.Header
	body   []byte
	broken error
}

var (
	errTooLarge  = errors.New("the body is too large")
	errAlert     = errors.New("the TLS connection failed")
	errTransport = errors.New("the exchange failed")
)

// call sends r, once, and returns what its answer means.
func (c *Client) call(ctx context.Context, r request) error {
	if err := c.Validate(); err != nil {
		return newError(r.op, CodeInvalidAddress, auth.ErrUnavailable, err)
	}
	start := time.Now()
	a, err := c.exchange(ctx, r)
	switch {
	case err != nil:
	case r.judge != nil:
		err = r.judge(a)
	default:
		err = a.judge(r)
	}
	c.log(ctx, r.op, a.status, time.Since(start), err)
	return err
}

// exchange sends r and reads the answer. Its error is an *auth.Error,
// and means that there is none.
func (c *Client) exchange(ctx context.Context, r request) (answer, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	none := answer{op: r.op}
	if err := ctx.Err(); err != nil {
		return none, newError(r.op, CodeUnreachable, auth.ErrUnavailable, err)
	}

	var w watch
	req, err := c.newRequest(httptrace.WithClientTrace(ctx, w.trace()), r)
	if err != nil {
		return none, newError(r.op, CodeInvalidInput, auth.ErrRefused)
	}
	// The transport is used without an http.Client around it: redirects,
	// Referer, cookies, and errors that quote the URL are all the Client's.
	resp, err := c.transport.RoundTrip(req)
	switch {
	case err != nil && w.unsent():
		return none, newError(r.op, CodeUnreachable, auth.ErrUnavailable, cause(ctx, err))
	case err != nil || resp == nil || resp.Body == nil:
		return none, newError(r.op, CodeNoAnswer, auth.ErrUnavailable, auth.ErrOutcomeUnknown, cause(ctx, err))
	}
	defer resp.Body.Close()

	a := answer{op: r.op, status: resp.StatusCode, header: resp.Header}
	if a.status < 200 {
		// 101 turns the body into a raw connection that need not end.
		return a, nil
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		a.broken = cause(ctx, err)
	case len(a.body) > maxBody:
		a.broken = errTooLarge
	}
	return a, nil
}

// bounded returns ctx with the deadline of one call.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := c.timeout
	if _, ok := ctx.Deadline(); timeout <= 0 && !ok {
		timeout = DefaultTimeout
	}
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	switch {
	case r.body != nil:
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	case r.method == http.MethodGet:
		body = onceBody{}
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.base+r.path, body)
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = r.query.Encode()
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "synmetrix-session")
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.bearer != "" {
		SetAuthorization(req.Header, r.bearer)
	}
	setForwardedFor(ctx, req.Header)
	return req, nil
}

// onceBody is an empty body that cannot be rewound. A Transport repeats a GET
// by itself when a connection that was used before is reset or closed in place
// of an answer, unless the request has a body that it cannot send again. An
// empty one leaves no trace on the wire.
type onceBody struct{}

func (onceBody) Read([]byte) (int, error) { return 0, io.EOF }
func (onceBody) Close() error             { return nil }

// watch sees from outside the transport how far a request came.
type watch struct {
	asked, connected atomic.Bool
}

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { w.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { w.connected.Store(true) },
	}
}

// unsent reports whether the request certainly never left: the transport asked
// for a connection and got none. With a connection in hand anything may have
// been written to it, and a transport that does not trace tells nothing.
func (w *watch) unsent() bool { return w.asked.Load() && !w.connected.Load() }

// cause returns the part of a transport's error that is fit for a log. The
// texts of transport errors quote addresses, headers and what the peer sent,
// so that only kinds of error that are known not to are passed on.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var (
		timeout interface{ Timeout() bool }
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		op      *net.OpError
		errno   syscall.Errno
	)
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return context.DeadlineExceeded
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &cert):
		return certificateError(cert)
	case errors.As(err, &errno):
		return errno
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"):
		return errAlert // so crypto/tls calls them
	}
	for _, known := range []error{context.Canceled, http.ErrSchemeMismatch, io.ErrUnexpectedEOF, io.EOF, net.ErrClosed} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errTransport
}

// certificateError returns why a certificate was refused: the one kind of
// trouble at a handshake that an operator has to tell apart.
func certificateError(e *tls.CertificateVerificationError) error {
	var (
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(e, &host):
		return errors.New("the certificate is for another host")
	case errors.As(e, &authority):
		return errors.New("the certificate is signed by an unknown authority")
	case errors.As(e, &invalid) && invalid.Reason == x509.Expired:
		return errors.New("the certificate has expired or is not yet valid")
	}
	return errors.New("the certificate is not valid")
}
