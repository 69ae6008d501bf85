// Package benchmarks_test measures this library and others with the same work, in
// one run. README.md explains how to read the figures.
package benchmarks_test

import (
	"net/http"
	"slices"
	"testing"
)

// batch is the number of requests after which a new app replaces the app, so that
// its stores do not grow and its caches stay empty.
const batch = 1024

// BenchmarkPage gets a page for one role, as a signed-in user with that role.
func BenchmarkPage(b *testing.B) {
	for _, l := range slices.Concat(routers, libraries) {
		b.Run("library="+l.name, func(b *testing.B) { benchmarkPage(b, l, false) })
	}
}

// BenchmarkPageTokens is BenchmarkPage with sessions that also hold the auth
// service's tokens. Apps need them to call an API as the user.
func BenchmarkPageTokens(b *testing.B) {
	for _, l := range libraries {
		if !l.cannotKeep {
			b.Run("library="+l.name, func(b *testing.B) { benchmarkPage(b, l, true) })
		}
	}
}

func benchmarkPage(b *testing.B, l library, tokens bool) {
	app := l.open(tokens)
	requests := []*http.Request{newRequest(b, "GET", "/admin")}
	if !l.bare {
		requests[0] = signedInRequest(b, app, "/admin", admin)
	}
	if l.unseen {
		for len(requests) < batch {
			requests = append(requests, signedInRequest(b, app, "/admin", admin))
		}
		app = l.open(tokens)
	}
	v, i := newVisitor(), 0
	b.ReportAllocs()
	for b.Loop() {
		if i == len(requests) {
			i = 0
			if l.unseen {
				b.StopTimer()
				app = l.open(tokens)
				b.StartTimer()
			}
		}
		v.send(app, requests[i], "")
		i++
		if !v.got(adminPage) {
			b.Fatalf("status %d, %q", v.status, v.body)
		}
	}
}

// BenchmarkAnonymous gets the front page without a cookie. The page checks whether
// a user is signed in.
func BenchmarkAnonymous(b *testing.B) {
	for _, l := range slices.Concat(routers, libraries) {
		if l.unseen {
			continue // the request has no cookie
		}
		b.Run("library="+l.name, func(b *testing.B) {
			app := l.open(false)
			r := newRequest(b, "GET", "/")
			v := newVisitor()
			b.ReportAllocs()
			for b.Loop() {
				v.send(app, r, "")
				if !v.got(frontUnknown) {
					b.Fatalf("status %d, %q", v.status, v.body)
				}
			}
		})
	}
}

// BenchmarkLogin signs a user in.
func BenchmarkLogin(b *testing.B) {
	for _, l := range libraries {
		if l.unseen {
			continue // the same as without unseen
		}
		b.Run("library="+l.name, func(b *testing.B) {
			app := l.open(false)
			r := newRequest(b, "POST", "/login")
			form := loginForm(admin, password)
			v, n := newVisitor(), 0
			b.ReportAllocs()
			for b.Loop() {
				if n++; n%batch == 0 {
					// Stores must not grow while the benchmark runs.
					b.StopTimer()
					app = l.open(false)
					b.StartTimer()
				}
				v.send(app, r, form)
				if !v.signedIn() {
					b.Fatalf("status %d, %q", v.status, v.body)
				}
			}
		})
	}
}
