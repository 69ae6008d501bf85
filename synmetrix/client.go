// Package synmetrix is a client of Synmetrix auth services, which have the HTTP API of
// Hasura Backend Plus v2.7.1.
//
// A [Client] keeps no tokens. Its methods accept and return them as values. It implements
// [auth.Service] and all optional interfaces of package auth, which a session.Manager uses:
//
//	m, err := session.New(session.Config{
//		Auth: synmetrix.NewClient("https://app.synmetrix.org"),
//		Keys: keys,
//	})
//
// # Errors
//
// A failed call returns a [*auth.Error]. Its Op is the name of the call ("login",
// "change_password"), its Code is one of this package's Code constants, and it wraps one or
// more of the sentinels of package auth. No error, at any depth, contains a URL, a token, a
// password or an e-mail address. Only the field Message has the service's own text.
//
// # Requests
//
// A refresh is a GET that uses up its token, so it must not be sent twice. The client sends
// each request at most once, over HTTP/1.1. It follows no redirect, keeps no cookies, reads
// at most 1 MiB of a response, and bounds each call by a deadline. If the client cannot
// determine whether the service has executed a request, the error wraps
// [auth.ErrOutcomeUnknown].
package synmetrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// DefaultTimeout bounds a call of a [Client] if the context has no deadline. It
// covers everything from the DNS lookup to the last byte of the response.
const DefaultTimeout = 10 * time.Second

var (
	_ auth.Service       = (*Client)(nil)
	_ auth.PasswordLogin = (*Client)(nil)
	_ auth.SecondFactor  = (*Client)(nil)

	_ auth.Registration        = (*Client)(nil)
	_ auth.MagicLink           = (*Client)(nil)
	_ auth.PasswordChange      = (*Client)(nil)
	_ auth.PasswordReset       = (*Client)(nil)
	_ auth.EmailChange         = (*Client)(nil)
	_ auth.VerifiedEmailChange = (*Client)(nil)
	_ auth.SecondFactorSetup   = (*Client)(nil)
	_ auth.AccountDeletion     = (*Client)(nil)
	_ auth.ProviderLogin       = (*Client)(nil)
)

// Client calls one auth service. Create it with [NewClient]. It keeps no state
// except idle connections, and is safe for concurrent use.
type Client struct {
	base      string // without a trailing slash; empty if err is set
	err       error
	timeout   time.Duration
	logger    *slog.Logger
	transport http.RoundTripper
}

// Option changes a setting of a [Client].
type Option func(*Client)

// WithTimeout bounds each call, from the DNS lookup to the last byte of the
// response. If the context of the call has an earlier deadline, that deadline
// applies.
//
// If d is zero or negative, which is the default, the deadline of the context
// applies alone, or [DefaultTimeout] if the context has none. With this default
// a session.Manager can let a refresh run longer than the requests that wait for
// it.
func WithTimeout(d time.Duration) Option {
	return func(c *Client) { c.timeout = d }
}

// WithLogger makes the client log each request to the service at debug level,
// with the name, status, duration and code of the call. If l is nil, which is the
// default, the client logs nothing. It never logs a secret or an e-mail address.
func WithLogger(l *slog.Logger) Option {
	return func(c *Client) { c.logger = l }
}

// WithTransport sets the transport that sends the requests, for example for a
// private certificate authority, a proxy, or tracing. If t is nil, which is the
// default, the client uses a [NewTransport]. Base your own transport on
// NewTransport: a transport that repeats requests would send a refresh twice.
//
// A transport sees every secret: tokens and tickets in the query, access tokens in the
// Authorization header, passwords in the body. A transport that traces or logs must record
// only the method, host and path of a request. If you cannot configure the transport in
// this way, trace the calls of the Client instead.
func WithTransport(t http.RoundTripper) Option {
	return func(c *Client) { c.transport = t }
}

// NewClient returns a client of the auth service at baseURL. Paths such as
// "/auth/login" are appended to baseURL, which must be an http or https URL and
// may have a path. A trailing slash is removed.
//
// If baseURL is invalid, [Client.Validate] and every call return an error.
func NewClient(baseURL string, opts ...Option) *Client {
	c := &Client{}
	c.base, c.err = parseBase(baseURL)
	for _, opt := range opts {
		opt(c)
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	if c.transport == nil {
		c.transport = NewTransport()
	}
	return c
}

// parseBase checks a base URL and returns it without its trailing slash. Its errors do not
// quote the URL, which may contain a password or a key.
func parseBase(raw string) (string, error) {
	fault := func(what string) (string, error) { return "", errors.New("auth service address: " + what) }
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return fault("not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fault("must begin with http:// or https://")
	case u.Hostname() == "":
		return fault("has no host")
	case u.User != nil:
		return fault("must not hold a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fault("must not have a query or fragment")
	}
	base := strings.TrimRight(u.String(), "/")
	probe := Client{base: base}
	if _, err := probe.newRequest(context.Background(), request{method: http.MethodGet}); err != nil {
		// For some hosts url.Parse does not accept the output of String.
		return fault("not a URL")
	}
	return base, nil
}

// Validate returns an error if the client cannot be used, for example because its
// base URL is invalid. It sends no request.
func (c *Client) Validate() error {
	if c.err != nil {
		return fmt.Errorf("synmetrix: %w", c.err)
	}
	if c.base == "" {
		return errors.New("synmetrix: the Client was not created by NewClient")
	}
	return nil
}

// CloseIdleConnections closes the idle connections. It does not interrupt calls
// in progress. Otherwise idle connections close after four seconds.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// String returns a text with the base URL of the service.
func (c Client) String() string { return "synmetrix.Client(" + c.base + ")" }

// Format prints the text of String for every verb. Without it, fmt would print the fields
// of the transport, which may contain the password of a proxy.
func (c Client) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }
