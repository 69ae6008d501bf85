//go:build race

package proc

// Race reports whether Main builds the programs with the race detector, which makes them
// slow.
const Race = true
