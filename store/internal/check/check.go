// Package check validates records and names. Every store checks a record before it
// writes it.
package check

import (
	"errors"
	"fmt"

	"github.com/synmetrix/session/store"
)

// MaxName is the length of the longest Key or Owner, in bytes.
const MaxName = 128

// Record returns an error if a field of rec is invalid; see [store.Record]. The error
// names the field and does not quote its value.
func Record(rec store.Record) error {
	switch {
	case rec.Key == "":
		return errors.New("invalid record: Key is empty")
	case rec.Version == 0:
		return errors.New("invalid record: Version is zero")
	case rec.ExpiresAt.IsZero():
		return errors.New("invalid record: ExpiresAt is zero")
	}
	if err := name("Key", rec.Key); err != nil {
		return err
	}
	return name("Owner", rec.Owner)
}

// Name reports whether s is a valid Key, or a valid Owner that is not empty. Stores
// need not send a query for any other name.
func Name(s string) bool { return s != "" && name("", s) == nil }

func name(field, s string) error {
	if len(s) > MaxName {
		return fmt.Errorf("invalid record: %s has %d bytes, at most %d are allowed", field, len(s), MaxName)
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return fmt.Errorf("invalid record: byte %d of %s is not printable ASCII", i, field)
		}
	}
	return nil
}
