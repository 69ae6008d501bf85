package jwks

import (
	"net/url"

	"github.com/synmetrix/session/internal/loopback"
)

// Warnings returns a warning for each unsafe setting. session.New logs them. The only
// warning is that the address is plain HTTP and its host is not this machine: an attacker
// on the network path could replace the keys and sign tokens of any user.
func (k *Keys) Warnings() []string {
	u, err := url.Parse(k.cfg.URL)
	if err != nil || u.Scheme != "http" || loopback.IsHost(u.Hostname()) {
		return nil
	}
	return []string{"the address of the JWKS is plain HTTP, so that an attacker on the network path can replace the keys and forge tokens; use https"}
}
