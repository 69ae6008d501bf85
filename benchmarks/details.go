package main

import (
	"context"
	"encoding/base64"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
)

// Tasks of this library alone.
const (
	role    = "RequireRole" // a guard by itself
	garbage = "garbage"     // a request with cookies that do not open
	read    = "read"        // of a record, by the store alone
)

// noGuard is the page without the guard, in place of a number of roles.
const noGuard = "none"

// garbageSize is the size of the Cookie field that does not open.
const garbageSize = 16 << 10

// detailWorks returns the tasks of this library alone.
func detailWorks(e *env) []*work {
	works := []*work{
		noGuardWork(), roleWork(e, 1), roleWork(e, 300),
		garbageWork(e, "one cookie", func(text string) string { return "__Host-session=" + text }),
		garbageWork(e, "chunks", func(text string) string {
			part := (len(text)-200)/4 - 1
			var pairs []string
			for i, name := range []string{"", "-1", "-2", "-3"} {
				pairs = append(pairs, "__Host-session"+name+"="+text[i*part:(i+1)*part])
			}
			return strings.Join(pairs, "; ")
		}),
	}
	for name, open := range map[string]func(*env) (store.Store, error){
		redisRead:  func(e *env) (store.Store, error) { return openRedis(e, noCache) },
		sqliteRead: openSQLite,
	} {
		if _, err := open(e); err == nil {
			works = append(works, readWork(e, name, open))
		}
	}
	return works
}

// roleWork calls the guard of a route with a session that has been loaded, and has n roles.
func roleWork(e *env, n int) *work {
	roles := make([]string, n)
	for i := range roles {
		roles[i] = "role-" + strconv.Itoa(i)
	}
	user := newAccount("b0c4d2be-55b1-49c5-9f37-ea4c3fd2a7e7", time.Now().Add(24*time.Hour), roles...)
	open := sync.OnceValues(func() (func(n int) error, error) {
		m, err := newManager(e, nil)
		if err != nil {
			return nil, err
		}
		r := newRequest("GET", "/admin")
		r = m.Begin(r.Context(), new(session.Exchange), r)
		err = m.Start(r.Context(), auth.Grant{Tokens: user.tokens})
		return repeat(middleware.RequireRole(roles[n-1])(http.HandlerFunc(adminOnly)), r, func(v *reader) bool { return v.got(adminPage) }), err
	})
	return &work{name: role, contender: strconv.Itoa(n), prepare: times(open)}
}

// noGuardWork calls the page inside the guard.
func noGuardWork() *work {
	open := func() (func(n int) error, error) {
		r := newRequest("GET", "/admin")
		return repeat(http.HandlerFunc(adminOnly), r, func(v *reader) bool { return v.got(adminPage) }), nil
	}
	return &work{name: role, contender: noGuard, prepare: times(open)}
}

// garbageWork sends a Cookie field of garbageSize bytes that does not open to the page
// for admins. Each request has other text.
func garbageWork(e *env, name string, field func(text string) string) *work {
	return &work{name: garbage, contender: name, most: maxFirst, prepare: func(n int) (func() error, error) {
		h, err := openSession(nil)(e)
		if err != nil {
			return nil, err
		}
		requests := make([]*http.Request, n)
		for i := range requests {
			requests[i] = newFetch("/admin")
			requests[i].Header.Set("Cookie", field(randomText(garbageSize)))
		}
		v := newReader()
		return func() error {
			for _, r := range requests {
				v.send(h, r, "")
				if v.status != http.StatusUnauthorized {
					return v.unexpected()
				}
			}
			return nil
		}, nil
	}}
}

// randomText returns base64 of random bytes, with n characters.
func randomText(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

// readWork reads the record of a session, without this library: the time of the store's
// client.
func readWork(e *env, name string, open func(*env) (store.Store, error)) *work {
	run := sync.OnceValues(func() (func(n int) error, error) {
		s, err := open(e)
		if err != nil {
			return nil, err
		}
		spy := &lastRead{Store: s}
		h, err := openSession(func(_ *env, c *session.Config) error { c.Store = spy; return nil })(e)
		if err != nil {
			return nil, err
		}
		r, err := signedInRequest(h, "/admin", admin)
		if err != nil {
			return nil, err
		}
		v := newReader()
		if v.send(h, r, ""); !v.got(adminPage) {
			return nil, v.unexpected()
		}
		return func(n int) error {
			for range n {
				// A deadline, as for each call of the library.
				ctx, cancel := context.WithTimeout(browsing, 2*time.Second)
				_, err := s.Get(ctx, spy.key)
				cancel()
				if err != nil {
					return err
				}
			}
			return nil
		}, nil
	})
	return &work{name: read, contender: name, waits: true, prepare: times(run)}
}

// lastRead is a store that notes the key of the record that was read last.
type lastRead struct {
	store.Store
	key string
}

func (s *lastRead) Get(ctx context.Context, key string) (store.Record, error) {
	rec, err := s.Store.Get(ctx, key)
	if err == nil { // most users have no mark
		s.key = key
	}
	return rec, err
}

// cookieField returns the size of the Cookie field of a user.
func cookieField(e *env) (int, error) {
	h, err := openSession(nil)(e)
	if err != nil {
		return 0, err
	}
	field, err := signIn(h, admin)
	// The device cookie has the same path, and does not belong to the session.
	var size int
	for pair := range strings.SplitSeq(field, "; ") {
		if !strings.Contains(pair, "-device=") {
			size += len(pair) + len("; ")
		}
	}
	return max(size-len("; "), 0), err
}
