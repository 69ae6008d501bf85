package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Transport is an [http.RoundTripper] that calls APIs as the user who is signed in
// to the session of the request's context. Make one with [Manager.Transport]. A
// Transport is safe for concurrent use; set its fields before the first use.
type Transport struct {
	// Base sends the requests. Default (nil): http.DefaultTransport.
	Base http.RoundTripper

	m       *Manager
	origins map[string]bool // that may receive the access token
	err     error           // of Manager.Transport; all requests fail with it
}

// Transport returns a round tripper for an http.Client that calls APIs at the
// given hosts as the user who is signed in:
//
//	api := &http.Client{Transport: m.Transport("api.example.org")}
//	req, err := http.NewRequestWithContext(r.Context(), "GET", "https://api.example.org/orders", nil)
//	resp, err := api.Do(req)
//
// Requests to these hosts carry the session's access token as a bearer token (RFC 6750);
// requests to other hosts are sent unchanged. The token is refreshed first if it is due. If
// the API responds with status 401, the token is refreshed and the request is sent once
// more, provided that its body can be read again (see http.Request.GetBody). If the API
// rejects the new token, too, RoundTrip returns the response with status 401. Later 401
// responses then do not refresh the token again.
//
// If the request in the context has a bearer token, the token is passed on as it is.
//
// If no user is signed in, a request to these hosts is not sent. Its error is
// [ErrUnauthenticated], [ErrSessionUnavailable] or [ErrEnded] as for
// [Session.AccessToken], or [ErrNotLoaded] if the request's context has not passed
// the session middleware of this Manager.
//
// A host is "name" or "name:port" and allows https, and for localhost and loopback
// addresses also http. "http://name:port" allows http for other hosts. Without a port
// the host allows the scheme's default port. If a host is invalid, every request
// fails.
func (m *Manager) Transport(hosts ...string) *Transport {
	t := &Transport{m: m, origins: map[string]bool{}}
	if len(hosts) == 0 {
		t.err = errors.New("session: Transport: no host is given")
	}
	for i, h := range hosts {
		scheme, host, ok := strings.Cut(h, "://")
		if !ok {
			scheme, host = "https", h
		}
		u, err := url.Parse(scheme + "://" + host)
		if err != nil || u.Host != host || u.Hostname() == "" || scheme != "https" && scheme != "http" {
			// Not quoted: a URL with a password may have been set by mistake.
			t.err = fmt.Errorf("session: Transport: argument %d is not a host", i+1)
			continue
		}
		t.origins[origin(u)] = true
		if !ok && isLoopback(u.Hostname()) {
			u.Scheme = "http"
			t.origins[origin(u)] = true
		}
	}
	return t
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// origin returns the scheme, host and port of u. Different spellings of one origin
// have the same result.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// RoundTrip sends req; see [Manager.Transport].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	base := t.base()
	if t.err == nil && (req.URL == nil || !t.origins[origin(req.URL)]) { // Base rejects a request without a URL
		return base.RoundTrip(req)
	}
	s, token, err := t.token(req.Context())
	if err != nil {
		// A RoundTripper closes the body, also on errors.
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := base.RoundTrip(withBearer(req, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	// The retry needs a second copy of the body. Without it, return the response of the
	// API.
	again := req
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil
		}
		body, err := req.GetBody()
		if err != nil {
			return resp, nil
		}
		again = req.Clone(req.Context())
		again.Body = body
	}
	newer, err := s.replaceToken(req.Context(), token)
	if err != nil || newer == token {
		if again != req {
			_ = again.Body.Close()
		}
		return resp, nil
	}
	// A connection is reused only if the response has been read to its end. Reading a long
	// response costs more than a new connection.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return base.RoundTrip(withBearer(again, newer))
}

// token returns the session of a request's context and its access token.
func (t *Transport) token(ctx context.Context) (*Session, string, error) {
	if t.err != nil {
		return nil, "", t.err
	}
	x, err := t.m.loaded(ctx)
	if err != nil {
		return nil, "", err
	}
	s := x.visible()
	token, err := s.AccessToken(ctx)
	return s, token, err
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

// CloseIdleConnections closes the idle connections of Base.
// http.Client.CloseIdleConnections calls it.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// withBearer returns a copy of req with the token. A RoundTripper must not modify the
// request.
func withBearer(req *http.Request, token string) *http.Request {
	r := req.Clone(req.Context())
	if r.Header == nil { // of a request that no http.Client sends
		r.Header = http.Header{}
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}
