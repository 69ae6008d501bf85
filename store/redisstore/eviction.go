package redisstore

import (
	"context"
	"log/slog"
	"slices"
	"strings"
)

// checkOnce starts the check of the eviction policy after the first successful call, when
// the server responds.
func (s *Store) checkOnce() {
	if s.checked.Load() || !s.checked.CompareAndSwap(false, true) {
		return
	}
	go func() {
		// A panic of the client would end the process.
		defer func() { _ = recover() }()
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		if policy := s.evicts(ctx); policy != "" {
			s.log().Warn("session store: the server removes sessions when its memory is full",
				slog.String("maxmemory_policy", policy), slog.String("want", "noeviction"))
		}
	}()
}

// evicts returns the policy of a server that removes keys, or "". If the server does not
// allow its settings to be read, evicts returns "".
func (s *Store) evicts(ctx context.Context) string {
	for _, node := range s.client.Nodes() {
		info, err := node.Do(ctx, node.B().Info().Section("memory").Build()).ToString()
		if err != nil {
			continue
		}
		lines := strings.Fields(info)
		policy := ""
		for _, line := range lines {
			if value, found := strings.CutPrefix(line, "maxmemory_policy:"); found {
				policy = value
			}
		}
		// Without a limit the memory is never full, so the policy does not matter.
		if policy != "" && policy != "noeviction" && !slices.Contains(lines, "maxmemory:0") {
			return policy
		}
	}
	return ""
}

func (s *Store) log() *slog.Logger {
	if s.logger != nil {
		return s.logger
	}
	return slog.Default()
}
