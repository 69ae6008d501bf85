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

// Transport is an [http.RoundTripper] that calls APIs as the user of the
// request's context. Make one with [Manager.Transport]. It is safe for
// concurrent use once it is in use.
type Transport struct {
	// Base sends the requests. Default: http.DefaultTransport.
	Base http.RoundTripper

	m       *Manager
	origins map[string]bool
	err     error
}

// Transport returns a round tripper for an http.Client that calls APIs at the
// given hosts as the user who is signed in:
//
//	api := &http.Client{Transport: m.Transport("api.example.org")}
//	req, err := http.NewRequestWithContext(r.Context(), "GET", "https://api.example.org/orders", nil)
//	resp, err := api.Do(req)
//
// A request to one of them, and to no other host, carries the session's access
// token as a bearer token (RFC 6750), renewed before if it is due. If the API
// answers 401 the token is renewed, and the request sent once more if its body
// can be (see http.Request.GetBody); a token that was renewed for this reason
// is not renewed again for it. Without a user the request is not sent, and its
// error is [ErrUnauthenticated], [ErrSessionUnavailable] or [ErrEnded], as of
// [Session.AccessToken], or [ErrNotLoaded] if the request's context has not come
// through the session middleware of this Manager.
//
// A host is "name" or "name:port" and is called over https, or over http too
// if it is a loopback address or localhost; "http://name:port" allows http
// elsewhere. Without a port it is the scheme's own. A host that is none makes
// every request fail.
func (m *Manager) Transport(hosts ...string) *Transport {
	t := &Transport{m: m, origins: map[string]bool{}}
	if len(hosts) == 0 {
		t.err = errors.New("session: Transport: no host is named")
	}
	for _, h := range hosts {
		scheme, host, ok := strings.Cut(h, "://")
		if !ok {
			scheme, host = "https", h
		}
		u, err := url.Parse(scheme + "://" + host)
		if err != nil || u.Host != host || u.Hostname() == "" || scheme != "https" && scheme != "http" {
			t.err = fmt.Errorf("session: Transport: %q is not a host", h)
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

// origin is the scheme, host and port of u, in one spelling.
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
	if t.err == nil && !t.origins[origin(req.URL)] {
		return base.RoundTrip(req)
	}
	s, token, err := t.token(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	resp, err := base.RoundTrip(withBearer(req, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
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
	newer, err := s.replace(req.Context(), token)
	if err != nil || newer == token {
		if again != req {
			_ = again.Body.Close()
		}
		return resp, nil
	}
	// What is left of a short answer is read, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return base.RoundTrip(withBearer(again, newer))
}

// token returns the session of a request's context and its access token.
func (t *Transport) token(ctx context.Context) (*Session, string, error) {
	if t.err != nil {
		return nil, "", t.err
	}
	x, err := t.m.exchange(ctx)
	if err != nil {
		return nil, "", err
	}
	s := x.session.Load()
	token, err := s.AccessToken(ctx)
	return s, token, err
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

// CloseIdleConnections closes those of Base, for http.Client.CloseIdleConnections.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func withBearer(req *http.Request, token string) *http.Request {
	r := req.Clone(req.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}
