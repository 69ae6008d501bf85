//go:build !race

package session_test

import (
	"net/http"
	"testing"
)

// Counts the allocations of a request. The race detector allocates, too, so
// this test runs without it.
func TestAllocs(t *testing.T) {
	for _, tt := range []struct {
		name           string
		stored, cookie bool
		want           float64
	}{
		{"no cookie", false, false, 1},
		{"cookie session", false, true, 1},
		{"stored session", true, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, in := benchManager(t, tt.stored)
			r := benchGet(t)
			if tt.cookie {
				r.Header = in
			}
			out := http.Header{}
			got := testing.AllocsPerRun(1000, func() {
				if !request(m, r, out, tt.cookie) {
					t.Fatal("refused")
				}
			})
			if got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}
