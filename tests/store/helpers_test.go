package store_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/synmetrix/session/store"
)

// counted returns a record that contains a number.
func counted(key string, n int) store.Record {
	rec := record(key)
	rec.Version = rand.Uint64() | 1
	rec.Data = strconv.AppendInt(nil, int64(n), 10)
	return rec
}

// count returns the number in rec, -1 if there is none.
func count(rec store.Record) int {
	n, err := strconv.Atoi(string(rec.Data))
	if err != nil {
		return -1
	}
	return n
}

// increment adds one to the number under key.
func increment(ctx context.Context, s store.Store, key string) error {
	for {
		rec, err := s.Get(ctx, key)
		if err != nil {
			return err
		}
		err = s.Put(ctx, counted(key, count(rec)+1), rec.Version)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
