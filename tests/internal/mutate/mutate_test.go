package mutate_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/mutate"
)

var victim = mutate.Package{Dir: "testdata/victim", Run: "^TestSum$"}

func TestTry(t *testing.T) {
	const sum = "return a + b"
	tests := []struct {
		name    string
		pkg     mutate.Package
		mutant  mutate.Mutant
		foundBy string // the test that finds the mutant
		invalid string // the mutant was not tested; part of the error
	}{
		{name: "no fault", pkg: victim},
		{
			name: "found", pkg: victim, foundBy: "TestSum/more",
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: "return a - b"},
		},
		{
			name: "not found", pkg: victim,
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: "return b + a"},
		},
		{
			name: "not by these tests", pkg: mutate.Package{Dir: victim.Dir, Run: "^TestSum$/^zero$"},
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: "return a - b"},
		},
		{
			name: "by all tests", pkg: mutate.Package{Dir: victim.Dir}, foundBy: "TestEnvironment",
		},
		{
			name: "with an environment", pkg: mutate.Package{Dir: victim.Dir, Env: []string{"VICTIM=set"}},
		},
		{
			name: "two changes that make no fault", pkg: victim,
			mutant: mutate.Mutant{
				File: "victim.go", Old: sum, New: "return a - b",
				And: []mutate.Edit{{File: "victim.go", Old: "a - b", New: "b + a"}},
			},
		},
		{
			name: "a panic", pkg: victim, foundBy: "TestSum/zero",
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: "return a / b"},
		},
		{
			name: "a timeout", pkg: mutate.Package{Dir: victim.Dir, Run: victim.Run, Timeout: time.Second}, foundBy: "a timeout",
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: "select {}", Hangs: true},
		},
		{
			name: "a timeout of a fault that does not hang", pkg: mutate.Package{Dir: victim.Dir, Run: victim.Run, Timeout: time.Second}, invalid: "timeout after 1s",
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: "select {}"},
		},
		{
			name: "does not compile", pkg: victim, invalid: "does not compile",
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: "return c"},
		},
		{
			name: "old text missing", pkg: victim, invalid: "occurs 0 times",
			mutant: mutate.Mutant{File: "victim.go", Old: "return a * b", New: sum},
		},
		{
			name: "old text twice", pkg: victim, invalid: "occurs 2 times",
			mutant: mutate.Mutant{File: "victim.go", Old: "return", New: "panic"},
		},
		{
			name: "no change", pkg: victim, invalid: "equal",
			mutant: mutate.Mutant{File: "victim.go", Old: sum, New: sum},
		},
		{
			name: "no file", pkg: victim, invalid: "no such file",
			mutant: mutate.Mutant{File: "missing.go", Old: sum, New: ""},
		},
		{name: "no such test", pkg: mutate.Package{Dir: victim.Dir, Run: "^TestProduct$"}, invalid: "no test matches"},
		{name: "no tests", pkg: mutate.Package{Dir: "testdata"}, invalid: "does not compile"},
	}
	before, err := os.ReadFile("testdata/victim/victim.go")
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		if i > 1 && tt.invalid == "" && !scale.CI() {
			continue // each one builds a program
		}
		t.Run(tt.name, func(t *testing.T) {
			out, err := mutate.Try(t, tt.pkg, tt.mutant)
			var failed *mutate.FailedError
			switch {
			case errors.As(err, &failed):
				if failed.By != tt.foundBy {
					t.Errorf("found by %q, want %q\n%s", failed.By, tt.foundBy, out)
				}
			case err != nil:
				if tt.invalid == "" || !strings.Contains(err.Error(), tt.invalid) {
					t.Errorf("error %v, want one that holds %q\n%s", err, tt.invalid, out)
				}
			case tt.foundBy != "" || tt.invalid != "":
				t.Errorf("no error, want %q", tt.foundBy+tt.invalid)
			}
		})
	}
	after, err := os.ReadFile("testdata/victim/victim.go")
	if err != nil || string(after) != string(before) {
		t.Errorf("the work tree has changed (error %v)", err)
	}
}
