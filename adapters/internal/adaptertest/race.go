//go:build race

package adaptertest

const race = true // which costs allocations of its own
