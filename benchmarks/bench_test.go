// Package benchmarks_test measures this library and others on the same work,
// in one run. The README beside it says how to read the figures.
package benchmarks_test

import (
	"net/http"
	"slices"
	"testing"
)

// batch is after how many requests an app is made anew where it must not
// grow, or must not remember.
const batch = 1024

// BenchmarkPage gets a page that is for one role, by a user who is signed in
// and has it.
func BenchmarkPage(b *testing.B) {
	for _, l := range slices.Concat(routers, libraries) {
		b.Run("library="+l.name, func(b *testing.B) { benchmarkPage(b, l, false) })
	}
}

// BenchmarkPageTokens is BenchmarkPage with sessions that keep the auth
// service's tokens, too, as an app needs them that calls an API as its user.
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

// BenchmarkAnonymous gets the front page, which asks whether somebody is signed
// in, without a cookie.
func BenchmarkAnonymous(b *testing.B) {
	for _, l := range slices.Concat(routers, libraries) {
		if l.unseen {
			continue // there is no cookie
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
			continue // it is that of the others
		}
		b.Run("library="+l.name, func(b *testing.B) {
			app := l.open(false)
			r := newRequest(b, "POST", "/login")
			form := loginForm(admin, password)
			v, n := newVisitor(), 0
			b.ReportAllocs()
			for b.Loop() {
				if n++; n%batch == 0 {
					// Stores must not grow for as long as it is measured.
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
