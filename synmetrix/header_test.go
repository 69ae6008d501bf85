package synmetrix_test

import (
	"errors"
	"net/http"
	"net/netip"
	"testing"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

func TestSetAuthorization(t *testing.T) {
	t.Parallel()
	h := http.Header{"Accept": {"*/*"}}
	synmetrix.SetAuthorization(h, "a.b.c")
	if got := h.Get("Authorization"); got != "Bearer a.b.c" {
		t.Errorf("Authorization = %q", got)
	}
	synmetrix.SetAuthorization(h, "d.e.f")
	if got := h.Values("Authorization"); len(got) != 1 || got[0] != "Bearer d.e.f" {
		t.Errorf("Authorization = %q", got)
	}
	synmetrix.SetAuthorization(h, "")
	if _, ok := h["Authorization"]; ok || len(h) != 1 {
		t.Errorf("header = %v", h)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	c := synmetrix.NewClient("https://app.example/base/")
	if got, want := c.JWKSURL(), "https://app.example/base/auth/jwks"; got != want {
		t.Errorf("JWKSURL = %q, want %q", got, want)
	}
	if got, want := c.ProviderURL("github"), "https://app.example/base/auth/providers/github"; got != want {
		t.Errorf("ProviderURL = %q, want %q", got, want)
	}
	if got, want := c.ProviderURL("../x?y"), "https://app.example/base/auth/providers/..%2Fx%3Fy"; got != want {
		t.Errorf("ProviderURL = %q, want %q", got, want)
	}
	if got, want := c.String(), "synmetrix.Client(https://app.example/base)"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
	unusable := synmetrix.NewClient("app.example")
	if unusable.JWKSURL() != "" || unusable.ProviderURL("github") != "" {
		t.Error("a client with an invalid base URL returns addresses")
	}
}

func TestWithClientAddr(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
	c := newClient(t, srv.URL)
	for _, test := range []struct {
		addr netip.Addr
		want string
	}{
		{netip.Addr{}, ""},
		{netip.MustParseAddr("192.0.2.7"), "192.0.2.7"},
		{netip.MustParseAddr("::ffff:192.0.2.7"), "192.0.2.7"},
		{netip.MustParseAddr("2001:db8::1"), "2001:db8::1"},
		{netip.MustParseAddr("fe80::1%eth0"), "fe80::1"},
	} {
		if _, err := c.Refresh(synmetrix.WithClientAddr(testContext(t), test.addr), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
			t.Fatal(err)
		}
		seen := srv.requests()
		if got := seen[len(seen)-1].req.Header.Get("X-Forwarded-For"); got != test.want {
			t.Errorf("%v: X-Forwarded-For is %q, want %q", test.addr, got, test.want)
		}
	}
}

// A rate limit concerns the address that a call has forwarded, or else all calls of the
// program.
func TestRateLimitOfClientAddr(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(refusal(429, "You are being rate limited.")))
	c := newClient(t, srv.URL)
	for _, forwarded := range []bool{false, true} {
		ctx := testContext(t)
		if forwarded {
			ctx = synmetrix.WithClientAddr(ctx, netip.MustParseAddr("192.0.2.7"))
		}
		_, err := c.Login(ctx, "ada@example.com", "password")
		var failure *auth.Error
		if !errors.As(err, &failure) || failure.Code != synmetrix.CodeRateLimited || !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrRateLimited) == forwarded {
			t.Errorf("with an address %v: %v", forwarded, err)
		}
	}
}
