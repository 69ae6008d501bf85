//go:build !race

package session_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
)

// Rejecting input of unknown clients must be cheap. The race detector needs more time and
// memory, so this test runs without it.
const (
	maxRejectTime  = time.Millisecond // for a busy machine, too
	maxRejectBytes = 32 << 10
)

func TestRejectedCookieIsCheap(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	text := func(n int) string { return strings.Repeat(alphabet, n/len(alphabet)+1)[:n] }
	repeat := func(n int, pair func(i int) string) string {
		var pairs []string
		for i := range n {
			pairs = append(pairs, pair(i))
		}
		return strings.Join(pairs, "; ")
	}
	const name = "__Host-session"
	headers := map[string]string{
		"one short":   name + "=x",
		"one long":    name + "=" + text(4000),
		"one of 1 MB": name + "=" + text(1<<20),
		"250 long":    repeat(250, func(int) string { return name + "=" + text(4000) }),
		"many short":  repeat(50_000, func(int) string { return name + "=x" }),
		"many of 92":  repeat(9_000, func(int) string { return name + "=" + text(92) }),
		"other names": repeat(50_000, func(i int) string { return fmt.Sprintf("%s-%d=x", name, i) }),
		"no names":    strings.Repeat(";", 1<<20),
		"spaces":      strings.Repeat(" ", 1<<20),
		"prefixes":    strings.Repeat(name, 70_000),
		"underscores": strings.Repeat("_", 1<<20),
		"equal signs": name + "=" + strings.Repeat("=", 1<<20),
		"numbers":     repeat(200, func(int) string { return name + "=" + strings.Repeat("1", 3900) + ".AAAA.x" }),
	}
	// Chunks that could be joined in many ways.
	for _, size := range []int{1, 100, 3900} {
		for _, chunks := range []int{2, 3, 4, 10} {
			for _, tag := range []string{"", "AAAA."} {
				each := 100 / chunks
				header := repeat(each, func(int) string { return fmt.Sprintf("%s=%d.%s%s", name, chunks, tag, text(size)) })
				for i := 1; i < chunks; i++ {
					header += "; " + repeat(each, func(int) string { return fmt.Sprintf("%s-%d=%s%s", name, i, tag, text(size)) })
				}
				headers[fmt.Sprintf("%d times %d chunks of %d%s", each, chunks, size, tag)] = header
			}
		}
	}
	for keys := range keysOf {
		a := newApp(t, keysOf[keys])
		for what, header := range headers {
			t.Run(keys+"/"+what, func(t *testing.T) { a.isCheap(t, header, false) })
		}
	}
}

// Another Manager's cookies have the form of genuine ones. Only their MAC is invalid.
func TestForeignCookieIsCheap(t *testing.T) {
	for keys := range keysOf {
		a, other := newApp(t, keysOf[keys]), newApp(t)
		genuine, _, _ := strings.Cut(a.signedIn().header(), ";")
		for _, size := range []int{750, 1000, 1100, 4000} {
			sealed := other.sealed(size)
			session, state, mfa := "__Host-session="+sealed, "__Host-session-state="+sealed, "__Host-session-mfa="+sealed
			for what, header := range map[string]string{
				"session":       session,
				"state":         genuine + "; " + state,
				"mfa":           mfa,
				"session, mfa":  session + "; " + mfa,
				"state, mfa":    genuine + "; " + state + "; " + mfa,
				"two of each":   strings.Repeat(session+"; "+mfa+"; ", 2),
				"ten of states": genuine + strings.Repeat("; "+state, 10),
			} {
				t.Run(fmt.Sprintf("%s/%d bytes/%s", keys, size, what), func(t *testing.T) {
					a.isCheap(t, header, strings.HasPrefix(header, genuine))
				})
			}
		}
	}
}

// keysOf has configurations that differ in the number of keys. Each key may have to be
// tried.
var keysOf = map[string]func(*session.Config){
	"one key":    withKeys(1),
	"three keys": withKeys(3),
}

func withKeys(n int) func(*session.Config) {
	return func(c *session.Config) {
		c.Keys = nil
		for range n {
			c.Keys = append(c.Keys, session.GenerateKey())
		}
	}
}

// sealed returns a tokens cookie of n bytes or slightly less.
func (a *app) sealed(n int) string {
	a.t.Helper()
	sealed := ""
	for pad := 0; ; pad++ {
		a.auth.pad = strings.Repeat("x", pad)
		next := a.signedIn().values["__Host-session"]
		if len(next) > n || strings.Contains(next, ".") {
			break
		}
		sealed = next
	}
	if len(sealed) < n-20 {
		a.t.Fatalf("a cookie of %d bytes, want %d", len(sealed), n)
	}
	return sealed
}

// isCheap checks the cost of a request with the given Cookie header.
func (a *app) isCheap(t *testing.T, header string, signedIn bool) {
	request := func() {
		a.visit(header, func(ctx context.Context, s *session.Session) {
			if s.SignedIn() != signedIn || codePending(ctx, a) {
				t.Errorf("signed in: %v, want %v; login pending: %v", s.SignedIn(), signedIn, codePending(ctx, a))
			}
		})
	}
	allocated, took := cost(request)
	t.Logf("%v, %d bytes", took, allocated)
	if allocated > maxRejectBytes {
		t.Errorf("%d bytes allocated, want at most %d", allocated, maxRejectBytes)
	}
	if took > maxRejectTime {
		t.Errorf("%v, want at most %v", took, maxRejectTime)
	}
}

// cost returns the allocated bytes and the duration of one call of f: the least of
// several calls, and of many calls on a busy machine.
func cost(f func()) (bytes uint64, took time.Duration) {
	f()
	const rounds = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		f()
	}
	runtime.ReadMemStats(&after)
	took = time.Hour
	for i := 0; i < rounds || took > maxRejectTime && i < 100*rounds; i++ {
		start := time.Now()
		f()
		took = min(took, time.Since(start))
	}
	return (after.TotalAlloc - before.TotalAlloc) / rounds, took
}
