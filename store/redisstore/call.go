package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/internal/detached"
)

// do runs f for one call of the store, with the timeout.
//
// f runs with its own context, which is not canceled with ctx: rueidis reads a key once for
// all calls that wait for it, and the end of one call must not make the others fail.
func do[T any](s *Store, ctx context.Context, op string, f func(context.Context) (T, error)) (T, error) {
	value, err := detached.Do(ctx, s.timeout, f)
	s.responds.Store(err == nil)
	if err != nil {
		var none T
		return none, failed(op, err)
	}
	s.checkOnce()
	return value, nil
}

// getHere is do for a read that is probably served from the cache: it needs no goroutine.
// It is used while the server responds: the client returns when ctx is done, except while
// it waits for another call to connect.
func (s *Store) getHere(ctx context.Context, key string) (rec store.Record, found bool, err error) {
	defer func() {
		if recover() != nil {
			err = detached.ErrPanicked
		}
		if err != nil {
			s.responds.Store(false)
			err = failed("get", err)
		}
	}()
	// If the caller's deadline is earlier, no timer is needed.
	if end, ok := ctx.Deadline(); !ok || time.Until(end) > s.timeout {
		own, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		ctx = own
	}
	return s.get(ctx, key)
}

// failed returns the error of a call. It contains only the kind of an error of the server,
// because the rest of its text may quote arguments.
func failed(op string, err error) error {
	var reply *rueidis.RedisError
	if errors.As(err, &reply) {
		err = errors.New("the server reports " + kind(reply.Error()))
	}
	return fmt.Errorf("redisstore: %s: %w", op, err)
}

// kind returns the first word of an error of the server, such as READONLY. The client removes
// the word ERR.
func kind(text string) string {
	word, _, _ := strings.Cut(text, " ")
	switch {
	case word != "" && !strings.ContainsFunc(word, func(c rune) bool { return c < 'A' || c > 'Z' }):
		return word
	case strings.HasPrefix(text, "unknown command"):
		return "ERR unknown command"
	}
	return "ERR"
}

// isFull reports whether the server has rejected a write because its memory is full. Redis
// 6 wraps the error in another error.
func isFull(err error) bool {
	if err == nil {
		return false // errors.As would allocate
	}
	var reply *rueidis.RedisError
	return errors.As(err, &reply) && (strings.HasPrefix(reply.Error(), "OOM ") || strings.Contains(reply.Error(), "-OOM "))
}
