package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"
)

// errPanicked replaces a driver's panic, whose value may quote what it was
// sent.
var errPanicked = errors.New("the driver panicked")

// do runs f for one call of the store: within the time that a call has, again
// if the database rolled it back, and once the table is known to be right.
//
// The statement gets a context of its own, so that it is not cut off when the
// caller's is done. A query that is canceled while its rows are read has given
// drivers, and database/sql itself, opportunity to mix up answers
// (CVE-2025-47907). The caller is not kept waiting; what f still does, it does
// within the time limit.
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
			// Nobody above this goroutine could recover.
			if recover() != nil {
				res.err = errPanicked
			}
			done <- res
		}()
		if res.err = s.ensure(own); res.err == nil {
			res.value, res.err = retry(own, f)
		}
	}()
	var res result
	select {
	case res = <-done:
	case <-ctx.Done():
		res.err = ctx.Err()
	case <-own.Done():
		// The driver has a moment to say what was in its way. It may not care
		// about contexts.
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
	s.purgeSometimes()
	return res.value, nil
}

// retry runs f, and again as long as the database says that it has undone it
// for the sake of others.
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
			return value, fmt.Errorf("given up after repeated tries: %w", err)
		}
	}
}

// The package knows no driver, and the drivers agree on no way to say what an
// error means. Those of PostgreSQL have a method for the SQLSTATE; those of
// MySQL a field for the number; those of SQLite a method or a field for the
// code. They are told apart by shape.

// isTransient reports whether err says that the statement was undone, and is
// likely to succeed if it is repeated: a deadlock, a serialization failure, a
// lock that was not to be had.
func isTransient(err error) bool {
	switch errorCode(err) {
	case "40001", "40P01", "55P03", // PostgreSQL: serialization, deadlock, lock not available
		"mysql 1213", "mysql 1205", "mysql 1020", // deadlock, lock wait, changed since read
		"sqlite 5", "sqlite 6": // busy, locked
		return true
	}
	return false
}

// isDuplicate reports whether err says that MySQL has a row of that key.
func isDuplicate(err error) bool { return errorCode(err) == "mysql 1062" }

// errorCode returns what a database calls the error, or "".
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

// sqliteCode names a result code; its upper bits tell the case more closely.
func sqliteCode(code int64) string { return fmt.Sprintf("sqlite %d", code&0xff) }
