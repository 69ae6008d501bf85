package load

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// TestDay runs an app for 24 hours of a simulated clock. Users sign in, read pages, and
// sign out or close the browser. Other clients send forged cookies. After the first
// sessions have expired, neither memory nor the number of goroutines may grow.
func TestDay(t *testing.T) {
	t.Run("cookies", func(t *testing.T) { testDay(t, false) })
	t.Run("memory", func(t *testing.T) { testDay(t, true) })
}

// day is an app on a socket, and its clock.
type day struct {
	t       *testing.T
	service *service
	moved   atomic.Int64
	site    *httptest.Server
	active  []*browser
	rows    [][]string
}

const (
	dayStep     = 5 * time.Minute
	dayLifetime = 4 * time.Hour // of a session; then its traces are removed
	settled     = 8             // hours until the sizes must not grow
)

func testDay(t *testing.T, stored bool) {
	d := &day{t: t, rows: [][]string{{"hour", "heap, KiB", "goroutines", "refreshes"}}}
	d.start(stored)
	var first, last size
	perHour := int(time.Hour / dayStep)
	for step := range 24 * perHour {
		d.step(step)
		if (step+1)%perHour != 0 {
			continue
		}
		hour := (step + 1) / perHour
		last = d.size()
		d.rows = append(d.rows, []string{fmt.Sprint(hour), fmt.Sprintf("%.0f", last.heap/1024), fmt.Sprint(last.goroutines), fmt.Sprint(d.service.refreshes.Load())})
		if hour == settled {
			first = last
		}
	}
	table(t, d.rows)
	if most := first.heap*1.15 + 512<<10; last.heap > most {
		t.Errorf("the heap has grown from %.0f KiB after %d hours to %.0f KiB after 24, want %.0f at most", first.heap/1024, settled, last.heap/1024, most/1024)
	}
	if most := first.goroutines + 10; last.goroutines > most {
		t.Errorf("goroutines: %d after %d hours, %d after 24", first.goroutines, settled, last.goroutines)
	}
	if n := d.service.refused.Load(); n > 0 {
		t.Errorf("%d refresh tokens were not valid", n)
	}
	if d.service.refreshes.Load() == 0 {
		t.Error("no refresh in a day")
	}
}

// start starts the app, which shares its clock with the auth service.
func (d *day) start(stored bool) {
	now := func() time.Time { return time.Now().Add(time.Duration(d.moved.Load())) }
	d.service = &service{now: now, live: map[string]time.Time{}}
	var sessions store.Store
	if stored {
		sessions = &memstore.Store{Now: now}
	}
	m, err := session.New(session.Config{
		Auth: d.service, Keys: []session.SecretKey{session.GenerateKey()}, Store: sessions, Now: now,
		Cookie:   session.Cookie{Insecure: true},
		Logger:   slog.New(slog.DiscardHandler),
		Lifetime: dayLifetime, IdleTimeout: time.Hour, AuthTimeout: time.Minute,
		CacheBytes: scale.Of(256<<10, 256<<10, 4<<20), // full long before the sizes are compared
	})
	if err != nil {
		d.t.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.Handle("GET /api/me", http.HandlerFunc(middleware.Me))
	mux.Handle("GET /admin", middleware.RequireRole("admin")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "You are an admin.")
	})))
	d.site = httptest.NewServer(middleware.Sessions(m)(mux))
	d.t.Cleanup(d.site.Close)
}

// step runs the app for dayStep: some users sign in, all signed-in users read a page,
// some sign out, and some close the browser.
func (d *day) step(n int) {
	d.moved.Add(int64(dayStep))
	arrivals := scale.Of(2, 2, 20)
	for range arrivals {
		b := openBrowser(d.site.URL)
		if err := b.signIn(); err != nil {
			d.t.Fatal(err)
		}
		d.active = append(d.active, b)
	}
	for _, b := range d.active {
		if err := b.get("/admin"); err != nil {
			d.t.Fatalf("step %d: %v", n, err)
		}
	}
	// Each user stays for an hour. Every second user signs out, and the others close the
	// browser.
	if stay := arrivals * int(time.Hour/dayStep); len(d.active) > stay {
		for i, b := range d.active[:arrivals] {
			if i%2 == 0 {
				if err := b.send("POST", "/logout", []byte("{}"), http.StatusNoContent); err != nil {
					d.t.Fatal(err)
				}
			}
			b.client.CloseIdleConnections()
		}
		d.active = append(d.active[:0:0], d.active[arrivals:]...)
	}
	d.forge(n)
	d.service.expire()
}

// forge sends a cookie that does not open.
func (d *day) forge(n int) {
	r, err := http.NewRequest("GET", d.site.URL+"/admin", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Cookie", fmt.Sprintf("session=%06d%s", n, strings.Repeat("A", 1000)))
	res, err := d.site.Client().Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		d.t.Fatalf("a forged cookie: status %d", res.StatusCode)
	}
}

// size is the memory and the number of goroutines of the process.
type size struct {
	heap       float64 // bytes of live objects
	goroutines int
}

// size measures the process without the connections of browsers, whose number varies.
func (d *day) size() size {
	for _, b := range d.active {
		b.client.CloseIdleConnections()
	}
	d.site.CloseClientConnections()
	d.site.Client().CloseIdleConnections()
	before := -1
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		n := runtime.NumGoroutine() // goroutines of closed connections end soon
		if n == before {
			break
		}
		before = n
	}
	runtime.GC()
	runtime.GC() // pools are empty after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return size{float64(m.HeapAlloc), runtime.NumGoroutine()}
}
