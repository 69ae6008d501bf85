package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"sync"
	"time"
)

const leastMemory = "least code, memory"

func init() {
	register(contender{
		name: leastMemory, router: netHTTP, session: "in memory, decoded", less: notInOne + "; records are not encrypted", apart: true,
		open: openLeastMemory,
	})
}

func openLeastMemory(*env) (http.Handler, error) {
	var mu sync.RWMutex
	sessions := map[[sha256.Size]byte]*leastSession{} // by the hash of the ID
	return leastApp(
		func(id string) *leastSession {
			key := sha256.Sum256([]byte(id))
			mu.RLock()
			defer mu.RUnlock()
			return sessions[key]
		},
		func(a account) (string, error) {
			s, err := newLeastSession(a.tokens.AccessToken, a.tokens.RefreshToken, time.Now())
			if err != nil {
				return "", err
			}
			var random [32]byte
			_, _ = rand.Read(random[:]) // never fails
			id := base64.RawURLEncoding.EncodeToString(random[:])
			key := sha256.Sum256([]byte(id))
			mu.Lock()
			defer mu.Unlock()
			sessions[key] = s
			return id, nil
		}), nil
}
