//go:build race

package adaptertest

const race = true // the race detector allocates, too
