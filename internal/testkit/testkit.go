// Package testkit has the code that tests share: an app with a Manager, an auth service
// whose behavior the test sets, browsers and their cookies, and stores that fail. Tests
// with waits run in the virtual time of testing/synctest.
package testkit

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Jar holds the cookies that a browser has for a site. It is never modified, so that a
// test can deliver responses in any order.
type Jar map[string]string

// After returns the jar after a response has set or deleted cookies.
func (j Jar) After(cookies []*http.Cookie) Jar {
	if len(cookies) == 0 {
		return j
	}
	next := Jar{}
	maps.Copy(next, j)
	for _, c := range cookies {
		if c.MaxAge < 0 {
			delete(next, c.Name)
		} else {
			next[c.Name] = c.Value
		}
	}
	return next
}

// String returns the Cookie header that the browser sends.
func (j Jar) String() string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(j)) {
		pairs = append(pairs, name+"="+j[name])
	}
	return strings.Join(pairs, "; ")
}

// Severally runs a test n times, atOnce at a time. The index of a run is its name, and
// the seed of its random choices.
func Severally(t *testing.T, n, atOnce int, run func(t *testing.T, i int)) {
	t.Helper()
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		if t.Failed() {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			t.Run(strconv.Itoa(i), func(t *testing.T) { run(t, i) })
		})
	}
	wg.Wait()
}

// Run calls start, which may be nil, runs the tests, and calls the function that start
// has returned. It returns the exit status. Tests that leave goroutines running fail.
func Run(m *testing.M, start func() (stop func())) (status int) {
	before := runtime.NumGoroutine()
	stop := func() {}
	if start != nil {
		stop = start()
	}
	status = m.Run()
	stop()
	// A fuzzing run starts goroutines of package testing, which stay.
	if fuzz := flag.Lookup("test.fuzz"); status != 0 || fuzz != nil && fuzz.Value.String() != "" {
		return status
	}
	// The goroutines of closed connections end after a moment.
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			fmt.Println("the tests leave goroutines running:")
			_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
			return 1
		}
	}
	return 0
}
