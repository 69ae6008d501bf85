package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// errPanicked replaces the value of a client's panic, which may quote arguments.
var errPanicked = errors.New("the client panicked")

// do runs f for one call of the store, with the timeout.
//
// f runs with its own context, which is not canceled with ctx: rueidis reads a key once for
// all calls that wait for it, and the end of one must not be the failure of the others. do
// still returns when ctx is done. f then continues in the background, until the timeout
// at most.
func do[T any](s *Store, ctx context.Context, op string, f func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	done := make(chan result, 1)
	go func() {
		defer cancel()
		var res result
		defer func() {
			// In its own goroutine, an unrecovered panic would end the process.
			if recover() != nil {
				res.err = errPanicked
			}
			done <- res
		}()
		res.value, res.err = f(own)
	}()
	var res result
	select {
	case res = <-done:
	case <-ctx.Done():
		res.err = ctx.Err()
	case <-own.Done():
		// Wait a little for the error of the client, which says more than that of
		// the context. The client may be connecting, so do not wait for long.
		select {
		case res = <-done:
		case <-time.After(s.timeout / 10):
			res.err = own.Err()
		}
	}
	if res.err != nil {
		var none T
		return none, failed(op, res.err)
	}
	s.checkOnce()
	return res.value, nil
}

// failed returns the error of a call. It has no text from the server beyond the kind of the
// error, as that text may quote arguments.
func failed(op string, err error) error {
	var reply *rueidis.RedisError
	if errors.As(err, &reply) {
		err = errors.New("the server reports " + kind(reply.Error()))
	}
	return fmt.Errorf("redisstore: %s: %w", op, err)
}

// kind returns the first word of an error of the server, such as READONLY, and a few more
// for one without a word of its own.
func kind(text string) string {
	word, rest, _ := strings.Cut(text, " ")
	if word == "" || strings.ContainsFunc(word, func(c rune) bool { return (c < 'A' || c > 'Z') && c != '_' }) {
		return "an error of an unknown kind"
	}
	known, _, _ := strings.Cut(rest, " command")
	if word == "ERR" && known == "unknown" {
		return "ERR unknown command"
	}
	return word
}

// isFull reports whether the server has rejected a write because its memory is full. Redis
// 6 puts the error into one of its own.
func isFull(err error) bool {
	var reply *rueidis.RedisError
	return errors.As(err, &reply) && (strings.HasPrefix(reply.Error(), "OOM ") || strings.Contains(reply.Error(), "-OOM "))
}
