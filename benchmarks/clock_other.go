//go:build !linux

package main

import "time"

// cpuTime calls f and returns the time that it takes: there is no clock of a thread.
func cpuTime(f func() error) (time.Duration, error) { return wallTime(f) }

func processTime(f func() error) (time.Duration, error) { return wallTime(f) }
