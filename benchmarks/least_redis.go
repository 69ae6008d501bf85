package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

func init() {
	register(contender{
		name: "least code, Redis", router: netHTTP, session: "in Redis, in the client's cache, decoded before",
		less:  notInOne + "; records are not encrypted; the idle timeout is that of one process",
		waits: true,
		open:  openLeastRedis,
	})
}

// leastDecoded is a decoded record.
type leastDecoded struct {
	record  string
	session *leastSession
}

func openLeastRedis(e *env) (http.Handler, error) {
	server, err := e.redis()
	if err != nil {
		return nil, err
	}
	l := &leastRedis{client: server.client, decoded: map[string]leastDecoded{}}
	return leastApp(l.find, l.start), nil
}

type leastRedis struct {
	client rueidis.Client

	mu      sync.RWMutex
	decoded map[string]leastDecoded // by the ID
}

// find returns the session of an ID. The client has cached the record unless the server
// has reported a change.
func (l *leastRedis) find(id string) *leastSession {
	record, err := l.client.DoCache(context.Background(), l.client.B().Get().Key("least:"+id).Cache(), time.Minute).ToString()
	if err != nil {
		return nil
	}
	l.mu.RLock()
	d := l.decoded[id]
	l.mu.RUnlock()
	if d.record == record {
		return d.session
	}
	refresh, access, _ := strings.Cut(record, " ")
	s, err := newLeastSession(access, refresh, time.Now())
	if err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.decoded) >= maxOpened {
		clear(l.decoded)
	}
	l.decoded[id] = leastDecoded{record, s}
	return s
}

func (l *leastRedis) start(a account) (string, error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	id := base64.RawURLEncoding.EncodeToString(random[:])
	set := l.client.B().Set().Key("least:" + id).Value(a.tokens.RefreshToken + " " + a.tokens.AccessToken).Ex(leastLifetime).Build()
	if err := l.client.Do(context.Background(), set).Error(); err != nil {
		return "", fmt.Errorf("redis: %w", err)
	}
	return id, nil
}
