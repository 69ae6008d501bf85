// Package victim is the package in which the tests of mutate plant faults.
package victim

// Sum adds two numbers.
func Sum(a, b int) int {
	return a + b
}

// Double doubles a number.
func Double(a int) int { return Sum(a, a) }
