// Package scale sizes the tests. By default they do what a developer waits
// for. CI=true runs every combination, LONG=1 the full counts as well.
package scale

import "os"

// Long reports whether the tests run at their full counts.
func Long() bool { return os.Getenv("LONG") != "" }

// CI reports whether the tests run every combination. LONG=1 includes it.
func CI() bool { return os.Getenv("CI") != "" || Long() }

// Of returns the first value by default, the second in CI and the third at full
// length.
func Of[T any](usual, ci, long T) T {
	switch {
	case Long():
		return long
	case CI():
		return ci
	}
	return usual
}

// Turn reports whether combination i of a matrix runs: all of them in CI, one of
// n otherwise. Tests add up the indexes of the matrix's axes, so that each value
// of each axis has its turn.
func Turn(i, n int) bool { return CI() || i%n == 0 }
