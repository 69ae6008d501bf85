// Package store defines the contract between package session and the stores
// that keep sessions: the Store interface, the Record type, and the errors that are
// part of the contract.
//
// A store does not depend on users, tokens or cookies. It stores opaque bytes under a key,
// replaces them by version, and removes them when they expire. Package storetest tests an
// implementation against this contract.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// The errors that are part of the contract. They may be wrapped; test with errors.Is. Any
// other error means that the call failed, and that the state of the record is unknown.
var (
	// ErrNotFound is returned by Get for a key without a record, or with an expired record.
	ErrNotFound = errors.New("store: record not found")

	// ErrConflict is returned by Put if the stored version is not the expected
	// one. Put has written nothing.
	ErrConflict = errors.New("store: version conflict")

	// ErrFull is returned by Put for a new record if the store has a limit and has
	// reached it. Put has written nothing.
	ErrFull = errors.New("store: full")
)

// Record is a stored session. A store returns it exactly as it was put. Only
// ExpiresAt may be rounded up, by less than a second.
//
// The caller seals Data and Meta, unless the store is in the memory of its own
// process. The store and its callers share the bytes of a record. Neither may modify
// them after a call of Put, Get or List.
//
// A Record prints and logs without its contents.
type Record struct {
	// Key identifies the record. It is printable ASCII without spaces, at most 128
	// bytes, and does not reveal the session ID from which it is derived.
	Key string

	// Owner is a keyed hash of the user ID, at most 128 bytes of printable ASCII
	// without spaces. It is empty for records that List does not return.
	Owner string

	// Version identifies this state of the record. The writer chooses it at
	// random. It is never zero and does not express an order.
	Version uint64

	// Data is the session itself.
	Data []byte

	// Meta describes the session in a list of sessions. It may be empty.
	Meta []byte

	// ExpiresAt is when the record expires. It is never zero.
	ExpiresAt time.Time
}

// Format prints the key, the version and the sizes for every verb.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "store.Record{%s %x, %d+%d bytes}", r.Key, r.Version, len(r.Data), len(r.Meta))
}

// LogValue returns the text of Format.
func (r Record) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Store stores records. All methods are safe for concurrent use and return when ctx
// is done. A record that has expired counts as absent.
//
// For each key, a Store must be linearizable within one process: Get never returns a
// state older than the process's last successful Put, or than the state that
// caused its last ErrConflict.
type Store interface {
	// Get returns the record stored under key. It returns ErrNotFound if there is none or
	// if it has expired, and for a key that is not a [ValidName].
	Get(ctx context.Context, key string) (Record, error)

	// Put stores rec if the version stored under rec.Key is prev, and returns ErrConflict
	// otherwise. A prev of zero means that the key must have no record. An expired record
	// counts as absent for every prev. Put compares and writes in one atomic step.
	//
	// If a field of rec is invalid, Put returns the error of [Record.Validate] and does
	// not store rec. After any other error it is unknown whether rec was stored.
	Put(ctx context.Context, rec Record, prev uint64) error

	// Delete removes the record stored under key. It returns no error if there is
	// none.
	Delete(ctx context.Context, key string) error

	// List returns the records whose Owner is owner, in no particular order. If
	// there are none, or owner is empty, it returns an empty slice and no error.
	List(ctx context.Context, owner string) ([]Record, error)
}

// Counter is an optional interface for a [Store] that can count the sessions of signed-in
// users, for package telemetry.
type Counter interface {
	// CountSessions returns the number of records that have an owner. Records that have
	// expired may count for some seconds. It is safe for concurrent use, and returns when
	// ctx is done.
	CountSessions(ctx context.Context) (int, error)
}
