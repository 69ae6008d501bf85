// Command benchmarks measures this library and others with the same work, in one run.
//
//	go run ./benchmarks          # about five minutes; prints the figures
//	go run ./benchmarks -write   # also writes them to benchmarks/results, README.md and docs
//	go run ./benchmarks -quick   # seconds; checks that each contender does the work
//	go run ./benchmarks -profile DIR  # writes a CPU profile for each target, in about 15 minutes
//
// README.md explains the figures.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run measures, and prints the figures to stdout. It writes what it does to progress.
func run(args []string, stdout, progress io.Writer) error {
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	isQuick := flags.Bool("quick", false, "do each work a few times")
	isWrite := flags.Bool("write", false, "write the figures to benchmarks/results and the pages that have figures")
	profiles := flags.String("profile", "", "write CPU profiles of this library's work into this `directory`, and measure nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	e := full
	if *isQuick {
		e = quick
	}
	if *profiles != "" {
		env, err := newEnv()
		if err != nil {
			return err
		}
		defer env.Close()
		return profile(env, e, *profiles, progress)
	}
	root := ""
	if *isWrite {
		if *isQuick {
			return errors.New("a quick run has no figures to write")
		}
		var err error
		if root, err = repository(); err != nil {
			return err
		}
	}
	r, err := runAll(e, progress)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(stdout, r.report()); err != nil || !*isWrite {
		return err
	}
	return r.write(root)
}
