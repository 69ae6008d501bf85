package main

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime calls f and returns the CPU time of its thread. Other programs disturb it less
// than they disturb the time that passes.
func cpuTime(f func() error) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, err := threadTime()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	end, err := threadTime()
	return end - start, err
}

func threadTime() (time.Duration, error) { return clock(unix.CLOCK_THREAD_CPUTIME_ID) }

// processTime calls f and returns the CPU time of the process.
func processTime(f func() error) (time.Duration, error) {
	start, err := clock(unix.CLOCK_PROCESS_CPUTIME_ID)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	end, err := clock(unix.CLOCK_PROCESS_CPUTIME_ID)
	return end - start, err
}

func clock(id int32) (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(id, &t)
	return time.Duration(t.Nano()), err
}
