//go:build !race

package session_test

import (
	"net/http"
	"testing"
)

// What a request allocates. The race detector allocates, too: this is counted
// without.
func TestAllocs(t *testing.T) {
	for _, tt := range []struct {
		name           string
		stored, cookie bool
		want           float64
	}{
		{"no cookie", false, false, 3},
		{"cookie session", false, true, 10},
		{"stored session", true, true, 7},
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
