package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/synmetrix/session/store/internal/detached"
)

// do runs f for one call of the store. It checks the table first, applies the
// timeout, and retries f if the database has rolled it back.
//
// f runs with its own context, which is not canceled with ctx. Canceling a query
// while its rows are read can mix up results, in drivers and in database/sql itself
// (CVE-2025-47907).
func do[T any](s *Store, ctx context.Context, op string, f func(context.Context) (T, error)) (T, error) {
	value, err := detached.Do(ctx, s.timeout, func(ctx context.Context) (value T, err error) {
		if err := s.ensure(ctx); err != nil {
			return value, err
		}
		return retry(ctx, f)
	})
	if err != nil {
		var none T
		return none, failed(op, err)
	}
	s.purgeSometimes()
	return value, nil
}

// retry runs f, and runs it again as long as it returns a transient error.
func retry[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	const least, most = time.Millisecond, 50 * time.Millisecond
	for pause := least; ; pause = min(2*pause, most) {
		value, err := f(ctx)
		if err == nil || !isTransient(err) {
			return value, err
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return value, fmt.Errorf("still failing after retries: %w", err)
		}
	}
}

// The package imports no driver, and the errors of the drivers have no common interface.
// PostgreSQL drivers have a method for the SQLSTATE, MySQL drivers have a field for the
// number, and SQLite drivers have a method or a field for the code. errorCode distinguishes
// them by these methods and fields.

// isTransient reports whether the statement was rolled back and is likely to succeed
// if it is repeated: after a deadlock, a serialization failure, or a lock that was not
// available.
func isTransient(err error) bool {
	switch errorCode(err) {
	case "40001", "40P01", "55P03", // PostgreSQL: serialization, deadlock, lock not available
		"mysql 1213", "mysql 1205", "mysql 1020", // deadlock, lock wait, changed since read
		"sqlite 5", "sqlite 6": // busy, locked
		return true
	}
	return false
}

// isDuplicate reports whether err means that MySQL already has a row with that key.
func isDuplicate(err error) bool { return errorCode(err) == "mysql 1062" }

// errorCode returns the database's code of the error, or "".
func errorCode(err error) string {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState()
	}
	var code interface{ Code() int }
	if errors.As(err, &code) {
		return sqliteCode(int64(code.Code()))
	}
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.ValueOf(err)
		if v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			continue
		}
		if n := v.FieldByName("Number"); n.Kind() == reflect.Uint16 { // go-sql-driver/mysql
			return fmt.Sprintf("mysql %d", n.Uint())
		}
		if n := v.FieldByName("Code"); n.CanInt() { // mattn/go-sqlite3
			return sqliteCode(n.Int())
		}
	}
	return ""
}

// sqliteCode returns the primary result code. The upper bits of code are the extended
// result code.
func sqliteCode(code int64) string { return fmt.Sprintf("sqlite %d", code&0xff) }
