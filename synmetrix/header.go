package synmetrix

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
)

// SetAuthorization makes h carry an access token as a bearer token (RFC 6750),
// as in
//
//	synmetrix.SetAuthorization(req.Header, token)
//
// An empty token removes the header.
func SetAuthorization(h http.Header, accessToken string) {
	if accessToken == "" {
		h.Del("Authorization")
		return
	}
	h.Set("Authorization", "Bearer "+accessToken)
}

// JWKSURL returns the address of the service's public keys (RFC 7517), or ""
// if the client cannot be used. A service that signs with a shared secret, which
// is the default, answers 501 there.
func (c *Client) JWKSURL() string { return c.address("/auth/jwks") }

// ProviderURL returns the address to which a browser is sent to sign in with
// another provider, such as "github" or "google". The service sends it back to
// the app with a refresh token in the query, for [Client.Refresh]. It is "" if
// the client cannot be used.
func (c *Client) ProviderURL(provider string) string {
	return c.address("/auth/providers/" + url.PathEscape(provider))
}

func (c *Client) address(path string) string {
	if c.Validate() != nil {
		return ""
	}
	return c.base + path
}

type clientAddrKey struct{}

// WithClientAddr returns a context with which calls tell the service on whose
// behalf they are made, in X-Forwarded-For. The service then limits the
// requests of each address by itself; without, all users of a server share one
// limit. An invalid address changes nothing.
//
// The address must be one that the server has seen itself, or was told by its
// own proxy.
//
// Of the calls of a session.Manager those that a request waits for carry it, as
// a login does. A refresh, and giving tokens back, may outlive the request that
// they are begun for, and do not.
func WithClientAddr(ctx context.Context, addr netip.Addr) context.Context {
	if !addr.IsValid() {
		return ctx
	}
	return context.WithValue(ctx, clientAddrKey{}, addr.Unmap().WithZone(""))
}

func setForwardedFor(ctx context.Context, h http.Header) {
	if addr, ok := ctx.Value(clientAddrKey{}).(netip.Addr); ok {
		h.Set("X-Forwarded-For", addr.String())
	}
}
