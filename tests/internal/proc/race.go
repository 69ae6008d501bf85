//go:build race

package proc

// Race tells whether the race detector is in the programs that Main builds: it
// makes them slow.
const Race = true
