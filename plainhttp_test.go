package session_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// DropsCookies reads only a bounded part of the header fields.
func TestDropsCookiesReadsLittle(t *testing.T) {
	a := newApp(t)
	const size = 1 << 20
	for name, field := range map[string][]string{
		"X-Forwarded-Proto": {strings.Repeat("A", size)},
		"Forwarded":         strings.Split(strings.Repeat("A,", size/2), ","),
		"Origin":            {strings.Repeat("A", size)},
	} {
		r := httptest.NewRequest("GET", "http://app.example.org/login", nil)
		r.Header = http.Header{name: field}
		bounded(t, name, func() bool { return a.DropsCookies(r) }, true)
	}
	r := httptest.NewRequest("GET", "/login", nil)
	r.Host = strings.Repeat("A", size) + ".localhost"
	bounded(t, "Host", func() bool { return a.DropsCookies(r) }, true)
}

// bounded checks what f returns, and that it allocates little.
func bounded(t *testing.T, name string, f func() bool, want bool) {
	t.Helper()
	f() // reports what it finds
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := f()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; got != want || n > 32<<10 {
		t.Errorf("%s: %v, %d bytes allocated", name, got, n)
	}
}
