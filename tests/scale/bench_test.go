package scale_test

import (
	"testing"

	"github.com/synmetrix/session"
)

// BenchmarkForgotten sends requests of sessions that are not in the cache of the process,
// because there are many more than the cache has room for.
func BenchmarkForgotten(b *testing.B) {
	for name, stored := range map[string]bool{"stored": true, "cookie": false} {
		b.Run(name, func(b *testing.B) {
			s := newSite(b, stored, func(c *session.Config) { c.CacheBytes = 1 << 20 })
			s.signIn(b, 5000)
			get := s.get(b)
			b.ReportAllocs()
			for b.Loop() {
				get()
			}
		})
	}
}
