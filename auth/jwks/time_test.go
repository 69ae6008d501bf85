package jwks_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/auth/jwks"
)

// transport serves a JWKS without a network, so that time can be virtual.
type transport struct {
	mu sync.Mutex
	state
}

type state struct {
	fetches int
	body    string // empty: the service is down
	delay   time.Duration
	panics  bool
}

// set changes the state.
func (s *transport) set(change func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
}

func (s *transport) count() (n int) {
	s.set(func(s *state) { n = s.fetches })
	return n
}

func (s *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var now state
	s.set(func(s *state) {
		s.fetches++
		now = *s
	})
	select {
	case <-time.After(now.delay):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if now.panics {
		panic("transport")
	}
	if now.body == "" {
		return nil, errors.New("down")
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(now.body)), Header: http.Header{}, Request: r}, nil
}

// Keys are fetched again when they are old. They are used while the service is down,
// until MaxStale.
func TestAgesOfKeys(t *testing.T) {
	r := rsaKeys()
	both, one := jwksOf(jwk("a", "", &r[0].PublicKey), jwk("b", "", &r[1].PublicKey)), jwksOf(jwk("a", "", &r[0].PublicKey))
	a, b := sign("RS256", "a", r[0]), sign("RS256", "b", r[1])
	synctest.Test(t, func(t *testing.T) {
		s := &transport{state: state{body: both}}
		v := newVerifier(t, jwks.Config{URL: "https://auth.example/jwks", Client: &http.Client{Transport: s}})
		fetched := func(want int) {
			t.Helper()
			synctest.Wait()
			if n := s.count(); n != want {
				t.Errorf("%d fetches, want %d", n, want)
			}
		}
		check(t, v, "new", b, "accepted")
		time.Sleep(5*time.Minute - time.Second)
		check(t, v, "young", b, "accepted")
		fetched(1)
		s.set(func(s *state) { s.body = one })
		time.Sleep(2 * time.Second)
		check(t, v, "old, and fetched in the background", b, "accepted")
		fetched(2)
		check(t, v, "withdrawn", b, "rejected")
		fetched(3) // its key ID is unknown now
		check(t, v, "withdrawn", b, "rejected")
		fetched(3)

		// Without requests for some time, the first one waits.
		s.set(func(s *state) { s.body = both })
		time.Sleep(time.Hour)
		check(t, v, "back", b, "accepted")
		s.set(func(s *state) { s.body = one })
		time.Sleep(time.Hour)
		check(t, v, "withdrawn again", b, "rejected")

		// While the service is down, the old keys are used for a day, with at most one
		// fetch in 5 s.
		s.set(func(s *state) { s.body = "" })
		time.Sleep(10 * time.Minute)
		before := s.count()
		for range 60 {
			check(t, v, "down", a, "accepted")
			time.Sleep(time.Second)
		}
		if n := s.count() - before; n < 10 || n > 13 {
			t.Errorf("%d fetches in a minute", n)
		}
		check(t, v, "down, unknown", b, "outage")
		time.Sleep(22 * time.Hour)
		check(t, v, "down for long", a, "accepted")
		time.Sleep(2 * time.Hour)
		check(t, v, "too old", a, "outage")
		s.set(func(s *state) { s.body = both })
		time.Sleep(5 * time.Second)
		check(t, v, "up again", a, "accepted")
		check(t, v, "up again", b, "accepted")
	})
}

// After an unknown key ID, a new key is found within 5 s.
func TestCooldown(t *testing.T) {
	r := rsaKeys()
	synctest.Test(t, func(t *testing.T) {
		s := &transport{state: state{body: jwksOf(jwk("a", "", &r[0].PublicKey))}}
		v := newVerifier(t, jwks.Config{URL: "https://auth.example/jwks", Client: &http.Client{Transport: s}})
		check(t, v, "unknown", sign("RS256", "x", r[1]), "rejected")
		s.set(func(s *state) { s.body = jwksOf(jwk("b", "", &r[1].PublicKey)) })
		check(t, v, "in the pause", sign("RS256", "b", r[1]), "rejected")
		time.Sleep(5 * time.Second)
		check(t, v, "after the pause", sign("RS256", "b", r[1]), "accepted")
		if n := s.count(); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
	})
}

// A service that hangs delays only calls that need a fetch, for Timeout at most.
func TestSlowService(t *testing.T) {
	r := rsaKeys()
	synctest.Test(t, func(t *testing.T) {
		s := &transport{state: state{body: jwksOf(jwk("a", "", &r[0].PublicKey))}}
		v := newVerifier(t, jwks.Config{URL: "https://auth.example/jwks", Client: &http.Client{Transport: s}})
		known, unknown := sign("RS256", "a", r[0]), sign("RS256", "b", r[1])
		check(t, v, "fast", known, "accepted")
		s.set(func(s *state) { s.delay = time.Hour })
		start := time.Now()
		check(t, v, "unknown", unknown, "outage")
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("waited for %v, want 5 s", d)
		}
		for range 100 {
			check(t, v, "unknown, in the pause", unknown, "outage")
		}
		time.Sleep(time.Hour)
		start = time.Now()
		check(t, v, "known, after a long time without requests", known, "accepted")
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("waited for %v, want 5 s: the key may have been withdrawn", d)
		}
		start = time.Now()
		for range 100 {
			check(t, v, "known", known, "accepted")
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("waited for %v", d)
		}
		s.set(func(s *state) { s.delay = 0 })
		time.Sleep(10 * time.Second)
		check(t, v, "fast again", known, "accepted")
	})
}

// The fetch is in a new goroutine, where a panic would end the program.
func TestPanic(t *testing.T) {
	r := rsaKeys()
	s := &transport{state: state{body: jwksOf(jwk("a", "", &r[0].PublicKey)), panics: true}}
	v := newVerifier(t, jwks.Config{URL: "https://auth.example/jwks", Client: &http.Client{Transport: s}})
	check(t, v, "panic", sign("RS256", "a", r[0]), "outage")
}
