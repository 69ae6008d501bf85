// Package store is the contract between the session framework and the places
// that keep sessions: the Store interface, the Record it moves and the two
// errors that have a meaning of their own.
//
// A store knows nothing of users, tokens or cookies. It keeps opaque bytes
// under a key, swaps them by version and forgets them when they expire.
// Package storetest proves an implementation against this contract.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Errors that a Store returns for answers that are part of its contract. They
// may be wrapped; callers test for them with errors.Is. Every other error
// means that the store could not answer, and nothing about the record.
var (
	// ErrNotFound is returned by Get for a key that holds no record, or holds
	// one that has expired.
	ErrNotFound = errors.New("store: record not found")

	// ErrConflict is returned by Put when the stored version is not the one
	// that was expected. Nothing has been written.
	ErrConflict = errors.New("store: version conflict")

	// ErrFull is returned by Put for a new record where the store is bounded
	// and has no room. Nothing has been written.
	ErrFull = errors.New("store: full")
)

// Record is one session as a store keeps it. A store returns it exactly as it
// was put, but for ExpiresAt, which it may round up by less than a second.
//
// Data and Meta are sealed by the caller, but for a store in the caller's own
// memory, from which they never leave it. A record's bytes are shared between the
// store and its callers and must not be modified by either, once they have been
// handed over.
//
// A Record prints and logs without its contents.
type Record struct {
	// Key names the record. It is printable ASCII without spaces, at most 128
	// bytes, and never reveals the session ID it was made from.
	Key string

	// Owner is a keyed hash of the user ID, at most 128 bytes of printable
	// ASCII without spaces, or empty where the record is not to be listed.
	Owner string

	// Version identifies this state of the record. The writer picks it at
	// random; it is never zero and says nothing about order.
	Version uint64

	// Data is the session itself.
	Data []byte

	// Meta is what a list of sessions shows. It may be empty.
	Meta []byte

	// ExpiresAt is when the record ceases to exist. It is never zero.
	ExpiresAt time.Time
}

// Format prints the key, the version and how much there is, for every fmt verb.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "store.Record{%s %x, %d+%d bytes}", r.Key, r.Version, len(r.Data), len(r.Meta))
}

// LogValue returns what Format prints.
func (r Record) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Store keeps records. All methods are safe for concurrent use, return when
// ctx is done, and treat a record whose ExpiresAt has come as absent.
//
// A Store must be linearizable for each key as seen from one process: a Get
// never returns a state older than that process's own last successful Put or
// ErrConflict for the key.
type Store interface {
	// Get returns the record stored under key. It returns ErrNotFound if there
	// is none or if it has expired.
	Get(ctx context.Context, key string) (Record, error)

	// Put stores rec if the version now stored under rec.Key is prev, and
	// returns ErrConflict otherwise. A prev of zero means that the key must
	// hold no record; an expired record counts as none, both for prev zero
	// and for any other prev. Compare and write are one atomic step.
	//
	// A rec that breaks the rules of its fields is an error, and not stored.
	// After any other error it is unknown whether rec has been stored.
	Put(ctx context.Context, rec Record, prev uint64) error

	// Delete removes the record stored under key. Deleting a key that holds
	// none is not an error.
	Delete(ctx context.Context, key string) error

	// List returns the records whose Owner is owner, in no particular order;
	// none is an empty result, not an error. An empty owner owns nothing.
	List(ctx context.Context, owner string) ([]Record, error)
}
