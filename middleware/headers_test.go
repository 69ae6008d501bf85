//go:build !race

package middleware_test

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// Clients can send large header fields without signing in. The middleware must
// spend little time and memory on them, in addition to the server. The test does
// not run with the race detector, which costs both.
const (
	maxHeaderTime  = 100 * time.Microsecond
	maxHeaderBytes = 32 << 10
)

// afterType is the prefix of the shapes that begin with a media type.
const afterType = "after a type: "

// hostile returns header values of 1 MB, and lists of values of this total size.
func hostile() map[string][]string {
	const size = 1 << 20
	fill := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	var params strings.Builder
	for i := 0; params.Len() < size; i++ {
		fmt.Fprintf(&params, ";p%d=%d", i, i)
	}
	values := map[string][]string{"parameters": {"text/html" + params.String()}, "form parameters": {"multipart/form-data" + params.String()}}
	for _, unit := range []string{
		"a", "A", ",", ";", " ", "\t", `"`, `\`, "=", "/", "%", "*", "_", ".", "a/b,", "text/html,", "text/html;q=0.9,", "*/*;q=1,", "*/*,",
		"text/html;a=\"\\\"\",", "text/html;charset=utf-8,", "a=b;", "text/html;", "a=b; ", "%41", "../", "a,b;c=d ", "\x80", "é",
	} {
		values[unit] = []string{fill(unit)}
		values[afterType+unit] = []string{"text/html;" + fill(unit)}
	}
	for _, start := range []string{
		"application/json; charset=", "multipart/form-data; boundary=", `text/html; a="`, "Bearer", "Basic ", "https://", "https://user:", "https://a.example/",
		"same-origin", "navigate", "text/html;a*0=", "a@", "http://[",
	} {
		values[start] = []string{start + fill("a")}
	}
	for _, unit := range []string{"", "a", "text/html", "text/html;q=0.5", "*/*;q=0.1", "application/json;a=b", strings.Repeat("A", 600)} {
		// Over HTTP/2, a repeated field takes one byte to send.
		many := make([]string, size/(len(unit)+32))
		for i := range many {
			many[i] = unit
		}
		values["many fields of "+unit] = many
	}
	return values
}

// readFields has the header fields that this module or net/http reads.
var readFields = slices.Concat(middleware.ScriptFields, []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cf-Visitor", "Cloudfront-Forwarded-Proto", "Connection", "Content-Encoding",
	"Content-Type", "Forwarded", "Front-End-Https", "Host", "If-None-Match", "Range", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
	"Sec-Fetch-User", "Upgrade", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Proto",
	"X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Requested-With", "X-Scheme", "X-Url-Scheme",
})

// target is a request to which a hostile header field or address is added.
type target struct {
	method, path, body string
	header             http.Header
}

// probes returns cheap requests to all routes and guards.
func probes() []target {
	var all []target
	page := http.Header{"Accept": {"text/html"}}
	script := http.Header{"Accept": {"application/json"}}
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	cookie := http.Header{"Cookie": {"__Host-session=x"}}
	for _, path := range []string{"/login", "/login/mfa", "/logout", "/user", "/role", "/api/user", "/me", "/open"} {
		all = append(all,
			target{method: "GET", path: path, header: page},
			target{method: "GET", path: path, header: script},
			target{method: "POST", path: path, body: "x=1", header: form},
			target{method: "POST", path: path, body: "x=1"},
			target{method: "POST", path: path},
			target{method: "POST", path: path, header: cookie},
		)
	}
	return all
}

// newGuarded returns an app with every route and guard.
func newGuarded(t *testing.T) http.Handler {
	auth := authtest.NewServer(t, authtest.Options{PasswordCost: -1})
	m := newManager(t, func(c *session.Config) {
		c.Auth = synmetrix.NewClient(auth.URL)
		c.Logger = slog.New(slog.DiscardHandler)
	})
	// This is a map, because an http.ServeMux spends time on a long Host.
	routes := map[string]http.Handler{}
	for _, route := range middleware.Routes(m) {
		routes[route.Method+" "+route.Path] = route.Handler
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, fmt.Sprint(middleware.WantsPage(r)))
	})
	for path, h := range map[string]http.Handler{
		"/user": middleware.RequireUser(ok), "/api/user": middleware.RequireUser(ok), "/role": middleware.RequireRole("admin")(ok),
		"/me": http.HandlerFunc(middleware.Me), "/open": ok,
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			routes[method+" "+path] = h
		}
	}
	return middleware.Sessions(m, middleware.WithAPI("/api/"))(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		routes[r.Method+" "+r.URL.Path].ServeHTTP(w, r)
	}))
}

// request returns a new request of the target.
func (p target) request() *http.Request {
	var body io.Reader
	if p.body != "" {
		body = strings.NewReader(p.body)
	}
	r := httptest.NewRequest(p.method, p.path, body)
	for name, values := range p.header {
		r.Header[name] = values
	}
	return r
}

// cheapest returns the minimum cost of several requests, because other programs
// add to the cost. It stops at the first request that is cheap enough. On a busy machine
// many requests may be needed until one is undisturbed.
func cheapest(h http.Handler, r func() *http.Request, enoughBytes uint64, enough time.Duration) (bytes uint64, took time.Duration) {
	bytes, took = 1<<62, time.Hour
	var before, after runtime.MemStats
	tries := 50
	if enough > 0 {
		tries = 3000
	}
	for range tries {
		w, r := httptest.NewRecorder(), r()
		runtime.ReadMemStats(&before)
		start := time.Now()
		h.ServeHTTP(w, r)
		took = min(took, time.Since(start))
		runtime.ReadMemStats(&after)
		bytes = min(bytes, after.TotalAlloc-before.TotalAlloc)
		if took <= enough && bytes <= enoughBytes {
			break
		}
	}
	return bytes, took
}

func TestHeadersAreCheap(t *testing.T) {
	h := newGuarded(t)
	values := hostile()
	shapes := slices.Sorted(maps.Keys(values))
	inQuery := map[string]string{}
	repair := strings.NewReplacer(" ", "+", "\t", "+", "\x80", "+", "%", "%25", "#", "+")
	for shape, list := range values {
		inQuery[shape] = repair.Replace(list[0])
	}
	for i, p := range probes() {
		plainBytes, plainTime := cheapest(h, p.request, 0, 0)
		check := func(combination int, what string, r func() *http.Request) {
			t.Helper()
			if !scale.Turn(combination, 16) {
				return
			}
			bytes, took := cheapest(h, r, plainBytes+maxHeaderBytes, plainTime+maxHeaderTime)
			if bytes > plainBytes+maxHeaderBytes || took > plainTime+maxHeaderTime {
				t.Fatalf("%s %s %v, %s: %v and %d bytes, without %v and %d bytes", p.method, p.path, p.header, what, took, bytes, plainTime, plainBytes)
			}
		}
		for j, field := range readFields {
			for k, shape := range shapes {
				list := values[shape]
				if strings.HasPrefix(shape, afterType) && field != "Accept" && field != "Content-Type" {
					continue
				}
				check(i+j+k, field+": "+shape, func() *http.Request {
					r := p.request()
					if r.Header[field] = list; field == "Host" {
						r.Host = list[0]
					}
					return r
				})
			}
		}
		if p.method != "GET" {
			continue
		}
		for j, start := range []string{"", "return_to=", "a=b&return_to=/"} {
			for k, shape := range shapes {
				check(i+j+k, "query: "+start+shape, func() *http.Request {
					r := p.request()
					r.URL.RawQuery = start + inQuery[shape]
					r.RequestURI = p.path + "?" + r.URL.RawQuery
					return r
				})
			}
		}
	}
}

// hostileAddresses returns request targets of 1 MB that a server accepts, by their
// descriptions.
func hostileAddresses() map[string]*http.Request {
	repair := strings.NewReplacer(" ", "+", "\t", "+", "\x80", "+", "%41", "%41", "%", "%25")
	all := map[string]*http.Request{}
	for shape, list := range hostile() {
		text := repair.Replace(list[0])
		for _, prefix := range []string{"/", "//", "/api/", "http://app.example/"} {
			if u, err := url.Parse(prefix + text); err == nil {
				all[prefix+" and "+shape] = &http.Request{RequestURI: prefix + text, URL: u}
			}
		}
	}
	return all
}

// A guard around the whole app receives paths of any length.
func TestAddressesAreCheap(t *testing.T) {
	m := newManager(t, func(c *session.Config) {
		auth := authtest.NewServer(t, authtest.Options{PasswordCost: -1})
		c.Auth = synmetrix.NewClient(auth.URL)
		c.Logger = slog.New(slog.DiscardHandler)
	})
	guarded := middleware.RequireUser(http.NotFoundHandler())
	addresses := hostileAddresses()
	for name, option := range map[string]middleware.Option{"all paths": middleware.WithAPI("/api/"), "clean paths": middleware.WithCleanPaths()} {
		t.Run(name, func(t *testing.T) { addressesAreCheap(t, middleware.Sessions(m, option)(guarded), addresses) })
	}
}

func addressesAreCheap(t *testing.T, h http.Handler, addresses map[string]*http.Request) {
	page := target{method: "GET", path: "/", header: http.Header{"Accept": {"text/html"}}}
	plainBytes, plainTime := cheapest(h, page.request, 0, 0)
	for name, address := range addresses {
		bytes, took := cheapest(h, func() *http.Request {
			r := page.request()
			r.RequestURI, r.URL = address.RequestURI, address.URL
			return r
		}, plainBytes+maxHeaderBytes, plainTime+maxHeaderTime)
		if bytes > plainBytes+maxHeaderBytes || took > plainTime+maxHeaderTime {
			t.Errorf("path %s: %v and %d bytes, without %v and %d bytes", name, took, bytes, plainTime, plainBytes)
		}
	}
}
