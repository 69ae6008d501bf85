package store

import (
	"errors"
	"fmt"
)

// MaxName is the length of the longest Key or Owner of a record, in bytes.
const MaxName = 128

// Validate returns an error if a field of r is invalid. A store calls it in Put, before
// it writes. The error names the field and does not quote its value.
//
// A record is valid if
//   - Key is a valid name, see [ValidName],
//   - Owner is empty or a valid name,
//   - Version is not zero,
//   - ExpiresAt is not the zero time. It may be in the past.
//
// Data and Meta may have any length, and may be empty.
func (r Record) Validate() error {
	switch {
	case r.Key == "":
		return errors.New("invalid record: Key is empty")
	case r.Version == 0:
		return errors.New("invalid record: Version is zero")
	case r.ExpiresAt.IsZero():
		return errors.New("invalid record: ExpiresAt is zero")
	}
	if err := validateName("Key", r.Key); err != nil {
		return err
	}
	return validateName("Owner", r.Owner)
}

// ValidName reports whether s can be a Key, or an Owner that is not empty: it has at most
// [MaxName] bytes of printable ASCII without spaces, and at least one. No record has an
// invalid name, so a store need not search for one: Get returns [ErrNotFound], Delete nil,
// and List an empty list.
func ValidName(s string) bool { return s != "" && validateName("", s) == nil }

func validateName(field, s string) error {
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
