package jwks

import (
	"net/url"

	"github.com/synmetrix/session/internal/loopback"
)

// Warnings returns what is unsafe about the settings. A session.Manager logs it at its
// start. There is one warning: the address is plain HTTP and its host is not this machine,
// so that others on the way can replace the keys, and sign tokens of any user.
func (k *Keys) Warnings() []string {
	u, err := url.Parse(k.cfg.URL)
	if err != nil || u.Scheme != "http" || loopback.IsHost(u.Hostname()) {
		return nil
	}
	return []string{"the address of the JWKS is plain HTTP, so that others on the way can replace the keys and forge tokens; use https"}
}
