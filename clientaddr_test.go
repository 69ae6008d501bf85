package session_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
)

func TestClientAddr(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8")}
	m := managerWith(t, session.Config{TrustedProxies: trusted})
	for _, tt := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "198.51.100.1:1234", nil, "198.51.100.1"},
		{"the field of a client", "198.51.100.1:1234", []string{"203.0.113.9"}, "198.51.100.1"},
		{"without a port", "198.51.100.1", nil, "198.51.100.1"},
		{"IPv6", "[2001:db8::1]:1234", nil, "2001:db8::1"},
		{"a zone", "[fe80::1%eth0]:1234", nil, "fe80::1"},
		{"IPv4 as IPv6", "[::ffff:198.51.100.1]:1234", nil, "198.51.100.1"},
		{"no IP address", "@", []string{"203.0.113.9"}, "invalid IP"},
		{"nothing", "", nil, "invalid IP"},

		{"a proxy", "10.1.2.3:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a proxy as IPv6", "[::ffff:10.1.2.3]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		{"a proxy by IPv6", "[fd12::1]:1", []string{"2001:db8::2"}, "2001:db8::2"},
		{"a proxy without the field", "10.1.2.3:1", nil, "10.1.2.3"},
		{"forged members", "10.1.2.3:1", []string{"1.1.1.1, 10.1.0.1, 203.0.113.9"}, "203.0.113.9"},
		{"several proxies", "10.1.2.3:1", []string{"1.1.1.1,203.0.113.9, 192.0.2.7,10.1.9.9"}, "203.0.113.9"},
		{"several fields", "10.1.2.3:1", []string{"1.1.1.1", "203.0.113.9", "192.0.2.7"}, "203.0.113.9"},
		{"only proxies", "10.1.2.3:1", []string{"10.1.0.9, 192.0.2.7"}, "10.1.0.9"},
		{"a port", "10.1.2.3:1", []string{"203.0.113.9:8080"}, "203.0.113.9"},
		{"IPv6 with a port", "10.1.2.3:1", []string{"[2001:db8::2]:8080"}, "2001:db8::2"},
		{"a zone in the field", "10.1.2.3:1", []string{"2001:db8::2%a"}, "2001:db8::2"},

		{"no address", "10.1.2.3:1", []string{"203.0.113.9, unknown"}, "10.1.2.3"},
		{"an empty member", "10.1.2.3:1", []string{"203.0.113.9,"}, "10.1.2.3"},
		{"an empty field", "10.1.2.3:1", []string{""}, "10.1.2.3"},
		{"no address before the client's", "10.1.2.3:1", []string{"evil\x00, 203.0.113.9"}, "203.0.113.9"},
		{"a long member", "10.1.2.3:1", []string{strings.Repeat("1", 1<<20)}, "10.1.2.3"},
		{"a long zone", "10.1.2.3:1", []string{"2001:db8::2%" + strings.Repeat("1", 100)}, "10.1.2.3"},
		{"many proxies", "10.1.2.3:1", []string{"203.0.113.9" + strings.Repeat(",10.1.0.1", 31)}, "203.0.113.9"},
		{"too many proxies", "10.1.2.3:1", []string{"203.0.113.9" + strings.Repeat(",10.1.0.1", 32)}, "10.1.2.3"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := m.ClientAddr(r).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// A prefix that contains no address is an error, because it is a mistake of the operator.
func TestTrustedProxiesAreValid(t *testing.T) {
	for _, p := range []netip.Prefix{{}, netip.MustParsePrefix("::ffff:10.0.0.0/104")} {
		_, err := session.New(session.Config{
			Auth: &testkit.Service{}, Keys: []session.SecretKey{session.GenerateKey()}, TrustedProxies: []netip.Prefix{p},
		})
		if err == nil || !strings.Contains(err.Error(), "TrustedProxies") {
			t.Errorf("%v: error %v", p, err)
		}
	}
}
