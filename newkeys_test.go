package session_test

import (
	"context"
	"slices"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
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
		shared := struct{ store.Store }{memstore.New()}
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

// A browser that has come back once since the new key seals is not signed out
// when the old key is taken away, early though that may be: its cookies and its
// record are the new key's.
func TestOldKeyIsTakenAway(t *testing.T) {
	older, newer := session.GenerateKey(), session.GenerateKey()
	for _, stored := range []bool{true, false} {
		shared := struct{ store.Store }{memstore.New()}
		process := func(keys ...session.SecretKey) *app {
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
		b := process(older).signedIn()
		b.visit(func(_ context.Context, s *session.Session) {
			if err := favorite.Set(s, "dark"); err != nil {
				t.Fatal(err)
			}
		})
		b.app = process(newer, older)
		b.is(true)
		b.app = process(newer)
		b.visit(func(_ context.Context, s *session.Session) {
			if v, _ := favorite.Get(s); !s.SignedIn() || v != "dark" {
				t.Errorf("stored %v: signed in: %v (%v), value %q", stored, s.SignedIn(), s.Err(), v)
			}
		})
	}
}
