package testkit

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/synmetrix/session/store"
)

// FailingStore fails while it is down.
type FailingStore struct {
	store.Store
	Down atomic.Bool
}

// ErrDown is what a FailingStore returns.
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

// StallingStore is the store as a process sees it that can be made to stand
// still.
type StallingStore struct {
	store.Store

	still    chan struct{}              // full while it stands still
	Late     func(context.Context) bool // whose writes others are always ahead of
	AfterPut func()                     // before the response to a write arrives
}

// Stop makes calls wait until Start.
func (s *StallingStore) Stop() { s.still <- struct{}{} }

// Start lets calls go on.
func (s *StallingStore) Start() { <-s.still }
func (s *StallingStore) pass()  { s.Stop(); s.Start() }

func (s *StallingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.pass()
	return s.Store.Get(ctx, key)
}

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
