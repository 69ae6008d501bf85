// Package victim is what the tests of mutate break.
package victim

// Sum adds two numbers.
func Sum(a, b int) int {
	return a + b
}

// Double doubles a number.
func Double(a int) int { return Sum(a, a) }
