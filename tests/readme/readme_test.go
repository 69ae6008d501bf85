// Package readme_test holds the README, and the other pages for readers, to what
// there is.
package readme_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/synmetrix/session"
)

const root = "../.."

func readme(t *testing.T) string { return page(t, filepath.Join(root, "README.md")) }

func page(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages returns the files of all pages.
func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"*.md", "docs/*.md", ".github/*.md", "*/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %q, error %v", pattern, files, err)
		}
		for _, file := range files {
			if !slices.Contains(all, file) {
				all = append(all, file)
			}
		}
	}
	return all
}

var fence = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// blocks returns the fenced blocks of a language.
func blocks(text, language string) []string {
	var found []string
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		if m[1] == language {
			found = append(found, m[2])
		}
	}
	return found
}

// imports are the packages that a fragment may use without saying so.
var imports = map[string]string{
	"authtest":    "github.com/synmetrix/session/authtest",
	"memstore":    "github.com/synmetrix/session/store/memstore",
	"sqlstore":    "github.com/synmetrix/session/store/sqlstore",
	"middleware":  "github.com/synmetrix/session/middleware",
	"session":     "github.com/synmetrix/session",
	"sessionecho": "github.com/synmetrix/session/adapters/sessionecho",
	"sessiongin":  "github.com/synmetrix/session/adapters/sessiongin",
	"chi":         "github.com/go-chi/chi/v5",
	"echo":        "github.com/labstack/echo/v4",
	"gin":         "github.com/gin-gonic/gin",
	"cmp":         "cmp",
	"cookiejar":   "net/http/cookiejar",
	"errors":      "errors",
	"fmt":         "fmt",
	"http":        "net/http",
	"httptest":    "net/http/httptest",
	"io":          "io",
	"os":          "os",
	"sql":         "database/sql",
	"testing":     "testing",
	"time":        "time",
	"url":         "net/url",
}

// Every block of Go compiles: programs as they are, others as
// the contents of a package.
func TestGoBlocks(t *testing.T) {
	var found []string
	for _, file := range pages(t) {
		found = append(found, blocks(page(t, file), "go")...)
	}
	if len(found) < 10 {
		t.Fatalf("%d blocks of Go were found", len(found))
	}
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// The go command takes the files for files of this module that lie in
	// directories of their own.
	overlay := map[string]string{}
	args := []string{"build", "-o", dir, "-overlay", filepath.Join(dir, "overlay.json")}
	for i, block := range found {
		name := "block" + strconv.Itoa(i)
		if !strings.HasPrefix(block, "package ") {
			block = fragment(name, block)
		}
		file := filepath.Join(dir, name+".go")
		if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay[filepath.Join(here, name, "block.go")] = file
		args = append(args, "./"+name)
	}
	text, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func fragment(name, block string) string {
	var b strings.Builder
	b.WriteString("package " + name + "\n\nimport (\n")
	if strings.Contains(block, "newHandler(") {
		block += "\nfunc newHandler(authURL string) http.Handler { return nil }\n"
	}
	for name, path := range imports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(block) {
			b.WriteString("\t" + strconv.Quote(path) + "\n")
		}
	}
	b.WriteString(")\n\n" + block)
	return b.String()
}

// The ten lines are ten.
func TestTenLines(t *testing.T) {
	program := blocks(readme(t), "go")[0]
	_, body, _ := strings.Cut(program, "m, err := session.New(")
	body, _, _ = strings.Cut(body, "\n}\n")
	lines := 0
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		// Mistakes are not what is counted, nor where a bracket closes.
		if line != "" && line != "}" && line != "})" && !strings.Contains(line, "err != nil") && !strings.Contains(line, "log.Fatal(err)") {
			lines++
		}
	}
	if lines > 10 {
		t.Errorf("the ten lines are %d", lines)
	}
}

// Every command exists: what is run is a program, and the tests are run by the
// script that checks everything.
func TestCommands(t *testing.T) {
	var commands []string
	for _, block := range blocks(readme(t), "sh") {
		commands = append(commands, strings.Split(strings.TrimSpace(block), "\n")...)
	}
	for _, want := range []string{"go run ./examples/dashboard", "go test work"} {
		if !slices.Contains(commands, want) {
			t.Errorf("%q is not among the commands %q", want, commands)
		}
	}
	script, err := os.ReadFile(filepath.Join(root, ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		switch {
		case command == "go test work":
			if !strings.Contains(string(script), "-v work") {
				t.Errorf("%q is not what .ci/run runs", command)
			}
		case strings.HasPrefix(command, "go run "):
			cmd := exec.Command("go", "list", "-f", "{{.Name}}", strings.TrimPrefix(command, "go run "))
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "main\n" {
				t.Errorf("%q: %v %s", command, err, out)
			}
		default:
			t.Errorf("nothing checks %q", command)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)]+)\)`)

func TestLinks(t *testing.T) {
	for _, file := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(page(t, file), ""), -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue // of others
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// The table of settings has every field of Config, once, and no other.
func TestSettings(t *testing.T) {
	_, section, _ := strings.Cut(readme(t), "\n## Settings\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(section, -1) {
		listed = append(listed, m[1])
	}
	var fields []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[session.Config]()) {
		fields = append(fields, f.Name)
	}
	slices.Sort(listed)
	slices.Sort(fields)
	if !slices.Equal(listed, fields) {
		t.Errorf("the table has\n%q, Config has\n%q", listed, fields)
	}
}

// The page about events has a row for each of them, and for each reason.
func TestEventsPage(t *testing.T) {
	text := page(t, filepath.Join(root, "docs", "events.md"))
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`\\w+`(?:, `\\w+`)*) \\|").FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			rows[strings.Trim(name, "`")] = true
		}
	}
	quoted := regexp.MustCompile(`(?m)^\s+(?:Event|ended)\w+\s+(?:reason )?= "(\w+)"`)
	constants := 0
	for _, file := range []string{"events.go", "end.go"} {
		for _, m := range quoted.FindAllStringSubmatch(page(t, filepath.Join(root, file)), -1) {
			if constants++; !rows[m[1]] {
				t.Errorf("%s has no row", m[1])
			}
		}
	}
	if constants < 20 || len(rows) != constants+2 { // "reason", and "unreadable", which is not of an end
		t.Errorf("%d rows for %d constants", len(rows), constants)
	}
}

// Names in the text that look like the library's are the library's.
func TestNames(t *testing.T) {
	docs := map[string]string{}
	for _, m := range regexp.MustCompile("`(session|middleware|synmetrix|authtest|memstore)\\.([A-Z]\\w*)").FindAllStringSubmatch(readme(t), -1) {
		doc, ok := docs[m[1]]
		if !ok {
			cmd := exec.Command("go", "doc", "-all", imports[m[1]])
			if m[1] == "synmetrix" {
				cmd = exec.Command("go", "doc", "-all", "github.com/synmetrix/session/synmetrix")
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			doc = string(out)
			docs[m[1]] = doc
		}
		if !regexp.MustCompile(`(?m)^\s*(func|type|var|const)?\s*` + m[2] + `\b`).MatchString(doc) {
			t.Errorf("%s.%s is not there", m[1], m[2])
		}
	}
}
