package adaptertest

import (
	"net/http"
	"testing"
)

// maxExtra is the number of allocations that an adapter may add to a request.
const maxExtra = 2

// Cost fails the test if a guarded request makes more than maxExtra allocations in
// addition to those under net/http.
func Cost(t *testing.T, build Build) {
	a := NewApp(t, Options{})
	spec := Spec{Manager: a.Manager, Routes: []Route{
		{"GET", "/user", Guard{Roles: []string{"user"}}, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(hello)
		}},
	}}
	a.Serve(build(spec), Options{})
	b := a.SignedIn(Viewer)
	r := b.Request("GET", "/user", "")
	for _, c := range b.Client.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	allocs := func(h http.Handler) float64 {
		w := &discard{h: http.Header{}}
		n := testing.AllocsPerRun(1000, func() {
			clear(w.h)
			h.ServeHTTP(w, r)
		})
		if w.written == 0 || w.status >= 300 {
			t.Fatalf("status %d", w.status)
		}
		return n
	}
	want, got := allocs(NetHTTP(spec)), allocs(build(spec))
	t.Logf("%.0f allocations, %.0f with net/http", got, want)
	if got > want+maxExtra && !race {
		t.Errorf("%.0f allocations, %.0f with net/http; at most %d more are allowed", got, want, maxExtra)
	}
}

var hello = []byte("hello")

// discard is a ResponseWriter that does not allocate.
type discard struct {
	h       http.Header
	status  int
	written int
}

func (d *discard) Header() http.Header    { return d.h }
func (d *discard) WriteHeader(status int) { d.status = status }
func (d *discard) Flush()                 {}
func (d *discard) Write(p []byte) (int, error) {
	d.written += len(p)
	return len(p), nil
}
