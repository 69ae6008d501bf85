package testkit

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/synmetrix/session/store"
)

// FailingStore is a store that fails while Down is set.
type FailingStore struct {
	store.Store
	Down atomic.Bool
}

// ErrDown is the error of a FailingStore.
var ErrDown = errors.New("store: down")

// Get implements [store.Store].
func (s *FailingStore) Get(ctx context.Context, key string) (store.Record, error) {
	if s.Down.Load() {
		return store.Record{}, ErrDown
	}
	return s.Store.Get(ctx, key)
}

// Put implements [store.Store].
func (s *FailingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	if s.Down.Load() {
		return ErrDown
	}
	return s.Store.Put(ctx, rec, prev)
}

// Delete implements [store.Store].
func (s *FailingStore) Delete(ctx context.Context, key string) error {
	if s.Down.Load() {
		return ErrDown
	}
	return s.Store.Delete(ctx, key)
}

// List implements [store.Store].
func (s *FailingStore) List(ctx context.Context, owner string) ([]store.Record, error) {
	if s.Down.Load() {
		return nil, ErrDown
	}
	return s.Store.List(ctx, owner)
}

// StallingStore is a store whose calls a test can suspend. It stands for the store of a
// process that is paused.
type StallingStore struct {
	store.Store

	still    chan struct{}              // full while calls are suspended
	Late     func(context.Context) bool // reports calls of Put that return ErrConflict
	AfterPut func()                     // called after a write, before its response
}

// Stop suspends calls until Start.
func (s *StallingStore) Stop() { s.still <- struct{}{} }

// Start resumes calls.
func (s *StallingStore) Start() { <-s.still }

// pass waits while calls are suspended.
func (s *StallingStore) pass() { s.Stop(); s.Start() }

// Get implements [store.Store].
func (s *StallingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.pass()
	return s.Store.Get(ctx, key)
}

// Put implements [store.Store].
func (s *StallingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.pass()
	if s.Late != nil && s.Late(ctx) {
		return store.ErrConflict
	}
	err := s.Store.Put(ctx, rec, prev)
	if s.AfterPut != nil {
		s.AfterPut()
	}
	return err
}

// IsCounter reports whether a key of a store is that of a counter of guesses, which
// belongs to no session.
func IsCounter(key string) bool { return strings.HasPrefix(key, "count-") }
