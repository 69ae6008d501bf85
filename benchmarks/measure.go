package main

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// work is one task to measure.
type work struct {
	name      string // such as "page"
	contender string

	// waits means that other threads or processes do a part of the task. Then the time
	// that passes is measured, and CPU time otherwise.
	waits bool

	// most bounds the operations of one round. 0: no bound.
	most int

	// prepare prepares n operations, and returns a function that does them. It is called
	// for each round, and its time does not count.
	prepare func(n int) (run func() error, err error)

	n       int // operations of a round
	samples []figure
}

// figure is the cost of one operation.
type figure struct{ ns, allocs, bytes float64 }

func (f figure) minus(g figure) figure {
	return figure{f.ns - g.ns, f.allocs - g.allocs, f.bytes - g.bytes}
}

// key names a figure.
type key struct{ work, contender string }

func (w *work) key() key { return key{w.name, w.contender} }

// effort is how long a run takes.
type effort struct {
	rounds int
	round  time.Duration // of one task
}

var (
	full  = effort{rounds: 11, round: 40 * time.Millisecond}
	quick = effort{rounds: 1}
)

// isQuick reports whether a run only checks that the work is done.
func (e effort) isQuick() bool { return e.round == 0 }

// measure does all tasks in rounds, in another order each time, and returns the medians.
// So a disturbance does not affect only one of them.
func measure(works []*work, e effort) (map[key]figure, error) {
	for _, w := range works {
		if err := w.calibrate(e); err != nil {
			return nil, err
		}
	}
	for range e.rounds {
		for _, i := range rand.Perm(len(works)) {
			f, err := works[i].round()
			if err != nil {
				return nil, err
			}
			works[i].samples = append(works[i].samples, f)
		}
	}
	medians := map[key]figure{}
	for _, w := range works {
		medians[w.key()] = figure{
			ns:     w.median(func(f figure) float64 { return f.ns }),
			allocs: w.median(func(f figure) float64 { return f.allocs }),
			bytes:  w.median(func(f figure) float64 { return f.bytes }),
		}
	}
	return medians, nil
}

func (w *work) median(of func(figure) float64) float64 {
	var all []float64
	for _, f := range w.samples {
		all = append(all, of(f))
	}
	return median(all)
}

// median returns the middle of values, which it sorts.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// calibrate sets the operations of a round.
func (w *work) calibrate(e effort) error {
	w.n = 4
	if e.isQuick() {
		return nil
	}
	for {
		f, err := w.round()
		if err != nil {
			return err
		}
		took := time.Duration(f.ns * float64(w.n))
		bound := w.n * 100
		if w.most > 0 {
			bound = min(bound, w.most)
		}
		next := min(int(float64(w.n)*float64(e.round)/float64(max(took, 1))), bound)
		if took > e.round/2 || next <= w.n {
			return nil
		}
		w.n = next
	}
}

// round does the task n times and returns the cost of one operation.
func (w *work) round() (figure, error) {
	run, err := w.prepare(w.n)
	if err != nil {
		return figure{}, fmt.Errorf("%s, %s: %w", w.contender, w.name, err)
	}
	runtime.GC() // garbage of prepare is not part of the task
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	clock := cpuTime
	if w.waits {
		clock = wallTime
	}
	took, err := clock(run)
	runtime.ReadMemStats(&after)
	if err != nil {
		return figure{}, fmt.Errorf("%s, %s: %w", w.contender, w.name, err)
	}
	n := float64(w.n)
	return figure{
		ns:     float64(took) / n,
		allocs: float64(after.Mallocs-before.Mallocs) / n,
		bytes:  float64(after.TotalAlloc-before.TotalAlloc) / n,
	}, nil
}

// wallTime calls f and returns the time that passes.
func wallTime(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}
