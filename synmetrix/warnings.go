package synmetrix

import (
	"net/url"

	"github.com/synmetrix/session/internal/loopback"
)

// Warnings returns what is unsafe about the client's settings. A session.Manager logs it
// at its start. There is one warning: the base URL is plain HTTP and its host is not this
// machine, so that others on the way can read passwords and tokens.
func (c *Client) Warnings() []string {
	u, err := url.Parse(c.base)
	if err != nil || u.Scheme != "http" || loopback.IsHost(u.Hostname()) {
		return nil
	}
	return []string{"the address of the auth service is plain HTTP, so that others on the way can read passwords and tokens; use https"}
}
