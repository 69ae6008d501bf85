// Package detached makes calls of databases that must not end with their caller.
package detached

import (
	"context"
	"errors"
	"time"
)

// ErrPanicked replaces the value of a driver's panic, which may quote arguments.
var ErrPanicked = errors.New("the driver panicked")

// Do runs f with a new context, which has the values of ctx, is not canceled with ctx, and
// ends after timeout. Do returns when ctx is done, and soon after timeout. f then continues
// in the background, at most until timeout if it obeys its context. If f panics, Do returns
// ErrPanicked.
func Do[T any](ctx context.Context, timeout time.Duration, f func(context.Context) (T, error)) (value T, err error) {
	type result struct {
		value T
		err   error
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	done := make(chan result, 1)
	go func() {
		defer cancel()
		var res result
		growStack(0)
		defer func() {
			// In its own goroutine, an unrecovered panic would end the process.
			if recover() != nil {
				res.err = ErrPanicked
			}
			done <- res
		}()
		res.value, res.err = f(own)
	}()
	select {
	case res := <-done:
		return res.value, res.err
	case <-ctx.Done():
		return value, ctx.Err()
	case <-own.Done():
	}
	// Wait briefly for the error of the driver, which has more detail than that of the
	// context. The driver may ignore contexts, so do not wait for long.
	select {
	case res := <-done:
		return res.value, res.err
	case <-time.After(timeout / 10):
		return value, own.Err()
	}
}

// growStack makes room for the calls of a driver on the stack of a new goroutine. Otherwise the
// stack grows in several steps, and each copies it: with SQLite, this took a tenth of the
// CPU time of a read.
//
//go:noinline
func growStack(i int) byte {
	var room [12 << 10]byte // the stack then has 16 KiB, which the runtime reuses without a lock
	return room[i]
}
