package session_test

import (
	"slices"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store/memstore"
)

// While keys are rolled over several processes, each seals anew what another
// one has sealed, as often as the browser goes from one to the other. It stays
// the same session.
func TestKeysAreRolledOverProcesses(t *testing.T) {
	keys := []session.SecretKey{session.GenerateKey(), session.GenerateKey()}
	turned := slices.Clone(keys)
	slices.Reverse(turned)
	for _, stored := range []bool{true, false} {
		shared := &stallingStore{memstore.New(), make(chan struct{}, 1)}
		process := func(keys []session.SecretKey) *app {
			return newApp(t, func(cfg *session.Config) {
				cfg.Keys = keys
				cfg.Now = nil
				if stored {
					cfg.Store = shared
				} else {
					cfg.Coordinator = shared
				}
			})
		}
		before, after := process(keys), process(turned)
		b := before.signedIn()
		for i := range 6 {
			b.app = []*app{after, before}[i%2]
			b.is(true)
			if len(b.last.Values("Set-Cookie")) == 0 {
				t.Errorf("stored %v, visit %d: the cookie was not sealed anew", stored, i)
			}
		}
	}
}
