// Package scale_test measures the cost of many sessions. It checks memory and
// allocations. LONG=1 also prints times, which depend on the machine.
package scale_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// service is an auth service. Each user has a separate token of 417 bytes.
type service struct{ users atomic.Int64 }

func (s *service) Login(context.Context, string, string) (auth.Grant, error) {
	n := s.users.Add(1)
	id := fmt.Sprintf("6f8b3f2e-6d6a-4f0e-9a3b-%012x", n)
	now := time.Now().Unix()
	access, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iss": "auth.internal.example", "sub": id, "iat": now, "exp": now + 86400,
		"hasura": map[string]any{
			"x-hasura-user-id":       id,
			"x-hasura-allowed-roles": []string{"user", "admin"},
			"x-hasura-default-role":  "user",
		},
	}).SignedString([]byte("the auth service's own secret, of 32 bytes or more"))
	return auth.Grant{Tokens: auth.Tokens{
		AccessToken: access, RefreshToken: fmt.Sprintf("b7e1c0de-3c5c-4b8e-8f0a-%012x", n),
	}}, err
}

func (*service) Refresh(context.Context, auth.Tokens) (auth.Grant, error) {
	return auth.Grant{}, auth.ErrUnavailable
}

func (*service) Logout(context.Context, auth.Tokens, bool) error { return nil }

var page = []byte("admins only")

// site is an app with a page for admins.
type site struct {
	http.Handler
	m       *session.Manager
	store   *memstore.Store
	ahead   atomic.Int64 // of the clock
	cookies []string     // the Cookie fields of the users
}

func newSite(t testing.TB, stored bool, change ...func(*session.Config)) *site {
	t.Helper()
	s := &site{}
	now := func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }
	s.store = &memstore.Store{Now: now}
	c := session.Config{
		Auth: &service{}, Keys: []session.SecretKey{session.GenerateKey()},
		Now: now, Logger: slog.New(slog.DiscardHandler),
	}
	if stored {
		c.Store = s.store
	}
	for _, f := range change {
		f(&c)
	}
	m, err := session.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s.m = m
	mux := http.NewServeMux()
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(page)
	})))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), "ada", "password"); err != nil {
			middleware.Refuse(w, r, err)
		}
	})
	s.Handler = middleware.Sessions(m)(mux)
	return s
}

// signIn signs in users, each with one session, and returns the bytes of memory that a
// session takes.
func (s *site) signIn(t testing.TB, users int) float64 {
	t.Helper()
	s.cookies = make([]string, users)
	before := heap()
	var cookies atomic.Int64
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < users; i += workers {
				rec := httptest.NewRecorder()
				s.ServeHTTP(rec, httptest.NewRequest("POST", "/login", nil))
				var pairs []string
				for _, c := range rec.Result().Cookies() {
					if !strings.Contains(c.Name, "device") {
						pairs = append(pairs, c.Name+"="+c.Value)
					}
				}
				s.cookies[i] = strings.Join(pairs, "; ")
				cookies.Add(int64(len(s.cookies[i])+15) / 16 * 16)
			}
		})
	}
	wg.Wait()
	each := (heap() - before - float64(cookies.Load())) / float64(users)
	runtime.KeepAlive(s)
	return each
}

// heap returns the bytes of live objects.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools are empty after the second
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// response is a ResponseWriter that is reused.
type response struct {
	header http.Header
	status int
}

func (w *response) Header() http.Header { return w.header }
func (w *response) WriteHeader(s int)   { w.status = s }
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return len(b), nil
}

// get returns a function that sends a request of a random user.
func (s *site) get(t testing.TB) func() {
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/admin"}, Header: http.Header{}, Host: "example.com", RemoteAddr: "192.0.2.1:1234"}
	r = r.WithContext(t.Context())
	field := []string{""}
	w := &response{header: http.Header{}}
	return func() {
		field[0] = s.cookies[rand.IntN(len(s.cookies))]
		r.Header["Cookie"] = field
		clear(w.header)
		w.status = 0
		if s.ServeHTTP(w, r); w.status != http.StatusOK {
			t.Errorf("status %d", w.status)
		}
	}
}

// browse sends requests of random users and returns the processor time of one.
func (s *site) browse(t testing.TB, requests int) time.Duration {
	get := s.get(t)
	start := cpu()
	for range requests {
		get()
	}
	return (cpu() - start) / time.Duration(requests)
}

// cpu returns the processor time of the process.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano())
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// A session in memory takes at most 800 bytes. Each user has one session, which is the most
// expensive case.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector uses memory itself")
		return
	}
	n := scale.Of(5000, 20_000, 1_000_000)
	s := newSite(t, true, func(c *session.Config) {
		if !scale.Long() {
			c.CacheBytes = 1 // the cache would hold most of so few sessions
		}
	})
	each := s.signIn(t, n)
	t.Logf("%d sessions of %.0f bytes", n, each)
	if each > 800 {
		t.Errorf("a session takes %.0f bytes, want at most 800", each)
	}
}

// A session in the caches takes little more than its texts and its cookies.
func TestMemoryOfCache(t *testing.T) {
	if raceEnabled {
		t.Log("not measured: the race detector uses memory itself")
		return
	}
	const sessions = 5000
	for name, tt := range map[string]struct {
		stored bool
		most   float64
	}{"memory": {true, 2000}, "cookies": {false, 4200}} {
		s := newSite(t, tt.stored, func(c *session.Config) { c.CacheBytes = 1 << 30 })
		s.signIn(t, sessions)
		get, all := s.get(t), s.cookies
		before := heap()
		for i := range all {
			s.cookies = all[i : i+1]
			get()
		}
		each := (heap() - before) / sessions
		t.Logf("%s: %.0f bytes", name, each)
		if each > tt.most {
			t.Errorf("%s: a session in the caches takes %.0f bytes, want at most %.0f", name, each, tt.most)
		}
		runtime.KeepAlive(s)
	}
}

// Prints the processor time of a request of one of few sessions, and of one of many more
// sessions than the cache has room for.
func TestManySessions(t *testing.T) {
	if !scale.Long() {
		t.Log("not measured: LONG=1 does")
		return
	}
	for name, stored := range map[string]bool{"memory": true, "cookies": false} {
		few, many := newSite(t, stored), newSite(t, stored)
		few.signIn(t, 1000)
		many.signIn(t, 200_000)
		var a, b []time.Duration
		for range 7 {
			a = append(a, few.browse(t, 50_000))
			b = append(b, many.browse(t, 50_000))
		}
		t.Logf("%s: %v for a request of one of %d sessions, %v of %d: %.1f times", name,
			median(a), len(few.cookies), median(b), len(many.cookies), float64(median(b))/float64(median(a)))
	}
}

// Prints by how much the throughput grows from one core to two. It is computed from
// processor time, on which other programs have little effect.
func TestCores(t *testing.T) {
	if !scale.Long() {
		t.Log("not measured: LONG=1 does")
		return
	}
	for name, stored := range map[string]bool{"memory": true, "cookies": false} {
		s := newSite(t, stored)
		s.signIn(t, 1000)
		perSecond := func(cores int) float64 {
			const requests = 100_000
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			start := cpu()
			var wg sync.WaitGroup
			for range cores {
				wg.Go(func() { s.browse(t, requests) })
			}
			wg.Wait()
			each := (cpu() - start).Seconds() / float64(cores*requests)
			return float64(cores) / each
		}
		var ratios []float64
		for range 7 {
			one := perSecond(1)
			ratios = append(ratios, perSecond(2)/one)
		}
		slices.Sort(ratios)
		t.Logf("%s: two cores have %.2f times the throughput of one (%.2f to %.2f)", name, ratios[3], ratios[0], ratios[6])
	}
}
