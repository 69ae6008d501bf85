package synmetrix

import (
	"net/url"

	"github.com/synmetrix/session/internal/loopback"
)

// Warnings returns a warning for each unsafe setting. session.New logs them. The only
// warning is that the base URL is plain HTTP and its host is not this machine: an attacker
// on the network path could read passwords and tokens.
func (c *Client) Warnings() []string {
	u, err := url.Parse(c.base)
	if err != nil || u.Scheme != "http" || loopback.IsHost(u.Hostname()) {
		return nil
	}
	return []string{"the address of the auth service is plain HTTP, so that an attacker on the network path can read passwords and tokens; use https"}
}
