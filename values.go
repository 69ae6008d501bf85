package session

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/synmetrix/session/internal/keeper"
)

// Key names a value that an app keeps in the sessions of its users and visitors, and
// defines the value's type. Make one with [NewKey], usually as a package variable. Two keys
// with the same name refer to the same value.
//
// The values of a session are deleted when the session ends. If requests change different
// values of a stored session at the same time, all changes are kept; if they change the
// same value, the last change is kept. In a cookie session, the response that the browser
// receives last determines all values.
type Key[T any] struct{ name string }

// maxNameSize bounds the name of a value.
const maxNameSize = 128

// NewKey returns the key with the given name, of 1 to 128 bytes. Values are
// encoded by encoding/json.
func NewKey[T any](name string) Key[T] { return Key[T]{name} }

// Get returns the session's value for k. It reports false if there is none, or if
// the stored value cannot be decoded into a T.
func (k Key[T]) Get(s *Session) (T, bool) {
	var v T
	raw, ok := s.value(k.name)
	if !ok || json.Unmarshal(raw, &v) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// Set changes the session's value for k. The change is saved with the response to
// the request, or by [Session.Save]. If Set fails, the value is unchanged.
//
// A visitor who is not signed in may have values, too. The first value starts a session of
// the visitor, with its own ID and the usual idle timeout and lifetime. A sign-in keeps the
// values (see Config.KeepValue), and a sign-out deletes them.
//
// Set fails with
//   - [ErrNotLoaded] outside the session middleware,
//   - [ErrSessionRequired] if the request has a bearer token, and [ErrUnauthenticated] if
//     that token is not accepted,
//   - [ErrSessionUnavailable] if the session cannot be determined,
//   - [ErrEnded] if the request has signed its user out, or in again, after the
//     handler got s,
//   - [ErrCommitted] if it is too late to save the change: in a cookie session
//     after the response has begun, as for the first value of a visitor, and in a
//     stored session after the request or a failed [Exchange.Commit],
//   - [ErrTooLarge] if the values of a cookie session would not fit its cookies, if
//     those of a stored session would exceed Config.MaxValueBytes, or if there would
//     be more than 10,000 values.
//
// If other requests fill a stored session after Set, saving the change fails with
// [ErrTooLarge].
func (k Key[T]) Set(s *Session, v T) error {
	var raw bytes.Buffer
	e := json.NewEncoder(&raw)
	e.SetEscapeHTML(false) // the JSON is never part of a page, and an escaped "<" takes six bytes of a cookie
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("session: set value %q: %w", k.name, err)
	}
	return s.setRaw("set value", k.name, bytes.TrimSuffix(raw.Bytes(), []byte("\n")))
}

// Delete removes the session's value for k. It fails as Set does.
func (k Key[T]) Delete(s *Session) error { return s.setRaw("delete value", k.name, nil) }

// Pop returns the session's value for k and deletes it, for messages that are shown once,
// on the page after a redirect. It reports false if there is no value, or if it is too late
// to delete the value, which then stays for the next request. Two requests at the same time
// may both get the value.
//
// To show a message after a sign-out, set it after [Manager.Logout], in the session that
// [FromContext] returns then.
func (k Key[T]) Pop(s *Session) (T, bool) {
	v, ok := k.Get(s)
	if !ok || k.Delete(s) != nil {
		var zero T
		return zero, false
	}
	return v, true
}

// ValueNames returns the names of the session's values, sorted.
func (s *Session) ValueNames() []string {
	if _, err := s.resolve(s.ctx); err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.valuesLocked()))
}

// Save writes the session's changed values at once instead of with the response, so that
// the handler can handle an error. The values of a cookie session are written into the
// response, so Save only reports whether the session has ended.
//
// Save fails with [ErrEnded] or [ErrSessionUnavailable], and with [ErrSessionRequired] if
// the request has a bearer token. It fails with
// [ErrTooLarge] if other requests have filled the session meanwhile; the changes
// are then discarded.
func (s *Session) Save(ctx context.Context) error {
	if s.bearer {
		return s.needsSession(ctx)
	}
	if _, err := s.resolve(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	rec, ended := s.rec, s.ended
	s.mu.Unlock()
	switch {
	case rec != nil:
		return s.m.publicError(ctx, rec, s.save(ctx, false))
	case ended:
		return fmt.Errorf("session: save: %w", ErrEnded)
	}
	return nil // a visitor without values
}

// save writes the changed values of a stored session and, with touch, that the
// session is in use. Its error is the keeper's and has not been reported yet.
//
// The session is not locked during the write, so several calls may save it at
// once. Each writes the changes that are newest at its write, and the store
// decides on the order.
func (s *Session) save(ctx context.Context, touch bool) error {
	s.mu.Lock()
	rec, create := s.rec, s.begun && !s.stored
	changes, _ := s.changesLocked()
	changed := len(changes) > 0
	s.mu.Unlock()
	switch {
	case rec == nil || !changed && !touch:
		return nil
	case !s.m.stored() && rec.Visitor:
		return nil
	case !s.m.stored():
		_, err := s.m.keeper.Newest(ctx, rec)
		return err
	case create:
		if err := s.create(ctx, rec); !errors.Is(err, keeper.ErrExists) {
			return err
		}
		// Another call has stored the session first. Its record may not have all changes.
	}
	now := s.m.now()
	var upTo uint64 // the number of the newest change that is written
	stored, err := s.m.keeper.Update(ctx, rec, func(r *keeper.Record) error {
		// Update calls this again after a conflict. The changes are merged into the values
		// of the other writer, so neither write is lost.
		s.mu.Lock()
		var changes map[string]change
		changes, upTo = s.changesLocked()
		merged := merge(r.Values, changes)
		s.mu.Unlock()
		if err := s.m.checkValues(r.Values, merged); err != nil {
			return err
		}
		r.Values = merged
		if touch {
			r.Seen(now)
		}
		return nil
	})
	tooLarge := errors.Is(err, ErrTooLarge)
	if err != nil && !tooLarge {
		return err
	}
	if tooLarge {
		err = fmt.Errorf("session: save values: %w", err)
	}
	s.noteSaved(stored, upTo)
	return err
}

// create stores the new session of a visitor.
func (s *Session) create(ctx context.Context, rec *keeper.Record) error {
	s.mu.Lock()
	_, upTo := s.changesLocked()
	rec = rec.Clone()
	rec.Values = s.valuesLocked()
	s.mu.Unlock()
	if len(rec.Values) == 0 {
		return nil // the values were deleted in the request that set them
	}
	stored, err := s.m.keeper.CreateVisitor(ctx, rec)
	if err == nil {
		s.noteSaved(stored, upTo)
	}
	if err == nil || errors.Is(err, keeper.ErrExists) {
		s.mu.Lock()
		s.stored = true
		s.mu.Unlock()
	}
	return err
}

// newestRecord returns the newest state of the session, nil if there is none. Other
// requests may have stored values in the meantime. newestRecord fails if the store cannot
// be read now.
func (s *Session) newestRecord(ctx context.Context) (*keeper.Record, error) {
	s.mu.Lock()
	rec, unread, begun := s.rec, s.unread, s.begun && !s.stored
	s.mu.Unlock()
	if rec == nil && unread != nil {
		var err error
		if rec, err = s.read(ctx, unread); err != nil && s.m.stored() && !errors.Is(err, keeper.ErrCorrupt) {
			return nil, err
		}
	}
	if rec == nil || begun || !s.m.stored() {
		return rec, nil // only this request uses a session that has just started
	}
	newest, err := s.m.keeper.Newest(ctx, rec)
	if err = s.m.publicError(ctx, rec, err); errors.Is(err, ErrSessionUnavailable) && !errors.Is(err, keeper.ErrCorrupt) {
		return nil, err
	}
	return newest, nil // nil if the session has ended
}

// withChanges returns values with the changes of the request that are not saved yet.
func (s *Session) withChanges(values map[string][]byte) map[string][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, _ := s.changesLocked()
	return merge(values, changes)
}

// anyRecord returns the record of the session or, if it has not been read, the state in its
// cookies. It returns nil if the request has no session.
func (s *Session) anyRecord() *keeper.Record {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rec
}

// noteSaved adopts stored, the state in the store after a save of the changes up to the
// number upTo, and forgets these changes. Changes that do not fit are forgotten, too,
// because each later save would fail with them.
func (s *Session) noteSaved(stored *keeper.Record, upTo uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.edits
	if e != nil {
		maps.DeleteFunc(e.changes, func(_ string, c change) bool { return c.n <= upTo })
		e.size = 0
	}
	if !s.hasRecordLocked(stored) || e != nil && upTo < e.saved {
		return // the session has ended, or a concurrent save was later
	}
	if e != nil {
		e.saved = upTo
	}
	if stored.Pair.Gen != s.rec.Pair.Gen {
		// The claims of the stored tokens have not been read.
		stored = stored.Clone()
		stored.Pair = s.rec.Pair
	}
	s.rec = stored
}

// discardChanges drops the changes that could not be saved with the response, and
// rejects later ones. The client repeats the request, and then changes them again.
func (s *Session) discardChanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = cmp.Or(s.closed, closedByCommit)
	s.discardLocked()
}
