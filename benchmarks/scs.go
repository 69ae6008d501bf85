package main

import (
	"encoding/gob"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
)

// gob encodes the values of scs and gorilla/sessions.
func init() { gob.Register([]string(nil)) }

// notInScs lists the features that scs in memory lacks.
const notInScs = "no refresh of tokens, no origin check; records are not encrypted"

func init() {
	register(contender{
		name: "scs, memory", router: netHTTP, session: "in memory, gob", less: notInScs + "; no idle timeout", apart: true,
		open: openScs(nil),
	})
	register(contender{
		name: "scs, memory, idle timeout", router: netHTTP, session: "in memory, gob", less: notInScs, apart: true,
		open: openScs(func(m *scs.SessionManager) { m.IdleTimeout = 24 * time.Hour }),
	})
}

// openScs returns a function that opens the app with scs in memory. set changes its
// settings, unless it is nil.
func openScs(set func(*scs.SessionManager)) func(*env) (http.Handler, error) {
	return func(*env) (http.Handler, error) {
		m := scs.New()
		// The default store has a cleanup goroutine, which would keep the store of each
		// discarded app alive.
		m.Store = memstore.NewWithCleanupInterval(0)
		m.Cookie.Secure = true
		if set != nil {
			set(m)
		}
		return scsApp(m), nil
	}
}

func scsApp(m *scs.SessionManager) http.Handler {
	return m.LoadAndSave(app{
		user: func(r *http.Request) ([]string, bool) {
			roles, ok := m.Get(r.Context(), "roles").([]string)
			return roles, ok
		},
		signIn: func(_ http.ResponseWriter, r *http.Request, a account) error {
			if err := m.RenewToken(r.Context()); err != nil {
				return err
			}
			a.keep(func(name string, value any) { m.Put(r.Context(), name, value) })
			return nil
		},
	}.mux())
}
