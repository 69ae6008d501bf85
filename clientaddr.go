package session

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ClientAddr returns the address of the client that sent r. This is the remote address of
// the connection, unless that is one of Config.TrustedProxies.
//
// A proxy appends the address that it received the request from to the header field
// X-Forwarded-For. ClientAddr reads the field from its end, skips the addresses of trusted
// proxies, and returns the first other address. The client may have sent the addresses
// before that one, so they are ignored. If all addresses are trusted, ClientAddr returns
// the first one in the field. If the field is malformed or too long, ClientAddr returns the
// address of the proxy that sent it.
//
// The result is an IPv4 address, or an IPv6 address without a zone. It is the zero Addr if
// the connection has no IP address, such as that of a Unix socket. A handler before this
// one may have changed r.RemoteAddr.
func (m *Manager) ClientAddr(r *http.Request) netip.Addr { return m.clientAddr(r.RemoteAddr, r.Header) }

// clientAddr is ClientAddr with the two parts of the request that it needs.
func (m *Manager) clientAddr(remoteAddr string, h http.Header) netip.Addr {
	peer := parseAddr(remoteAddr)
	if !m.trustsProxy(peer) {
		return peer
	}
	client := peer
	hops := 0
	// Several fields are one list, in the order of the fields (RFC 9110, section 5.3).
	for _, field := range slices.Backward(h["X-Forwarded-For"]) {
		for more := true; more; hops++ {
			var hop string
			field, hop, more = cutLast(field)
			client = parseAddr(strings.Trim(hop, " \t"))
			switch {
			case !client.IsValid() || hops == maxHops:
				return peer
			case !m.trustsProxy(client):
				return client
			}
		}
	}
	return client
}

const (
	maxHops     = 32 // the number of addresses that ClientAddr reads
	maxAddrText = 64 // bytes of an address with a port
)

// cutLast returns the last member of a list, and the members before it. more reports
// whether there are any. A member that is too long for an address is cut.
func cutLast(list string) (before, last string, more bool) {
	start := max(0, len(list)-maxAddrText-2) // a comma, and one character too many
	i := strings.LastIndexByte(list[start:], ',')
	if i < 0 {
		return "", list[start:], false
	}
	return list[:start+i], list[start+i+1:], true
}

// parseAddr parses an IP address with or without a port. It returns the zero Addr for
// every other text.
func parseAddr(text string) netip.Addr {
	if len(text) > maxAddrText {
		return netip.Addr{}
	}
	// The address of a peer has a port. It comes first, because an error costs an allocation.
	withPort, err := netip.ParseAddrPort(text)
	addr := withPort.Addr()
	if err != nil {
		addr, _ = netip.ParseAddr(text)
	}
	return addr.Unmap().WithZone("")
}

func (m *Manager) trustsProxy(addr netip.Addr) bool {
	return slices.ContainsFunc(m.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// validPrefixes reports whether each prefix can contain an address that parseAddr
// returns.
func validPrefixes(prefixes []netip.Prefix) bool {
	return !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return !p.IsValid() || p.Addr().Is4In6() })
}
