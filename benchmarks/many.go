package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
)

// growth is the cost of many sessions in memory.
type growth struct {
	few, many    int     // sessions
	bytes        float64 // of memory, for each of many sessions
	nsFew        float64 // of a request of one of few sessions, over the bare router
	nsMany       float64
	nsCached     float64       // of a request of one of many sessions that are all in the cache
	cacheBytes   float64       // of the memory of the cache, for each of them
	longestStall time.Duration // of a read while all sessions expire
	longestIdle  time.Duration // of a read of another store meanwhile, which only the machine delays
}

// measureGrowth makes sessions in memory, and gets the page for admins in each round with
// random sessions of few and of many, and of many in an app whose cache has room for all.
// Then it lets the many expire, if expire is true.
func measureGrowth(e *env, few, many, rounds, requests int, expire bool) (growth, error) {
	g := growth{few: few, many: many}
	small, err := newPopulation(e, few)
	if err != nil {
		return g, err
	}
	large, err := newPopulation(e, many)
	if err != nil {
		return g, err
	}
	g.bytes = large.bytes / float64(many)
	cached, err := large.withCache(e, many*cacheRoom)
	if err != nil {
		return g, err
	}
	g.cacheBytes = cached.bytes / float64(many)
	// The bare router gets the same requests: the time to fetch one of many Cookie fields from
	// memory is not that of the sessions.
	bareFew, bareMany := population{h: bareHTTP(), fields: small.fields}, population{h: bareHTTP(), fields: large.fields}
	all := []*population{&bareFew, &bareMany, small, large, cached}
	samples := make([][]float64, len(all))
	for range rounds {
		for _, i := range rand.Perm(len(all)) {
			ns, err := all[i].send(requests)
			if err != nil {
				return g, err
			}
			samples[i] = append(samples[i], ns)
		}
	}
	baseFew, baseMany := median(samples[0]), median(samples[1])
	g.nsFew, g.nsMany, g.nsCached = median(samples[2])-baseFew, median(samples[3])-baseMany, median(samples[4])-baseMany
	if expire {
		g.longestStall, g.longestIdle, err = large.expire()
	}
	return g, err
}

// population is an app with many sessions.
type population struct {
	h      http.Handler
	store  *memstore.Store
	moved  *atomic.Int64 // the advance of the clock
	bytes  float64       // of memory of all sessions
	fields []string      // the Cookie fields of the users
}

func newPopulation(e *env, n int) (*population, error) {
	p := &population{moved: new(atomic.Int64), fields: make([]string, n)}
	now := func() time.Time { return time.Now().Add(time.Duration(p.moved.Load())) }
	p.store = &memstore.Store{Now: now}
	var err error
	p.h, err = openSession(func(_ *env, c *session.Config) error { c.Store, c.Now = p.store, now; return nil })(e)
	if err != nil {
		return nil, err
	}
	before := heap()
	var own atomic.Int64 // bytes of fields
	workers := runtime.GOMAXPROCS(0)
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				field, err := signIn(p.h, admin)
				if err != nil {
					errs[w] = err
					return
				}
				p.fields[i] = idOnly(field)
				own.Add(int64(cap16(len(p.fields[i]))))
			}
		})
	}
	wg.Wait()
	p.bytes = heap() - before - float64(own.Load())
	return p, errors.Join(errs...)
}

// cacheRoom is at least what a session of the benchmarks takes of Config.CacheBytes, half of
// which holds the sessions that were used last.
const cacheRoom = 8 << 10

// withCache returns another app with the sessions of p, whose cache has opened all of
// them. Its bytes are those of the cache.
func (p *population) withCache(e *env, room int) (*population, error) {
	now := func() time.Time { return time.Now().Add(time.Duration(p.moved.Load())) }
	h, err := openSession(func(_ *env, c *session.Config) error {
		c.Store, c.Now, c.CacheBytes = p.store, now, room
		return nil
	})(e)
	if err != nil {
		return nil, err
	}
	before := heap()
	v, r := newReader(), newRequest("GET", "/admin")
	for _, field := range p.fields {
		r.Header["Cookie"] = []string{field}
		if v.send(h, r, ""); !v.got(adminPage) {
			return nil, v.unexpected()
		}
	}
	return &population{h: h, bytes: heap() - before, fields: p.fields}, nil
}

// idOnly returns the cookie with the session ID.
func idOnly(field string) string {
	for pair := range strings.SplitSeq(field, "; ") {
		if strings.HasPrefix(pair, "__Host-session=") {
			return strings.Clone(pair)
		}
	}
	return field
}

// cap16 estimates the memory of a string with n bytes.
func cap16(n int) int { return (n + 15) / 16 * 16 }

// heap returns the bytes of live objects.
func heap() float64 {
	runtime.GC()
	runtime.GC() // pools are empty after the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// send sends requests of random users and returns the time of one, in nanoseconds.
func (p *population) send(n int) (float64, error) {
	r := newRequest("GET", "/admin")
	field := []string{""}
	v := newReader()
	took, err := cpuTime(func() error {
		for range n {
			// A server reads the fields of a request into new memory, too.
			field[0] = strings.Clone(p.fields[rand.IntN(len(p.fields))])
			r.Header["Cookie"] = field
			if v.send(p.h, r, ""); !v.got(adminPage) {
				return v.unexpected()
			}
		}
		return nil
	})
	return float64(took) / float64(n), err
}

// expire lets all sessions but one expire, has the store remove them, and returns the
// longest read of the remaining one meanwhile, and of a store without other records.
func (p *population) expire() (longest, idle time.Duration, err error) {
	ctx := context.Background()
	before := p.store.Len()
	p.moved.Store(int64(365 * 24 * time.Hour))
	live := store.Record{Key: "live", Owner: "owner", Version: 1, Data: []byte("data"), ExpiresAt: time.Now().Add(10 * 365 * 24 * time.Hour)}
	other := memstore.New()
	for _, s := range []*memstore.Store{p.store, other} {
		if err := s.Put(ctx, live, 0); err != nil {
			return 0, 0, err
		}
	}
	read := func(s *memstore.Store) time.Duration {
		start := time.Now()
		if _, e := s.Get(ctx, live.Key); e != nil {
			err = e
		}
		return time.Since(start)
	}
	deadline := time.Now().Add(time.Minute) // a sweep begins within seconds
	for p.store.Len() > 1 {
		longest, idle = max(longest, read(p.store)), max(idle, read(other))
		if err != nil {
			return 0, 0, err
		}
		if time.Now().After(deadline) {
			return 0, 0, fmt.Errorf("%d of %d expired records are still there", p.store.Len()-1, before)
		}
		time.Sleep(20 * time.Microsecond)
	}
	return longest, idle, nil
}
