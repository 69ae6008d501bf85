package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// Tasks that only profiles have. A run measures them in other ways.
const (
	onServer  = "server"  // the page for admins over the loopback interface
	ofMillion = "million" // the page for admins by random users of a million
)

// measured is the label of the samples that the figures are about. The others are of what
// prepares them, of the clients of a server, and of the garbage collector.
var measured = pprof.Labels("part", "work")

// profileTime is the CPU time of a profile, without the preparations. A CPU profile has 100
// samples for each second of it. maxProfileTime bounds the time that passes.
const (
	profileTime    = 25 * time.Second
	maxProfileTime = 75 * time.Second
)

// profiled is a task for a profile.
type profiled struct {
	key     key
	prepare func() (run func() error, err error)
	took    time.Duration // at least
}

// profile writes a CPU profile for each target that bounds a time into dir, and the name of
// the file and of the target to progress.
func profile(e *env, effort effort, dir string, progress io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	all, err := profiles(e, effort)
	if err != nil {
		return err
	}
	for _, p := range all {
		file := strings.NewReplacer(", ", "-", " ", "-", "/", "-").Replace(p.key.work+"-"+p.key.contender) + ".pprof"
		fmt.Fprintf(progress, "%s: %s\n", file, strings.Join(targetsOf(p.key), "; "))
		if err := p.write(filepath.Join(dir, file)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

// targetsOf returns the targets that bound the time of a task.
func targetsOf(k key) (all []string) {
	for _, t := range targets {
		if slices.ContainsFunc(t.limits, func(l limit) bool { return l.work == k }) {
			all = append(all, t.what)
		}
	}
	return all
}

// profiles returns the tasks of targets, and for the servers the bare router, with whose
// throughput they are compared.
func profiles(e *env, effort effort) ([]profiled, error) {
	took := profileTime
	if effort.isQuick() {
		took = 0
	}
	found, _, err := present(e, inOrder())
	if err != nil {
		return nil, err
	}
	works := detailWorks(e)
	for _, c := range found {
		works = append(works, worksOf(e, c)...)
	}
	var all []profiled
	for _, w := range works {
		if len(targetsOf(w.key())) > 0 {
			all = append(all, profiled{w.key(), calibrated(w, effort), took})
		}
	}
	for _, c := range found {
		if k := (key{onServer, c.name}); len(targetsOf(k)) > 0 || c.bare && c.router == netHTTP {
			all = append(all, profiled{k, serverProfile(e, c, effort), took})
		}
	}
	return append(all, profiled{key{ofMillion, inMemory}, manyProfile(e, effort), took}), nil
}

// calibrated prepares rounds of w.
func calibrated(w *work, e effort) func() (func() error, error) {
	return func() (func() error, error) {
		if w.n == 0 {
			if err := w.calibrate(e); err != nil {
				return nil, err
			}
		}
		return w.prepare(w.n)
	}
}

// serverProfile sends requests to a server with the app of c.
func serverProfile(e *env, c contender, effort effort) func() (func() error, error) {
	return func() (func() error, error) {
		s, err := openSite(e, c)
		if err != nil {
			return nil, err
		}
		return func() error {
			defer s.close()
			_, err := s.load(25 * effort.round)
			return err
		}, nil
	}
}

// manyProfile sends requests of random users of a million.
func manyProfile(e *env, effort effort) func() (func() error, error) {
	var p *population
	return func() (run func() error, err error) {
		sessions, requests := 1_000_000, 100_000
		if effort.isQuick() {
			sessions, requests = 10, 10
		}
		if p == nil {
			p, err = newPopulation(e, sessions)
		}
		return func() error {
			_, err := p.send(requests)
			return err
		}, err
	}
}

// write writes a profile to a file.
func (p *profiled) write(path string) (err error) {
	run, err := p.prepare() // outside of the profile, because the first time takes longest
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	began, took := time.Now(), time.Duration(0)
	for {
		used, err := processTime(func() (err error) {
			pprof.Do(context.Background(), measured, func(context.Context) { err = run() })
			return err
		})
		if took += used; err != nil || took >= p.took || time.Since(began) > maxProfileTime {
			return err
		}
		if run, err = p.prepare(); err != nil {
			return err
		}
	}
}
