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
	// idleTimeout is a second less than the idle timeout of the service, so that
	// the client never sends a request while the service closes the connection.
	idleTimeout = 4 * time.Second

	maxBody   = 1 << 20
	maxHeader = 64 << 10
)

// NewTransport returns a new transport with the settings that a [Client] uses by
// default. Change it as needed and pass it to [WithTransport].
//
// The transport uses HTTP/1.1 only, where net/http repeats a request in fewer
// cases than over HTTP/2. It closes idle connections after four seconds and honors
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

// request is one request to the service, and the rules for its response.
type request struct {
	op     string
	method string
	path   string
	query  url.Values
	body   fields // sent as JSON, unless nil
	bearer string // access token, or empty

	refusals refusals

	// decode decodes a 2xx response with a JSON object. It is nil for calls
	// without a result.
	decode func(response, members) error

	// redirect handles a 302, for calls that expect one.
	redirect func(response) error

	// partial marks a call that the service may have executed in part if it reports an
	// error.
	partial bool

	// check, if not nil, replaces all other rules for the response.
	check func(response) error
}

// fields are the members of a JSON object.
type fields map[string]any

// response is the response of the service, read into memory.
type response struct {
	op      string
	status  int
	header  http.Header
	body    []byte
	readErr error // why the body was not read to its end, or nil

	forwarded bool // the request had the address of a user; see WithClientAddr

	own     bool   // the body is an error in the service's format
	message string // of the service's error
}

var (
	errTooLarge  = errors.New("the body is too large")
	errAlert     = errors.New("the TLS connection failed")
	errTransport = errors.New("the exchange failed")
)

// call sends r once and returns the error for the response.
func (c *Client) call(ctx context.Context, r request) error {
	if err := c.Validate(); err != nil {
		return newError(r.op, CodeInvalidAddress, auth.ErrUnavailable, err)
	}
	start := time.Now()
	resp, err := c.send(ctx, r)
	switch {
	case err != nil:
	case r.check != nil:
		err = r.check(resp)
	default:
		err = resp.result(r)
	}
	c.log(ctx, r.op, resp.status, time.Since(start), err)
	return err
}

// send sends r and reads the response. It returns an *auth.Error if there is no
// response.
func (c *Client) send(ctx context.Context, r request) (response, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	none := response{op: r.op}
	if err := ctx.Err(); err != nil {
		return none, newError(r.op, CodeUnreachable, auth.ErrUnavailable, err)
	}

	var w watch
	req, err := c.newRequest(httptrace.WithClientTrace(ctx, w.trace()), r)
	if err != nil {
		return none, newError(r.op, CodeInvalidInput, auth.ErrRefused)
	}
	// An http.Client would follow redirects, send a Referer, keep cookies, and
	// return errors that quote the URL. The transport does none of this.
	httpResp, err := c.transport.RoundTrip(req)
	switch {
	case err != nil && w.unsent():
		return none, newError(r.op, CodeUnreachable, auth.ErrUnavailable, cause(ctx, err))
	case err != nil || httpResp == nil || httpResp.Body == nil:
		return none, newError(r.op, CodeNoResponse, auth.ErrUnavailable, auth.ErrOutcomeUnknown, cause(ctx, err))
	}
	defer httpResp.Body.Close()

	resp := response{op: r.op, status: httpResp.StatusCode, header: httpResp.Header}
	resp.forwarded = req.Header["X-Forwarded-For"] != nil
	if resp.status < 200 {
		// After a 101 the body is a raw connection that may stay open forever.
		return resp, nil
	}
	resp.body, err = io.ReadAll(io.LimitReader(httpResp.Body, maxBody+1))
	switch {
	case err != nil:
		resp.readErr = cause(ctx, err)
	case len(resp.body) > maxBody:
		resp.readErr = errTooLarge
	}
	resp.own, resp.message = resp.serviceError()
	return resp, nil
}

// bounded returns ctx with the deadline of one call added.
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

// onceBody is an empty body that cannot be rewound. If a reused connection is reset or
// closed before the response, http.Transport repeats a GET, unless the request has a body
// that it cannot send again. An empty body does not change the request that is sent.
type onceBody struct{}

func (onceBody) Read([]byte) (int, error) { return 0, io.EOF }
func (onceBody) Close() error             { return nil }

// watch records how far a transport got with a request.
type watch struct {
	connecting, connected atomic.Bool
}

func (w *watch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { w.connecting.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { w.connected.Store(true) },
	}
}

// unsent reports whether the request was certainly not sent: the transport tried
// to get a connection and got none. Once it has a connection, it may have written
// to it. A transport that ignores httptrace counts as having sent the request.
func (w *watch) unsent() bool { return w.connecting.Load() && !w.connected.Load() }

// cause returns the part of a transport error that may be logged. The texts of
// transport errors can quote URLs, headers and bytes that the peer sent. cause
// therefore returns only errors whose texts quote none of these.
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
		return errAlert // crypto/tls uses these names for alerts
	}
	for _, known := range []error{context.Canceled, http.ErrSchemeMismatch, io.ErrUnexpectedEOF, io.EOF, net.ErrClosed} {
		if errors.Is(err, known) {
			return known
		}
	}
	return errTransport
}

// certificateError returns the reason why a certificate was rejected, which operators need
// to fix the configuration.
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
