// Package scale sets the size of tests. By default the tests are short enough for a
// developer to wait for. CI=true runs more combinations. LONG=1 runs all of them, and
// the full counts.
package scale

import (
	"flag"
	"os"
	"strconv"
)

// Long reports whether the tests run at their full counts.
func Long() bool { return os.Getenv("LONG") != "" }

// CI reports whether the tests run more than by default. LONG=1 includes it.
func CI() bool { return os.Getenv("CI") != "" || Long() }

// Of returns usual by default, ci with CI=true, and long with LONG=1.
func Of[T any](usual, ci, long T) T {
	switch {
	case Long():
		return long
	case CI():
		return ci
	}
	return usual
}

// Turn reports whether combination i of a matrix runs: every one with LONG=1, one of n/2
// with CI=true, one of n by default. A test passes the sum of the indexes on the matrix's
// axes, so that each value of each axis runs at least once.
func Turn(i, n int) bool { return i%Of(n, max(n/2, 1), 1) == 0 }

// AtOnce makes n parallel tests run at the same time, unless the command line says how
// many. It is called in TestMain, in packages whose tests mostly wait.
func AtOnce(n int) {
	const name = "test.parallel"
	if !flag.Parsed() {
		flag.Parse()
	}
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if !given {
		_ = flag.Set(name, strconv.Itoa(n))
	}
}
