package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// results are the figures of a run.
type results struct {
	contenders []contender
	skipped    []string // a line for each contender that was not measured
	figures    map[key]figure
	served     []served
	cores      map[string]float64 // by contender
	crowd      map[int]float64    // by processes, in milliseconds
	growth     growth
	trips      map[string]float64 // to the store for each request, by contender
	cookie     int                // bytes of the Cookie field
}

// over returns the figure of a contender without that of its bare router.
func (r *results) over(work, name string) (figure, bool) {
	f, ok := r.figures[key{work, name}]
	if !ok {
		return figure{}, false
	}
	c := inOrder(name)[0]
	if c.bare {
		return f, true
	}
	if work == visitor { // the router has no refusal: its public page
		work = public
	}
	return f.minus(r.figures[key{work, "bare " + c.router}]), true
}

// runAll measures everything. It writes what it does to progress.
func runAll(e effort, progress io.Writer) (*results, error) {
	env, err := newEnv()
	if err != nil {
		return nil, err
	}
	defer env.Close()
	r := &results{cores: map[string]float64{}, crowd: map[int]float64{}, trips: map[string]float64{}}
	if r.contenders, r.skipped, err = present(env, inOrder()); err != nil {
		return nil, err
	}
	for _, line := range r.skipped {
		fmt.Fprintln(progress, line)
	}
	start := time.Now()
	for _, step := range []struct {
		name string
		run  func() error
	}{
		{"requests without a network", func() error { return r.measureWorks(env, e) }},
		{"the Cookie field", func() (err error) { r.cookie, err = cookieField(env); return err }},
		{"round trips to stores", func() error { return r.measureTrips(env) }},
		{"one core and two", func() error { return r.measureCores(env, e) }},
		{"a server on the loopback interface", func() error { return r.measureServers(env, e) }},
		{"requests that wait for a refresh", func() error { return r.measureCrowds(env, e) }},
		{"many sessions in memory", func() error { return r.measureGrowth(env, e) }},
	} {
		fmt.Fprintf(progress, "%4.0f s  %s\n", time.Since(start).Seconds(), step.name)
		if err := step.run(); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(progress, "%4.0f s  done\n", time.Since(start).Seconds())
	return r, nil
}

func (r *results) measureWorks(env *env, e effort) error {
	works := detailWorks(env)
	for _, c := range r.contenders {
		works = append(works, worksOf(env, c)...)
	}
	var err error
	r.figures, err = measure(works, e)
	return err
}

func (r *results) measureCores(env *env, e effort) error {
	for _, name := range []string{cookieSeen, inMemory} {
		ratio, err := measureCores(env, inOrder(name)[0], min(9, e.rounds), 5*e.round)
		if err != nil {
			return err
		}
		r.cores[name] = ratio
	}
	return nil
}

func (r *results) measureServers(env *env, e effort) (err error) {
	names := []string{"bare " + netHTTP, cookieSeen, inMemory, leastMemory, "scs, memory", "gorilla/sessions, encrypted", "jwtauth"}
	r.served, err = measureServers(env, names, min(9, e.rounds), 20*e.round)
	return err
}

func (r *results) measureCrowds(env *env, e effort) error {
	sessions := 20
	if e.isQuick() {
		sessions = 1
	}
	for _, processes := range []int{1, 3} {
		wait, err := measureCrowd(env, processes, sessions)
		if errors.Is(err, errMissing) {
			continue // a contender's line says so
		}
		if err != nil {
			return err
		}
		r.crowd[processes] = wait
	}
	return nil
}

func (r *results) measureGrowth(env *env, e effort) (err error) {
	if e.isQuick() {
		r.growth, err = measureGrowth(env, 10, 100, 1, 10, false)
		return err
	}
	r.growth, err = measureGrowth(env, 1000, 1_000_000, 5, 100_000, true)
	return err
}
