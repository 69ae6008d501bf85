// Package proc builds the example programs and runs them as processes.
package proc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
)

// dir is the directory of the programs that Main has built.
var dir string

// Lowest reports whether the programs are built with the lowest versions of their
// frameworks that the library supports. In the workspace they have the newest versions.
func Lowest() bool { return os.Getenv("LOWEST") != "" }

// Main builds the named programs of the examples, or other programs by their path in the
// repository, such as "cmd/session-gateway". It builds them with the race detector if the
// test has it. Then it runs the tests and removes the programs. A TestMain calls only
// Main.
func Main(m *testing.M, programs ...string) { os.Exit(RunTests(m, programs...)) }

// RunTests is Main for a TestMain that does more. It returns the exit status.
func RunTests(m *testing.M, programs ...string) int {
	if AtOnce == 0 {
		AtOnce = 16
		if Race {
			AtOnce = 10
		}
	}
	scale.AtOnce(AtOnce)
	return build(m, programs)
}

// AtOnce is how many tests run at the same time, unless a flag sets the number. Most
// tests only wait for processes. Zero means a number that depends on the race detector,
// with which programs need more processor time.
var AtOnce int

// noDebugger halves the time that linking takes.
const noDebugger = "-ldflags=-s -w"

// unraced excludes SQLite and bcrypt from the race detector, which makes them over ten
// times slower. SQLite is translated C; its driver, which reads the data of programs, is
// not excluded. bcrypt has no goroutines. .ci/run has the same flags, so the build cache
// has one copy.
var unraced = []string{
	"-gcflags=modernc.org/sqlite/lib=-race=false",
	"-gcflags=modernc.org/libc/...=-race=false",
	"-gcflags=golang.org/x/crypto/...=-race=false",
}

func build(m *testing.M, programs []string) int {
	var err error
	if dir, err = os.MkdirTemp("", "session-examples-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	errs := make([]error, len(programs))
	var wg sync.WaitGroup
	for i, name := range programs {
		wg.Go(func() { errs[i] = Build(name, dir) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Build builds a program, named as for [Main], into a directory. It uses go run, which
// keeps linked programs in the build cache, unlike go build. The program does not run: cp
// copies it.
func Build(name, to string) error {
	if !strings.Contains(name, "/") {
		name = "examples/" + name
	}
	args := []string{"run", noDebugger, "-exec=cp"}
	if Race {
		args = append(append(args, "-race"), unraced...)
	}
	cmd := exec.Command("go", append(args, "github.com/synmetrix/session/"+name, to)...)
	if Lowest() {
		// Outside of the workspace, the versions are those that the module itself
		// requires.
		cmd.Dir = filepath.Join("..", "..", "examples")
		cmd.Env = append(os.Environ(), "GOWORK=off")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go run: %v\n%s", err, out)
	}
	return nil
}

// Process is a running program.
type Process struct {
	// URL is the address on which the program listens: http://127.0.0.1:port.
	URL string

	t      testing.TB
	cmd    *exec.Cmd
	stderr output
	exited chan struct{}

	mu     sync.Mutex
	stdout []string
	taken  bool // Wait was called, and the test checks the exit status itself
}

// Patient is a setting for programs that check passwords as slowly as a real auth
// service, on a busy machine.
const Patient = "AUTH_TIMEOUT=1m"

// Command returns a program that has not been started. Its environment is env and nothing
// else.
func Command(program string, env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(dir, program), args...)
	// By default the race detector waits for a second at the end.
	cmd.Env = append([]string{"GORACE=halt_on_error=1 atexit_sleep_ms=50"}, env...)
	return cmd
}

// Run runs a program that is expected to end by itself. It returns its exit
// status and what it printed.
func Run(t testing.TB, program string, env []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	cmd := Command(program, env, args...)
	var out, err output
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Start(); e != nil {
		t.Fatal(e)
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	return exitStatus(cmd.Wait()), out.String(), err.String()
}

// patience is how long a test waits for an event that should happen at once.
const patience = 2 * time.Minute

// Start starts a program and waits until it listens, on a free port unless env has an
// address. At the end of the test the program receives a signal to stop, and must end
// with status 0.
func Start(t testing.TB, program string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, exited: make(chan struct{})}
	p.cmd = Command(program, append([]string{"ADDR=127.0.0.1:0"}, env...), args...)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	listens := make(chan string, 1)
	go p.read(stdout, listens)
	t.Cleanup(p.stop)
	select {
	case p.URL = <-listens:
	case <-p.exited:
		t.Fatalf("%s ended at its start: %v\n%s", program, p.cmd.ProcessState, p.Stderr())
	case <-time.After(patience):
		t.Fatalf("%s does not listen\n%s", program, p.Stderr())
	}
	return p
}

func (p *Process) read(stdout io.Reader, listens chan<- string) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		p.mu.Lock()
		p.stdout = append(p.stdout, lines.Text())
		p.mu.Unlock()
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			listens <- url
		}
	}
	_ = p.cmd.Wait() // the status is in ProcessState
	close(p.exited)
}

// Pid returns the ID of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Errorf("%v: %v", s, err)
	}
}

// Pause stops the program until Resume, like a machine that is suspended. It returns when
// all of its threads have stopped.
func (p *Process) Pause() {
	p.t.Helper()
	p.Signal(syscall.SIGSTOP)
	tasks := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "task")
	for deadline := time.Now().Add(patience); !standStill(tasks); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s does not stand still", p.cmd.Path)
		}
	}
}

// standStill reports whether all threads with an entry in tasks are stopped (proc(5)).
func standStill(tasks string) bool {
	stats, err := filepath.Glob(filepath.Join(tasks, "*", "stat"))
	if err != nil || len(stats) == 0 {
		return false
	}
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		_, state, found := bytes.Cut(stat, []byte(") "))
		if err != nil || !found || state[0] != 'T' {
			return false
		}
	}
	return true
}

// Resume continues the program.
func (p *Process) Resume() {
	p.t.Helper()
	p.Signal(syscall.SIGCONT)
}

// Wait waits for the program's end and returns its exit status.
func (p *Process) Wait() int {
	p.t.Helper()
	p.mu.Lock()
	p.taken = true
	p.mu.Unlock()
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		p.t.Fatalf("%s does not end\n%s", p.cmd.Path, p.Stderr())
	}
	return p.cmd.ProcessState.ExitCode()
}

// Exited is closed when the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Stdout returns the lines on standard output so far.
func (p *Process) Stdout() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.stdout...)
}

// Stderr returns what is on standard error so far.
func (p *Process) Stderr() string { return p.stderr.String() }

func (p *Process) stop() {
	if p.t.Failed() {
		lines := strings.SplitAfter(p.Stderr(), "\n")
		p.t.Logf("the last that %s has said:\n%s", filepath.Base(p.cmd.Path), strings.Join(lines[max(0, len(lines)-40):], ""))
	}
	p.mu.Lock()
	taken := p.taken
	p.mu.Unlock()
	if taken {
		return
	}
	p.Signal(syscall.SIGTERM)
	if status := p.Wait(); status != 0 {
		p.t.Errorf("%s: exit status %d after SIGTERM, want 0\n%s", p.cmd.Path, status, p.Stderr())
	}
}

func exitStatus(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// output is a buffer for concurrent reads and writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
