// Package throttle counts guesses and e-mails in sliding windows. The processes of an
// app count together if they share a store.
//
// A counter is a record of the store, which is changed by compare-and-swap. It has the
// time of each event in the window, so the limit holds exactly: a counter of a bucket
// that fills up again would allow twice as many events in a window. An attempt is
// counted before it is made, so that attempts at the same time cannot exceed the limit
// together.
//
// If there is no shared store, or it fails, the process counts by itself.
//
//   - throttle.go: attempts, and counters in the shared store
//   - local.go: counters in the memory of the process
package throttle

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/synmetrix/session/internal/seal"
	"github.com/synmetrix/session/store"
)

// MaxLimit is the highest limit. It bounds the size of a record.
const MaxLimit = 1000

// Limit allows Max events under Key in a window. A Max of zero or less allows all.
type Limit struct {
	Key   string // printable ASCII without spaces; it must not reveal the account or the address
	Max   int
	Clear bool // an attempt that Clears removes the earlier ones under Key
}

// Config configures Counters. All fields except Shared are required.
type Config struct {
	// Shared is the store that the processes share, nil if there is none.
	Shared store.Store

	// MaxLocal bounds the number of counters in the memory of this process. Attempts that
	// would need more are not counted.
	MaxLocal int

	// Window is the length of a window.
	Window time.Duration

	// Patience is how long an attempt waits for other attempts that have not ended yet. An
	// attempt that takes longer than four times this time counts as lost.
	Patience time.Duration

	// Now returns the current time.
	Now func() time.Time
}

// Counters counts events. It is safe for concurrent use.
type Counters struct {
	cfg   Config
	local local

	mu        sync.Mutex
	downUntil time.Time // the shared store is not called before this time
}

// New returns Counters for cfg.
func New(cfg Config) *Counters {
	return &Counters{cfg: cfg, local: local{max: cfg.MaxLocal, window: cfg.Window, counters: map[string][]entry{}}}
}

// Outcome is the result of an attempt.
type Outcome int

const (
	Counts Outcome = iota // it counts until it has left the window
	Undone                // it does not count
	Clears                // it does not count, and neither do earlier attempts of limits with Clear
)

// Attempt is an attempt that was counted. The zero Attempt was not counted.
type Attempt struct {
	c     *Counters
	taken []taken
	room  [3]taken // of most attempts
}

// taken is an attempt that was counted under one limit.
type taken struct {
	limit   Limit
	nonce   uint64
	counter counter // as written
}

// counter is a counter in the shared store, as far as it is known. The zero counter is
// unknown.
type counter struct {
	known   bool
	version uint64 // 0 if there is none
	entries []entry
}

// Take counts an attempt under all limits. If a limit is reached, Take counts the attempt
// under none, and wait is the time until another attempt is allowed. The limits are tried
// in their order. The caller must call Done if wait is zero.
func (c *Counters) Take(ctx context.Context, limits ...Limit) (a *Attempt, wait time.Duration) {
	a = &Attempt{c: c}
	a.taken = a.room[:0]
	detached, now := c.detached(ctx), c.cfg.Now()
	for _, l := range limits {
		if l.Max <= 0 {
			continue
		}
		t, wait := c.take(ctx, detached, now, l)
		if wait > 0 {
			a.Done(ctx, Undone)
			return nil, wait
		}
		a.taken = append(a.taken, t)
	}
	return a, 0
}

// Done records the outcome of the attempt.
func (a *Attempt) Done(ctx context.Context, o Outcome) {
	if len(a.taken) == 0 {
		return
	}
	ctx = a.c.detached(ctx)
	now := a.c.cfg.Now()
	for _, t := range a.taken {
		outcome := o
		if o == Clears && !t.limit.Clear {
			outcome = Undone
		}
		a.c.done(ctx, now, t, outcome)
	}
}

// detached returns the context for calls of the shared store, which does not end with ctx.
func (c *Counters) detached(ctx context.Context) context.Context {
	if c.cfg.Shared == nil {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

// take counts an attempt under one limit. An attempt counts even if its client has
// disconnected, because the service is still called. The calls of the store therefore have
// the context detached, which does not end with ctx.
func (c *Counters) take(ctx, detached context.Context, now time.Time, l Limit) (t taken, wait time.Duration) {
	t = taken{limit: l, nonce: rand.Uint64()}
	var waits time.Time // since when take waits for other attempts
	// Few accounts and addresses have a counter, so a read is rarely worth a round trip.
	known := counter{known: c.cfg.Shared != nil}
	for {
		var pending bool
		t.counter = c.update(detached, now, l.Key, known, func(e []entry, now time.Time) []entry {
			pending, wait = false, 0
			var settled []time.Time
			for _, x := range e {
				if !x.pending {
					settled = append(settled, x.at)
				}
			}
			switch {
			case len(settled) >= l.Max:
				wait = max(settled[len(settled)-l.Max].Add(c.cfg.Window).Sub(now), time.Second)
				return nil
			case len(e) >= l.Max:
				pending, wait = true, time.Second
				return nil
			}
			return append(e, entry{now, t.nonce, true})
		})
		if pending && waits.IsZero() {
			waits = time.Now()
		}
		if !pending || time.Since(waits) > c.cfg.Patience || pause(ctx) != nil {
			return t, wait
		}
		known, now = counter{}, c.cfg.Now()
	}
}

// done records the outcome of an attempt under one limit.
func (c *Counters) done(ctx context.Context, now time.Time, t taken, o Outcome) {
	c.update(ctx, now, t.limit.Key, t.counter, func(e []entry, now time.Time) []entry {
		kept := e[:0]
		for _, x := range e {
			switch {
			case x.nonce == t.nonce, o == Clears && !x.pending:
			default:
				kept = append(kept, x)
			}
		}
		if o == Counts {
			kept = append(kept, entry{now, t.nonce, false})
		}
		return kept
	})
}

// update changes the counter of a key, in the shared store or in the memory of the process.
// It returns the counter as written to the store. If the counter there differs from known,
// update reads it. change may append to its entries, and returns nil to leave the counter as
// it is. ctx must not end with the request. now is the time for a counter in memory. Calls
// of the store may wait, so each has its own time.
func (c *Counters) update(ctx context.Context, now time.Time, key string, known counter, change func([]entry, time.Time) []entry) counter {
	if c.cfg.Shared != nil && !c.isDown() {
		written, err := c.updateShared(ctx, key, known, change)
		if err == nil {
			return written
		}
		if !errors.Is(err, store.ErrConflict) { // a conflict is no outage: there are many attempts under one key
			c.noteDown()
		}
	}
	c.local.update(key, now, func(e []entry) []entry { return change(c.inWindow(e, now), now) })
	return counter{}
}

// downPause is how long the shared store is not called after a failure. An attempt makes
// several calls, each of which may take as long as a call of the store may.
const downPause = 5 * time.Second

func (c *Counters) isDown() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Before(c.downUntil)
}

func (c *Counters) noteDown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.downUntil = time.Now().Add(downPause)
}

// maxSwaps is how often a swap is tried.
const maxSwaps = 100

func (c *Counters) updateShared(ctx context.Context, key string, known counter, change func([]entry, time.Time) []entry) (counter, error) {
	s := c.cfg.Shared
	var err error
	for range maxSwaps {
		old := known
		if !known.known {
			rec, err := s.Get(ctx, key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return counter{}, err
			}
			old = counter{version: rec.Version, entries: decode(rec.Data)}
		}
		now := c.cfg.Now()
		entries := change(c.inWindow(old.entries, now), now)
		if entries == nil {
			return counter{}, nil
		}
		life := c.cfg.Window + time.Second
		if len(entries) == 0 {
			life = time.Second // Delete could lose an attempt that another process has counted in the meantime
		}
		rec := store.Record{Key: key, Version: max(rand.Uint64(), 1), Data: encode(entries), ExpiresAt: now.Add(life)}
		switch err = s.Put(ctx, rec, old.version); {
		case err == nil:
			return counter{known: true, version: rec.Version, entries: entries}, nil
		case !errors.Is(err, store.ErrConflict):
			return counter{}, err
		}
		if !known.known {
			// Another process was faster. A pause of another length avoids the next conflict.
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		known = counter{}
	}
	return counter{}, err
}

// pause waits before the next read of attempts that have not ended.
func pause(ctx context.Context) error {
	t := time.NewTimer(25*time.Millisecond + rand.N(25*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// entry is an event of a counter.
type entry struct {
	at      time.Time
	nonce   uint64
	pending bool // the attempt has not ended
}

func encode(entries []entry) []byte {
	const count, perEntry = 2, 6 + 8 + 1 // a time in milliseconds has 6 bytes
	e := seal.Encoder{B: make([]byte, 0, count+perEntry*len(entries))}
	e.Uint(uint64(len(entries)))
	for _, x := range entries {
		e.Time(x.at)
		e.B = binary.BigEndian.AppendUint64(e.B, x.nonce)
		e.Bool(x.pending)
	}
	return e.B
}

// decode returns the entries of a record. A record that cannot be read has none.
func decode(data []byte) []entry {
	d := seal.NewDecoder(data)
	n := d.Count(2 * MaxLimit)
	entries := make([]entry, 0, min(n, len(data))+1) // with room for another
	for range n {
		x := entry{at: d.Time()}
		if nonce := d.Take(8); len(nonce) == 8 {
			x.nonce = binary.BigEndian.Uint64([]byte(nonce))
		}
		x.pending = d.Bool()
		if d.Bad() {
			return entries[:0]
		}
		entries = append(entries, x)
	}
	return entries
}

// inWindow removes the entries that no longer count, and sorts the others by their times.
// It modifies entries.
func (c *Counters) inWindow(entries []entry, now time.Time) []entry {
	entries = slices.DeleteFunc(entries, func(x entry) bool {
		age := now.Sub(x.at)
		// An event of the future was counted while the clock was wrong.
		return age >= c.cfg.Window || age <= -c.cfg.Window || x.pending && age >= 4*c.cfg.Patience
	})
	slices.SortFunc(entries, func(a, b entry) int { return a.at.Compare(b.at) })
	return entries
}
