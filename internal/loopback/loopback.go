// Package loopback reports which hosts are this machine.
package loopback

import (
	"net"
	"strings"
)

// IsHost reports whether a host, without a port, is this machine: a loopback address,
// localhost or a name below it (RFC 6761, section 6.3).
func IsHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
