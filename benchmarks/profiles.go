package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"
)

// profile writes a CPU profile of each work of this library into dir. The label "part" has
// the value "work" for the samples that the figures are about: the rest prepares them.
func profile(e *env, effort effort, dir string, progress io.Writer) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	found, _, err := present(e, inOrder())
	if err != nil {
		return err
	}
	for _, c := range found {
		if !c.ours {
			continue
		}
		for _, w := range worksOf(e, c) {
			name := strings.NewReplacer(", ", "-", " ", "-").Replace(w.contender + "-" + w.name + ".pprof")
			if err := profileWork(w, effort, filepath.Join(dir, name)); err != nil {
				return err
			}
			fmt.Fprintln(progress, filepath.Join(dir, name))
		}
	}
	return nil
}

// profileRounds is the number of rounds in a profile.
const profileRounds = 40

func profileWork(w *work, e effort, path string) (err error) {
	if err := w.calibrate(e); err != nil {
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
	rounds := profileRounds
	if e.isQuick() {
		rounds = 1
	}
	for start := time.Now(); rounds > 0 && time.Since(start) < 10*time.Second; rounds-- {
		run, err := w.prepare(w.n)
		if err != nil {
			return err
		}
		pprof.Do(context.Background(), pprof.Labels("part", "work"), func(context.Context) { err = run() })
		if err != nil {
			return err
		}
	}
	return nil
}
