package refresh_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// departure is the step of a refresh at which the client disconnects.
type departure int

const (
	beforeRotation departure = iota // the service has received the request and not executed it
	afterRotation                   // the service has rotated the token, and has not responded
	beforeResponse                  // the app has the tokens, and the handler is running
	withResponse                    // the response is on the wire and is not read
	departures
)

// A client that disconnects during a refresh keeps its session: its old cookies are
// served with the new tokens, however often it disconnects.
func TestClientGoneMidRefresh(t *testing.T) {
	testkit.Severally(t, scale.Of(16, 32, 1000), 12, func(t *testing.T, i int) {
		rng := rand.New(rand.NewPCG(uint64(i), 2))
		k, when, expired := kinds[i%2], departure(i/2%int(departures)), i/8%2 == 0
		user := userID(1)
		s := newSite(t, k, []string{user})
		desk := s.withDesk()
		old, oldToken := s.signIn(user)

		times := 1 + rng.IntN(3)
		for range times {
			if expired {
				s.clock.advance(intoExpiry)
			} else {
				s.clock.advance(intoWindow)
			}
			s.leave(desk, old, when, rng.IntN(2) == 0)
			s.clock.advance(3 * grace)
		}
		s.refreshed(times)

		back := s.get("/upstream", old)
		newToken := s.served(back, user)
		if newToken == oldToken {
			t.Fatal("served with the old token")
		}
		if back.sets(mainCookie) != (k == inCookies) {
			t.Fatalf("the response to the one who came back: %v", back.names())
		}
		arrived := old.After(back.cookies)
		for _, j := range []jar{arrived, old, arrived} {
			if s.served(s.get("/upstream", j), user) != newToken {
				t.Fatal("served with another token")
			}
		}
		s.refreshed(times)

		// With the new cookies the session continues.
		s.clock.advance(intoExpiry)
		s.served(s.get("/upstream", arrived), user)
		s.refreshed(times + 1)
	})
}

// A slow handler's response arrives after a second refresh. It must not restore the
// older tokens.
func TestSlowResponseRestoresNoOldTokens(t *testing.T) {
	for i, k := range slices.Concat(kinds, kinds) {
		late := i/2 == 1
		t.Run(fmt.Sprintf("%s/late %v", k, late), func(t *testing.T) {
			user := userID(1)
			s := newSite(t, k, []string{user})
			desk := s.withDesk()
			j, _ := s.signIn(user)

			s.clock.advance(intoExpiry)
			slow := make(chan response)
			go func() {
				a, err := s.send(context.Background(), http.MethodGet, "/desk", "", j)
				if err != nil {
					t.Error(err)
				}
				slow <- a
			}()
			s.await("the handler is at work", desk.arrived)
			s.clock.advance(intoExpiry)
			a := s.get("/upstream", j)
			newest := s.served(a, user)
			j = j.After(a.cookies)
			if s.served(s.get("/upstream", j), user) != newest {
				t.Fatal("served with another token")
			}
			if late {
				s.clock.advance(3 * grace)
			}
			desk.proceed <- struct{}{}
			s.await("the handler has returned", desk.done)
			a = <-slow
			if s.served(a, user) == newest {
				t.Fatal("the slow handler was not slow")
			}
			j = j.After(a.cookies)

			s.clock.advance(3 * grace)
			if s.served(s.get("/upstream", j), user) != newest {
				t.Fatal("served with another token")
			}
			s.refreshed(2)
		})
	}
}

// desk is a handler that a test can stop.
type desk struct {
	arrived chan struct{} // the handler has read the session's token
	proceed chan struct{}
	done    chan struct{}
	closed  chan struct{} // the test is over
}

func (s *site) withDesk() *desk {
	d := &desk{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
	s.t.Cleanup(func() { close(d.closed) })
	s.mux.HandleFunc("GET /desk", func(w http.ResponseWriter, r *http.Request) {
		token, _ := session.FromContext(r.Context()).AccessToken(r.Context())
		select {
		case <-r.Context().Done():
		case <-d.closed:
		case d.arrived <- struct{}{}:
			select {
			case <-d.proceed:
			case <-d.closed:
			}
		}
		respondWith(w, seen{User: session.FromContext(r.Context()).UserID(), Token: token})
		select {
		case d.done <- struct{}{}:
		case <-d.closed:
		}
	})
	return d
}

// leave sends a request whose token is due, and closes its connection at the
// given time, by a FIN or a RST. It returns when the refresh has ended.
func (s *site) leave(d *desk, j jar, when departure, reset bool) {
	s.t.Helper()
	var gate authtest.Gate
	switch when {
	case beforeRotation:
		s.auth.Inject(authtest.Refresh, authtest.Fault{Before: &gate, Times: 1})
	default:
		s.auth.Inject(authtest.Refresh, authtest.Fault{After: &gate, Times: 1})
	}
	renewed := s.journal.next(session.EventSessionRefreshed)
	conn := s.visit(j)
	defer func() { conn.Close() }()
	for s.await("the refresh is under way", gate.Arrived(1), d.arrived) != 0 {
		d.proceed <- struct{}{}
		s.await("the handler has returned", d.done)
		if isClosed(gate.Arrived(1)) {
			// On a slow machine, the handler has continued with the token that is still
			// valid.
			gate.Open()
			s.await("the refresh has ended", renewed)
			return
		}
		// The previous refresh had ended, but the clock was moved before its flight had
		// ended, so this request still joined that flight.
		conn.Close()
		conn = s.visit(j)
	}
	gone := func() {
		if reset {
			_ = conn.SetLinger(0)
		}
		conn.Close()
	}
	switch when {
	case beforeRotation, afterRotation:
		gone()
		s.await("the handler has noticed that its client is gone", d.done)
		gate.Open()
	case beforeResponse:
		gate.Open()
		s.await("the handler is at work", d.arrived)
		gone()
		d.proceed <- struct{}{}
		s.await("the handler has returned", d.done)
	case withResponse:
		gate.Open()
		s.await("the handler is at work", d.arrived)
		d.proceed <- struct{}{}
		s.await("the handler has returned", d.done)
		gone()
	}
	s.await("the refresh has ended", renewed)
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// visit sends a request to the desk, and does not read the response.
func (s *site) visit(j jar) *net.TCPConn {
	s.t.Helper()
	conn := s.dial()
	if _, err := io.WriteString(conn, "GET /desk HTTP/1.1\r\nHost: app\r\nCookie: "+j.String()+"\r\n\r\n"); err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func (s *site) dial() *net.TCPConn {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), tooLong)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.url[len("http://"):])
	if err != nil {
		s.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(tooLong))
	return conn.(*net.TCPConn)
}
