package main

import (
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// openStores opens what STORE and COORDINATOR name. Cookies need no store, and
// a coordinator in memory is what the library has by itself.
func openStores(s settings) (sessions, coordinator store.Store) {
	if s.store == "memory" {
		sessions = memstore.New()
	}
	return sessions, nil
}
