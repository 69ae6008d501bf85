package session_test

import (
	"context"
	"sync"

	"github.com/synmetrix/session/store"
)

// swappingStore returns other records than those asked for, as drivers have
// done whose connections got mixed up.
type swappingStore struct {
	store.Store

	mu      sync.Mutex
	put     []string          // keys, in the order of their first Put
	puts    int               // calls of Put
	instead map[string]string // keys of the records to return
	alter   func(*store.Record)
}

func (s *swappingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.mu.Lock()
	if other, ok := s.instead[key]; ok {
		key = other
	}
	alter := s.alter
	s.mu.Unlock()
	rec, err := s.Store.Get(ctx, key)
	if alter != nil {
		alter(&rec)
	}
	return rec, err
}

func (s *swappingStore) Put(ctx context.Context, rec store.Record, prev uint64) error {
	s.mu.Lock()
	if s.puts++; prev == 0 {
		s.put = append(s.put, rec.Key)
	}
	s.mu.Unlock()
	return s.Store.Put(ctx, rec, prev)
}
