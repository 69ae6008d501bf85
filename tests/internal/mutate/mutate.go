// Package mutate plants faults in a copy of a package and checks that the package's tests
// find each of them: a test that cannot fail proves nothing.
//
// The work tree does not change. The changed file reaches the compiler through the
// overlay of the go command.
package mutate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
)

// Package is the code in which faults are planted, and the tests that must find them.
type Package struct {
	// Dir is the directory of the package whose tests are built and run, relative to that
	// of the running test.
	Dir string

	// Run selects the tests, like the flag -run of go test. Empty: all.
	Run string

	// Env are variables "name=value" that are added to the environment of the tests.
	Env []string

	// Timeout bounds one run of the tests. If it is zero, Run measures a run without a
	// fault with LONG=1 and allows ten times as long, and a minute at least. The same
	// machine runs both, so a busy machine does not exceed the limit. In CI it is ten
	// minutes.
	Timeout time.Duration
}

// withoutFault bounds a run that is not compared with another one.
const withoutFault = 10 * time.Minute

// Mutant is one fault.
type Mutant struct {
	// Name describes the fault in a few words. It is the name of the subtest.
	Name string

	// File holds the code, relative to the directory of the package. It may
	// belong to another package that the tests use.
	File string

	// Old is the text to replace and New its replacement. Old occurs once in
	// the file.
	Old, New string

	// And has further changes of the same fault.
	And []Edit

	// Hangs is true if the tests hang with this fault, so that a timeout finds it. A
	// timeout with any other fault is an error, because it does not show that a test has
	// found the fault.
	Hangs bool
}

// Edit is one change of a Mutant; the fields are those of Mutant.
type Edit struct{ File, Old, New string }

func (m Mutant) edits() []Edit {
	if m.File == "" {
		return nil
	}
	return append([]Edit{{m.File, m.Old, m.New}}, m.And...)
}

// parallel limits how many mutants the process builds and runs at the same time.
var parallel = make(chan struct{}, 2)

// Run checks that the tests of p fail for each of mutants. With LONG=1 it also checks
// that they pass without a fault, which CI checks in their own package. It fails if a
// mutant cannot be planted or does not compile, or if there is no test to run.
//
// The mutants are subtests of t, and two run at a time. Run plants all of them, and with
// LONG=1 builds and runs all. That takes minutes, so CI runs a twelfth of them, and by
// default none is run.
func Run(t *testing.T, p Package, mutants []Mutant) {
	t.Helper()
	for _, m := range mutants {
		if err := p.check(t.TempDir(), m); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	if !scale.CI() || t.Failed() {
		return
	}
	if scale.Long() {
		out, took, err := p.try(t, Mutant{})
		if err != nil {
			t.Fatalf("without a fault: %v\n%s", err, out)
		}
		if p.Timeout == 0 {
			p.Timeout = max(time.Minute, 10*took)
		}
	}
	for i, m := range mutants {
		if !scale.Turn(i, 24) {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			parallel <- struct{}{}
			defer func() { <-parallel }()
			out, err := Try(t, p, m)
			var failed *FailedError
			switch {
			case errors.As(err, &failed):
				t.Logf("found by %s", failed.By)
			case err != nil:
				t.Fatalf("%v\n%s", err, out)
			default:
				t.Fatalf("not found: the tests pass with this fault in %s", m.File)
			}
		})
	}
}

// FailedError reports that tests were built and run, and failed.
type FailedError struct {
	// By is the first test that failed, "a panic" outside of any test, or "a timeout".
	By string
}

func (e *FailedError) Error() string { return "tests failed: " + e.By }

// Try builds and runs the tests of p with m planted; a zero Mutant plants nothing. It
// returns nil if they pass and a [*FailedError] if they fail. Any other error means that
// the fault was not tested. The output is that of the command that failed.
func Try(t testing.TB, p Package, m Mutant) (output string, err error) {
	output, _, err = p.try(t, m)
	return output, err
}

// try is Try, and also returns how long the run of the tests took.
func (p Package) try(t testing.TB, m Mutant) (output string, took time.Duration, err error) {
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return "", 0, err
	}
	binary, output, err := build(t, dir, m)
	if err != nil {
		return output, 0, err
	}
	start := time.Now()
	output, err = p.run(t.Context(), dir, binary)
	if errors.Is(err, errTimeout) && m.Hangs {
		err = &FailedError{By: "a timeout"}
	}
	return output, time.Since(start), err
}

// build builds the tests with m planted.
func build(t testing.TB, dir string, m Mutant) (binary, output string, err error) {
	tmp := t.TempDir()
	binary = filepath.Join(tmp, "mutant.test")
	args := []string{"test", "-c", "-ldflags=-s -w", "-o", binary} // no debugger will see it
	if edits := m.edits(); edits != nil {
		overlay, err := plant(tmp, dir, edits)
		if err != nil {
			return "", "", err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, ".")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", string(out), fmt.Errorf("mutate: does not compile: %w", err)
	}
	if _, err := os.Stat(binary); err != nil {
		return "", "", errors.New("mutate: the package has no tests")
	}
	return binary, "", nil
}

// errTimeout is returned by run if the tests take too long.
var errTimeout = errors.New("mutate: timeout")

// check reports why a mutant cannot be planted.
func (p Package) check(tmp string, m Mutant) error {
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return err
	}
	_, err = plant(tmp, dir, m.edits())
	return err
}

// plant writes the changed files and returns the name of the overlay that replaces the
// real files by them.
func plant(tmp, dir string, edits []Edit) (string, error) {
	changed := make(map[string][]byte)
	for _, e := range edits {
		file := filepath.Join(dir, e.File)
		src, ok := changed[file]
		if !ok {
			var err error
			if src, err = os.ReadFile(file); err != nil {
				return "", fmt.Errorf("mutate: %w", err)
			}
		}
		if e.Old == e.New {
			return "", errors.New("mutate: Old and New are equal")
		}
		if n := bytes.Count(src, []byte(e.Old)); n != 1 {
			return "", fmt.Errorf("mutate: Old occurs %d times in %s, want once:\n%s", n, e.File, e.Old)
		}
		changed[file] = bytes.Replace(src, []byte(e.Old), []byte(e.New), 1)
	}
	replace := make(map[string]string)
	for file, src := range changed {
		name := filepath.Join(tmp, fmt.Sprintf("%d_%s", len(replace), filepath.Base(file)))
		if err := os.WriteFile(name, src, 0o600); err != nil {
			return "", fmt.Errorf("mutate: %w", err)
		}
		replace[file] = name
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("mutate: %w", err)
	}
	name := filepath.Join(tmp, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o600); err != nil {
		return "", fmt.Errorf("mutate: %w", err)
	}
	return name, nil
}

func (p Package) run(ctx context.Context, dir, binary string) (string, error) {
	timeout := p.Timeout
	if timeout == 0 {
		timeout = withoutFault
	}
	// The binary ends itself after its own timeout. The context ends a binary that does
	// not.
	ctx, cancel := context.WithTimeout(ctx, timeout+10*time.Second)
	defer cancel()
	// A fault may make some tests run for minutes. Among 16 at a time, they do not delay those
	// that find the fault.
	cmd := exec.CommandContext(ctx, binary, "-test.v=test2json", "-test.failfast", "-test.parallel=16", "-test.run="+p.Run, "-test.timeout="+timeout.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), p.Env...)
	// The first failure is enough, so the other tests are aborted. (In the format of
	// test2json, which marks these lines, a subtest reports before its parent ends.)
	out := &watched{end: cancel}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	text := out.text.String()
	if out.failed != "" {
		return text, &FailedError{By: out.failed}
	}
	var exit *exec.ExitError
	switch {
	case err == nil && !strings.Contains(text, "=== RUN"):
		return text, fmt.Errorf("mutate: no test matches %q", p.Run)
	case err == nil:
		return text, nil
	case ctx.Err() != nil, strings.Contains(text, "panic: test timed out"):
		return text, fmt.Errorf("%w after %v", errTimeout, timeout)
	case !errors.As(err, &exit):
		return text, fmt.Errorf("mutate: %w", err)
	case !strings.Contains(text, "=== RUN"):
		return text, fmt.Errorf("mutate: the tests did not start: %w", err)
	}
	return text, &FailedError{By: "a panic"}
}

// watched is the output of tests up to the first failure.
type watched struct {
	text   bytes.Buffer
	failed string // the test's name
	end    func() // called at the first failure
}

var failLine = regexp.MustCompile(`(?m)^\x16? *--- FAIL: (\S+).*\n`)

func (w *watched) Write(p []byte) (int, error) {
	n := bytes.LastIndexByte(w.text.Bytes(), '\n') + 1 // a line may arrive in parts
	w.text.Write(p)
	if w.failed == "" {
		if m := failLine.FindSubmatch(w.text.Bytes()[n:]); m != nil {
			w.failed = string(m[1])
			w.end()
		}
	}
	return len(p), nil
}
