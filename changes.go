package session

import (
	"cmp"
	"fmt"
	"maps"
	"time"

	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// This file has the changes of values that a request has not saved yet, and their limits.

// change is a change of one value that has not been saved yet.
type change struct {
	raw []byte // the new value as JSON; nil deletes the value
	n   uint64 // counts the changes of the request
}

// closing is why a session accepts no more changes.
type closing uint8

const (
	notClosed closing = iota
	closedByCommit
	closedByEnd
)

// err returns the error of a change, nil if the session accepts it.
func (c closing) err() error {
	switch c {
	case closedByCommit:
		return ErrCommitted
	case closedByEnd:
		return ErrEnded
	}
	return nil
}

// edits are the changes of a request that are not saved yet.
type edits struct {
	changes map[string]change
	newest  uint64 // the number of the newest change
	saved   uint64 // the number of the newest change that the session's record contains
	size    int    // of a stored session's values, with the changes; 0 if not computed yet
}

// changesLocked returns the changes that are not saved yet, and the number of the newest.
func (s *Session) changesLocked() (map[string]change, uint64) {
	if s.edits == nil {
		return nil, 0
	}
	return s.edits.changes, s.edits.newest
}

// discardLocked drops the changes that are not saved yet.
func (s *Session) discardLocked() {
	if s.edits != nil {
		s.edits.changes, s.edits.size = nil, 0
	}
}

// value returns the JSON of a value, with the request's own changes.
func (s *Session) value(name string) ([]byte, bool) {
	if _, err := s.resolve(s.ctx); err != nil {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.valueLocked(name)
}

func (s *Session) valueLocked(name string) ([]byte, bool) {
	changes, _ := s.changesLocked()
	if c, ok := changes[name]; ok {
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
	changes, _ := s.changesLocked()
	return merge(s.rec.Values, changes)
}

// merge returns values with the changes applied. It does not modify values, which
// requests share.
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

// setRaw changes a value to raw, or deletes the value if raw is nil.
func (s *Session) setRaw(op, name string, raw []byte) error {
	if name == "" || len(name) > maxNameSize {
		return fmt.Errorf("session: %s: the name of the value has %d bytes; 1 to %d are allowed", op, len(name), maxNameSize)
	}
	if err := s.trySetRaw(name, raw); err != nil {
		return fmt.Errorf("session: %s %q: %w", op, name, err)
	}
	return nil
}

func (s *Session) trySetRaw(name string, raw []byte) error {
	if s.m == nil {
		return s.sharedError()
	}
	if s.bearer {
		return s.needsSession(s.ctx)
	}
	s.mu.Lock()
	closed := s.closed.err()
	s.mu.Unlock()
	if closed != nil {
		// Check this before resolve: a change that is too late must not wait for the
		// network, and fails in the same way for all users.
		return closed
	}
	if _, err := s.resolve(s.ctx); err != nil {
		return err
	}
	now := s.m.now() // no lock is held, because the clock is the app's
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setRawLocked(name, raw, now)
}

// setRawLocked records a change of a value. The first value starts the session of a visitor.
func (s *Session) setRawLocked(name string, raw []byte, now time.Time) error {
	if s.rec == nil && raw == nil {
		return s.closed.err() // a visitor without a session has no value to delete
	}
	begins := s.rec == nil
	if begins && s.actor != nil {
		return cmp.Or(s.closed, closedByEnd).err() // a visitor's session cannot exist next to the actor's own session
	}
	if begins {
		s.rec, s.begun, s.stored = keeper.NewVisitor(now), true, false
		s.rec.Transient = s.m.cfg.Cookie.NonPersistent
	}
	if s.edits == nil {
		s.edits = &edits{}
	}
	if err := s.checkChange(name, raw); err != nil {
		if begins {
			s.rec, s.begun = nil, false
		}
		return err
	}
	e := s.edits
	if e.changes == nil {
		e.changes = map[string]change{}
	}
	e.newest++
	e.changes[name] = change{raw, e.newest}
	return nil
}

// checkChange returns an error if the session cannot accept a change.
func (s *Session) checkChange(name string, raw []byte) error {
	if err := s.closed.err(); err != nil {
		return err
	}
	if s.m.stored() {
		return s.checkStoredChange(name, raw)
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

// checkStoredChange is checkChange for a stored session. It keeps the size of the values in
// edits, because a handler may set thousands of values: adding up all sizes for each value
// would take quadratic time.
func (s *Session) checkStoredChange(name string, raw []byte) error {
	e := s.edits
	if e.size == 0 {
		e.size = valuesSize(s.valuesLocked())
	}
	size := e.size
	old, had := s.valueLocked(name)
	if had {
		size -= len(name) + len(old)
	}
	if raw != nil {
		size += len(name) + len(raw)
	}
	switch {
	case size > e.size && size > s.m.cfg.MaxValueBytes:
		return s.m.errValuesFull()
	case raw != nil && !had && len(s.rec.Values)+len(e.changes) >= keeper.MaxValues && len(s.valuesLocked()) >= keeper.MaxValues:
		return errTooManyValues
	}
	e.size = size
	return nil
}

// checkValues returns an error if a stored session cannot change its values from before to
// after. A change that makes values smaller is always accepted: the limit may have been
// lowered since they were stored.
func (m *Manager) checkValues(before, after map[string][]byte) error {
	switch size := valuesSize(after); {
	case size > m.cfg.MaxValueBytes && size > valuesSize(before):
		return m.errValuesFull()
	case len(after) > keeper.MaxValues && len(after) > len(before):
		return errTooManyValues
	}
	return nil
}

var errTooManyValues = fmt.Errorf("%w: more than %d values", ErrTooLarge, keeper.MaxValues)

func (m *Manager) errValuesFull() error {
	return fmt.Errorf("%w: its values take more than %d bytes (Config.MaxValueBytes)", ErrTooLarge, m.cfg.MaxValueBytes)
}

// valuesSize returns the size of values as Config.MaxValueBytes counts it.
func valuesSize(values map[string][]byte) int {
	n := 0
	for name, raw := range values {
		n += len(name) + len(raw)
	}
	return n
}
