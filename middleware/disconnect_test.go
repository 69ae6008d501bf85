package middleware_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// unread is a store whose read number n, counted from 1, lasts until its caller is gone.
type unread struct {
	store.Store
	n     int32
	reads atomic.Int32
}

func (s *unread) Get(ctx context.Context, key string) (store.Record, error) {
	if s.reads.Add(1) == s.n {
		<-ctx.Done()
		return store.Record{}, ctx.Err()
	}
	return s.Store.Get(ctx, key)
}

// A client that disconnects while the coordinator is read does not make a session valid
// that has ended: the request is not served from the cookies as in an outage.
func TestDisconnectDoesNotHideAnEnd(t *testing.T) {
	ends := map[string]func(ctx context.Context, m *session.Manager) error{
		"its end":        func(ctx context.Context, m *session.Manager) error { return m.Logout(ctx) },
		"the end of all": func(ctx context.Context, m *session.Manager) error { return m.EndAll(ctx, "ada") },
	}
	for name, end := range ends {
		for n := range int32(2) {
			t.Run(fmt.Sprintf("%s/read %d", name, n+1), func(t *testing.T) {
				shared := memstore.New()
				slow := &unread{Store: shared, n: n + 1}
				cfg := session.Config{Auth: &testkit.Service{T: t}, Keys: []session.SecretKey{session.GenerateKey()}}
				cfg.Coordinator = &unread{Store: shared}
				c := &testkit.Visitor{T: t, M: webapp.NewManager(t, cfg), Jar: map[string]string{}}
				c.Login("ada")
				stolen := c.Copy().Jar
				c.Do(t.Context(), func(ctx context.Context, s *session.Session) {
					if err := end(ctx, c.M); err != nil {
						t.Fatal(err)
					}
				})

				cfg.Coordinator = slow
				m := webapp.NewManager(t, cfg)
				served, done := false, make(chan struct{})
				app := middleware.Sessions(m)(middleware.RequireUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true })))
				srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(done)
					app.ServeHTTP(w, r)
				}))
				defer srv.Close()
				conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
				if err != nil {
					t.Fatal(err)
				}
				var cookies []string
				for name, value := range stolen {
					cookies = append(cookies, name+"="+value)
				}
				fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: app.example.org\r\nCookie: %s\r\nContent-Length: 0\r\n\r\n", strings.Join(cookies, "; "))
				conn.Close()
				<-done
				if served {
					t.Error("the handler has served the user")
				}
			})
		}
	}
}
