// Package synmetrix is the client of a Synmetrix auth service, which speaks
// the HTTP API of Hasura Backend Plus v2.7.1.
//
// A [Client] holds no tokens: they are values, passed in and returned. It
// implements [auth.Service], [auth.PasswordLogin] and [auth.SecondFactor], all
// that a session.Manager uses:
//
//	m, err := session.New(session.Config{
//		Auth: synmetrix.NewClient("https://app.synmetrix.org"),
//		Keys: keys,
//	})
//
// # Errors
//
// A failed call returns a [*auth.Error] whose Op is the method's name
// ("login", "change_password"), whose Code is one of this package's Code
// constants, and which wraps one or more of the sentinels of package session.
// No error, at any depth, holds a URL, a token, a password or
// an e-mail address; the service's own text is in AuthError.Message alone.
//
// # What reaches the service
//
// Refreshing is a GET that uses up its token, so it must not be repeated by
// anybody. The client sends each request at most once, over HTTP/1.1, follows
// no redirect, keeps no cookies, reads at most 1 MiB of an answer and bounds
// each call by a deadline. Where it cannot tell whether the service has
// carried out a request, the error wraps [auth.ErrOutcomeUnknown].
package synmetrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// DefaultTimeout bounds a call of a [Client] whose context has no deadline, from
// looking up the host to the last byte of the response.
const DefaultTimeout = 10 * time.Second

var (
	_ auth.Service       = (*Client)(nil)
	_ auth.PasswordLogin = (*Client)(nil)
	_ auth.SecondFactor  = (*Client)(nil)
)

// Client calls one auth service. It is made by [NewClient], keeps no state
// but idle connections, and is safe for concurrent use.
type Client struct {
	base      string // without a trailing slash; empty if err is set
	err       error
	timeout   time.Duration
	logger    *slog.Logger
	transport http.RoundTripper
}

// Option changes a setting of a [Client].
type Option func(*Client)

// WithTimeout bounds each call, from looking up the host to the last byte of
// the response. A deadline of the call's context counts too, where it is the
// earlier one. The default, also for zero and less, is the context's deadline
// alone, and [DefaultTimeout] for a context that has none: a session.Manager
// gives a refresh more time than the requests that wait for it.
func WithTimeout(d time.Duration) Option {
	return func(c *Client) { c.timeout = d }
}

// WithLogger makes the client write a line at debug level for each request to
// the service, with the call's name, status, duration and code. The default,
// also for nil, is to write nothing. No secret and no e-mail address is ever
// logged.
func WithLogger(l *slog.Logger) Option {
	return func(c *Client) { c.logger = l }
}

// WithTransport replaces the way requests are sent, for a private certificate
// authority, a proxy of one's own, or tracing. The default, also for nil, is a
// [NewTransport]. Start from one: the promise that a refresh is sent at most
// once is only as good as the transport that keeps it.
//
// A transport sees every secret: tokens and tickets in the query, access tokens
// in Authorization, passwords in the body. One that traces or logs must record
// no more of a request than its method, host and path. If it cannot be told to,
// trace the calls of the Client instead.
func WithTransport(t http.RoundTripper) Option {
	return func(c *Client) { c.transport = t }
}

// NewClient returns a client of the auth service at baseURL, the address to
// which "/auth/login" and the like are appended. It is an http or https
// address that may have a path; a trailing slash is dropped.
//
// An address that cannot be used is reported by [Client.Validate], and by
// every call.
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

// parseBase checks an address and returns it without its trailing slash. Its
// errors quote nothing that may be a password.
func parseBase(raw string) (string, error) {
	fault := func(what string) (string, error) {
		if strings.Contains(raw, "@") {
			return "", errors.New("auth service address: " + what)
		}
		return "", fmt.Errorf("auth service address %s: %s", strconv.Quote(raw), what)
	}
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
		return fault("not a URL") // url.Parse reads hosts that it does not read again
	}
	return base, nil
}

// Validate reports whether the client can be used. It returns the fault of the
// address that it was made with, and sends nothing.
func (c *Client) Validate() error {
	if c.err != nil {
		return fmt.Errorf("synmetrix: %w", c.err)
	}
	if c.base == "" {
		return errors.New("synmetrix: the Client was not made by NewClient")
	}
	return nil
}

// CloseIdleConnections closes connections that wait to be used again. Calls in
// progress are not interrupted. Without it, idle connections are closed after
// four seconds.
func (c *Client) CloseIdleConnections() {
	if t, ok := c.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// String returns a text with the address of the service.
func (c Client) String() string { return "synmetrix.Client(" + c.base + ")" }

// Format prints the client as String does, for every verb: what an own
// transport holds, such as a proxy's password, stays out.
func (c Client) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }
