package readme_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// compile checks each block as the compiler does that of a package: it parses it and
// checks its types. It returns all errors.
func compile(t *testing.T, blocks []string) error {
	t.Helper()
	fset := token.NewFileSet()
	var errs []error
	var files []*ast.File
	for i, block := range blocks {
		name := "block" + strconv.Itoa(i)
		if !strings.HasPrefix(block, "package ") {
			block = fragment(name, block)
		}
		file, err := parser.ParseFile(fset, name+".go", block, parser.SkipObjectResolution)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w\n%s", err, block))
			continue
		}
		if file.Name.Name == "main" && !strings.Contains(block, "\nfunc main() {") {
			errs = append(errs, fmt.Errorf("a program without a main function:\n%s", block))
		}
		files = append(files, file)
	}
	known := importer.ForCompiler(fset, "gc", lookup(t, files))
	for _, file := range files {
		check := types.Config{Importer: known, Error: func(err error) { errs = append(errs, err) }}
		_, _ = check.Check(file.Name.Name, fset, []*ast.File{file}, nil)
	}
	return errors.Join(errs...)
}

// lookup returns a function that opens the compiled packages that files import.
func lookup(t *testing.T, files []*ast.File) importer.Lookup {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "--"}
	for _, file := range files {
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			args = append(args, path)
		}
	}
	cmd := exec.Command("go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	compiled := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		compiled[path] = file
	}
	return func(path string) (io.ReadCloser, error) { return os.Open(compiled[path]) }
}
