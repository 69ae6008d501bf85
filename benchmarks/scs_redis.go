package main

import (
	"net"
	"net/http"

	"github.com/alexedwards/scs/redisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/gomodule/redigo/redis"
)

func init() {
	register(contender{
		name: "scs, Redis", router: netHTTP, session: "in Redis, read, gob", less: notInScs + "; no idle timeout",
		waits: true,
		open:  scsInRedis,
	})
}

func scsInRedis(e *env) (http.Handler, error) {
	server, err := e.redis()
	if err != nil {
		return nil, err
	}
	pool := &redis.Pool{MaxIdle: 10, Dial: func() (redis.Conn, error) {
		return redis.Dial("unix", server.socket, redis.DialNetDial(func(_, _ string) (net.Conn, error) { return net.Dial("unix", server.socket) }))
	}}
	e.onClose(func() { _ = pool.Close() })
	m := scs.New()
	m.Store = redisstore.New(pool)
	m.Cookie.Secure = true
	return scsApp(m), nil
}
