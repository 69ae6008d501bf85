package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// Key names a value that an app keeps in its users' sessions, and gives it a
// type. Make one with [NewKey], usually as a package variable. Two keys of one
// name are the same value.
//
// Values belong to a session: they are gone when it ends. In a stored session
// changes of different values are merged, however many requests make them at
// once; of two changes of one value the later stays. In a cookie session the
// last answer that reaches the browser decides about all values.
type Key[T any] struct{ name string }

// maxNameSize bounds the name of a value.
const maxNameSize = 128

// NewKey returns the key of the given name, of 1 to 128 bytes. Values are kept
// as encoding/json writes a T.
func NewKey[T any](name string) Key[T] { return Key[T]{name} }

// Get returns the session's value for k. It reports false if there is none, or
// if what is there is not a T.
func (k Key[T]) Get(s *Session) (T, bool) {
	var v T
	raw, ok := s.value(k.name)
	if !ok || json.Unmarshal(raw, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// Set changes the session's value for k. The change is saved with the response
// to the request, or by [Session.Save].
//
// It fails with [ErrNoSession] if nobody is signed in, with
// [ErrSessionUnavailable] if that can't be told at the moment, and with
// [ErrEnded] if the request has signed its user out, or in anew, after it got s.
// When it is too late to save a change it fails with [ErrCommitted]: in a cookie
// session once the response has begun, in a stored one once the request is over.
// It fails with [ErrTooLarge] if a cookie session would not fit its cookies any
// more, a stored session would exceed Config.MaxValueBytes, or either would have
// more than 10,000 values. Then nothing is changed. Other requests may fill a
// stored session meanwhile: then saving fails with [ErrTooLarge].
func (k Key[T]) Set(s *Session, v T) error {
	var raw bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetEscapeHTML(false) // what is shown on no page need not take six bytes for a "<"
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("session: value %q: %w", k.name, err)
	}
	return s.change(k.name, bytes.TrimSuffix(raw.Bytes(), []byte("\n")))
}

// Delete removes the session's value for k. It fails as Set does.
func (k Key[T]) Delete(s *Session) error { return s.change(k.name, nil) }

// ValueNames returns the names of the session's values, sorted.
func (s *Session) ValueNames() []string {
	if s.user() == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.valuesLocked()))
}

// change is a change of one value that has not been saved: the n-th of the
// request, to raw, or a deletion if that is nil.
type change struct {
	raw []byte
	n   uint64
}

func (s *Session) value(name string) ([]byte, bool) {
	if s.user() == nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.valueLocked(name)
}

func (s *Session) valueLocked(name string) ([]byte, bool) {
	if c, ok := s.changes[name]; ok {
		return c.raw, c.raw != nil
	}
	if s.rec == nil {
		return nil, false
	}
	raw, ok := s.rec.Values[name]
	return raw, ok
}

func (s *Session) valuesLocked() map[string][]byte {
	if s.rec == nil {
		return nil
	}
	return merge(s.rec.Values, s.changes)
}

// merge returns values with the changes applied.
func merge(values map[string][]byte, changes map[string]change) map[string][]byte {
	if len(changes) == 0 {
		return values
	}
	merged := maps.Clone(values)
	if merged == nil {
		merged = make(map[string][]byte, len(changes))
	}
	for name, c := range changes {
		if c.raw == nil {
			delete(merged, name)
		} else {
			merged[name] = c.raw
		}
	}
	return merged
}

func (s *Session) change(name string, raw []byte) error {
	if name == "" || len(name) > maxNameSize {
		return fmt.Errorf("session: the name of a value has %d bytes; 1 to %d are allowed", len(name), maxNameSize)
	}
	if err := s.tryChange(name, raw); err != nil {
		return fmt.Errorf("session: set value %q: %w", name, err)
	}
	return nil
}

func (s *Session) tryChange(name string, raw []byte) error {
	if s.m == nil {
		return ErrNoSession
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed != nil {
		return closed // whoever is signed in
	}
	if _, err := s.resolve(s.ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rec == nil {
		return ErrNoSession
	}
	if err := s.takes(name, raw); err != nil {
		return err
	}
	if s.changes == nil {
		s.changes = map[string]change{}
	}
	s.changed++
	s.changes[name] = change{raw, s.changed}
	return nil
}

// takes returns why the session can't take a change.
func (s *Session) takes(name string, raw []byte) error {
	if s.closed != nil {
		return s.closed
	}
	if s.m.Stored() {
		return s.storeTakes(name, raw)
	}
	values := merge(s.valuesLocked(), map[string]change{name: {raw: raw}})
	switch {
	case len(values) > keeper.MaxValues:
		return errTooManyValues
	case !s.m.jar.Fits(seal.Size(stateSize(values))):
		return errCookiesFull
	}
	return nil
}

// storeTakes returns why a stored session can't take a change, and counts the
// change if it can. It counts all values once only: a handler may set many.
func (s *Session) storeTakes(name string, raw []byte) error {
	if s.size == 0 {
		s.size = bytesOf(s.valuesLocked())
	}
	size := s.size
	old, had := s.valueLocked(name)
	if had {
		size -= len(name) + len(old)
	}
	if raw != nil {
		size += len(name) + len(raw)
	}
	switch {
	case size > s.size && size > s.m.cfg.MaxValueBytes:
		return s.m.valuesFull()
	case raw != nil && !had && len(s.rec.Values)+len(s.changes) >= keeper.MaxValues && len(s.valuesLocked()) >= keeper.MaxValues:
		return errTooManyValues
	}
	s.size = size
	return nil
}

// takes returns why the values of a stored session can't be replaced: there are
// too many of them, and more than before.
func (m *Manager) takes(before, after map[string][]byte) error {
	switch size := bytesOf(after); {
	case size > m.cfg.MaxValueBytes && size > bytesOf(before):
		return m.valuesFull()
	case len(after) > keeper.MaxValues && len(after) > len(before):
		return errTooManyValues
	}
	return nil
}

var errTooManyValues = fmt.Errorf("%w: more than %d values", ErrTooLarge, keeper.MaxValues)

func (m *Manager) valuesFull() error {
	return fmt.Errorf("%w: its values take more than %d bytes (Config.MaxValueBytes)", ErrTooLarge, m.cfg.MaxValueBytes)
}

// bytesOf is what values take of Config.MaxValueBytes.
func bytesOf(values map[string][]byte) int {
	n := 0
	for name, raw := range values {
		n += len(name) + len(raw)
	}
	return n
}
