package synmetrix

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
)

// SetAuthorization sets the Authorization header to an access token, as a bearer
// token (RFC 6750):
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

// JWKSURL returns the URL of the service's public keys (RFC 7517), or "" if
// [Client.Validate] fails. A service that signs with a shared secret, which is the default,
// responds with 501 at this URL.
func (c *Client) JWKSURL() string { return c.address("/auth/jwks") }

// ProviderURL returns the URL where a browser signs in with another provider,
// such as "github" or "google". The service redirects the browser to the app with
// a refresh token in the query, for [Client.Refresh]. ProviderURL returns "" if
// [Client.Validate] fails.
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

// WithClientAddr returns a context that makes calls send the address of the user to the
// service, in X-Forwarded-For. The service then limits the requests of each address
// separately, and the error of such a call is not [auth.ErrRateLimited]: it does not concern
// other users. Without the address, all users of a server share one limit. An invalid address
// is ignored.
//
// The address must be the peer address of a connection, or come from your own
// proxy. An address that the user sets could be forged.
//
// A session.Manager passes the address on in calls that belong to one request,
// such as a login. A refresh or a logout may outlive the request that started it
// and carries no address.
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
