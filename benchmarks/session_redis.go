package main

import (
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"
)

const (
	redisUnchanged = "session, Redis, unchanged"
	redisRead      = "session, Redis, read"
	redisFirst     = "session, Redis, first request"
)

func init() {
	register(contender{
		name: redisUnchanged, router: netHTTP, session: "in Redis, in the client's cache", ours: true,
		waits: true,
		open:  openSession(inRedis(0)),
	})
	register(contender{
		name: redisRead, router: netHTTP, session: "in Redis, read, opened before", ours: true,
		waits: true,
		open:  openSession(inRedis(noCache)),
	})
	register(contender{
		name: redisFirst, router: netHTTP, session: "in Redis, read, not opened before", ours: true, first: true,
		waits: true,
		open:  openSession(inRedis(noCache)),
	})
}

// noCache makes each request read from the server.
const noCache = -1

func inRedis(cacheTTL time.Duration) func(*env, *session.Config) error {
	return func(e *env, c *session.Config) (err error) {
		c.Store, err = openRedis(e, cacheTTL)
		return err
	}
}

func openRedis(e *env, cacheTTL time.Duration) (store.Store, error) {
	server, err := e.redis()
	if err != nil {
		return nil, err
	}
	return redisstore.New(server.client, redisstore.Config{CacheTTL: cacheTTL})
}
