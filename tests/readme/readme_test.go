// Package readme_test checks the README and the other pages: the code in them
// compiles, and the commands, links, names and tables in them match the project.
package readme_test

import (
	"go/format"
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
	return files(t, "*.md", "docs/*.md", ".github/*.md", "*/README.md")
}

// files returns the files that match the patterns, each of which must match.
func files(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, pattern := range patterns {
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

// imports are the packages that a fragment uses without an import declaration.
var imports = map[string]string{
	"auth":         "github.com/synmetrix/session/auth",
	"authtest":     "github.com/synmetrix/session/authtest",
	"jwks":         "github.com/synmetrix/session/auth/jwks",
	"memstore":     "github.com/synmetrix/session/store/memstore",
	"middleware":   "github.com/synmetrix/session/middleware",
	"redisstore":   "github.com/synmetrix/session/store/redisstore",
	"session":      "github.com/synmetrix/session",
	"sessionecho":  "github.com/synmetrix/session/adapters/sessionecho",
	"sessionecho5": "github.com/synmetrix/session/adapters/sessionecho5",
	"sessiongin":   "github.com/synmetrix/session/adapters/sessiongin",
	"sessiontest":  "github.com/synmetrix/session/sessiontest",
	"sqlstore":     "github.com/synmetrix/session/store/sqlstore",
	"store":        "github.com/synmetrix/session/store",
	"storetest":    "github.com/synmetrix/session/store/storetest",
	"synmetrix":    "github.com/synmetrix/session/synmetrix",
	"verify":       "github.com/synmetrix/session/auth/verify",
	"chi":          "github.com/go-chi/chi/v5",
	"echo":         "github.com/labstack/echo/v4",
	"echo5":        "github.com/labstack/echo/v5",
	"gin":          "github.com/gin-gonic/gin",
	"gateway":      "github.com/synmetrix/session/cmd/session-gateway/gateway",
	"ginjwt":       "github.com/appleboy/gin-jwt/v2",
	"gorilla":      "github.com/gorilla/sessions",
	"scs":          "github.com/alexedwards/scs/v2",
	"securecookie": "github.com/gorilla/securecookie",
	"rueidis":      "github.com/redis/rueidis",
	"cmp":          "cmp",
	"context":      "context",
	"cookiejar":    "net/http/cookiejar",
	"errors":       "errors",
	"fmt":          "fmt",
	"http":         "net/http",
	"httptest":     "net/http/httptest",
	"io":           "io",
	"net":          "net",
	"os":           "os",
	"sha256":       "crypto/sha256",
	"sql":          "database/sql",
	"template":     "html/template",
	"telemetry":    "github.com/synmetrix/session/telemetry",
	"prometheus":   "github.com/prometheus/client_golang/prometheus",
	"promhttp":     "github.com/prometheus/client_golang/prometheus/promhttp",
	"trace":        "go.opentelemetry.io/otel/trace",
	"testing":      "testing",
	"time":         "time",
	"url":          "net/url",
}

// Every block of Go is formatted and compiles: a program as it is, a fragment as
// the contents of a package.
func TestGoBlocks(t *testing.T) {
	var found []string
	for _, file := range pages(t) {
		found = append(found, blocks(page(t, file), "go")...)
	}
	if len(found) < 10 {
		t.Fatalf("found %d blocks of Go, want 10 or more", len(found))
	}
	for _, block := range found {
		if !strings.HasPrefix(block, "package ") {
			block = "package p\n\n" + block
		}
		if formatted, err := format.Source([]byte(block)); err != nil || string(formatted) != block {
			t.Errorf("not formatted (error %v):\n%s", err, block)
		}
	}
	if err := compile(t, found); err != nil {
		t.Error(err)
	}
	if err := compile(t, []string{"var x = session.Undefined"}); err == nil {
		t.Error("a block with an undefined name compiled")
	}
}

var comment = regexp.MustCompile(`(?m)(^|\s)// .*$`)

func fragment(name, block string) string {
	var b strings.Builder
	b.WriteString("package " + name + "\n\nimport (\n")
	if strings.Contains(block, "newHandler(") {
		block += "\nfunc newHandler(authURL string) http.Handler { return nil }\n"
	}
	code := comment.ReplaceAllString(block, "")
	for name, path := range imports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(code) {
			b.WriteString("\t" + name + " " + strconv.Quote(path) + "\n")
		}
	}
	b.WriteString(")\n\n" + block)
	return b.String()
}

// The example in ten lines has at most ten.
func TestTenLines(t *testing.T) {
	program := blocks(readme(t), "go")[0]
	_, body, _ := strings.Cut(program, "m, err := session.New(")
	body, _, _ = strings.Cut(body, "\n}\n")
	lines := 0
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		// Error handling and closing brackets do not count.
		if line != "" && line != "}" && line != "})" && !strings.Contains(line, "err != nil") && !strings.Contains(line, "log.Fatal(err)") {
			lines++
		}
	}
	if lines > 10 {
		t.Errorf("the example in ten lines has %d lines", lines)
	}
}

// commands returns the commands of a page.
func commands(text string) []string {
	var all []string
	for _, block := range blocks(text, "sh") {
		for line := range strings.SplitSeq(strings.TrimSpace(block), "\n") {
			command, _, _ := strings.Cut(line, " #")
			all = append(all, strings.TrimSpace(command))
		}
	}
	return all
}

// The commands of the README and of docs are valid: "go run" names a program, and .ci/run
// runs the test command.
func TestCommands(t *testing.T) {
	var all []string
	for _, file := range files(t, "README.md", "docs/*.md") {
		all = append(all, commands(page(t, file))...)
	}
	for _, want := range []string{"go run ./examples/dashboard", "go test work"} {
		if !slices.Contains(commands(readme(t)), want) {
			t.Errorf("the README has no command %q", want)
		}
	}
	script := page(t, filepath.Join(root, ".ci", "run"))
	for _, command := range all {
		switch {
		case command == "go test work":
			if !strings.Contains(script, "go list work") {
				t.Errorf(".ci/run does not run %q", command)
			}
		case strings.HasPrefix(command, "go run "):
			cmd := exec.Command("go", "list", "-f", "{{.Name}}", strings.TrimPrefix(command, "go run "))
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil || string(out) != "main\n" {
				t.Errorf("%q: %v %s", command, err, out)
			}
		default:
			t.Errorf("no test checks %q", command)
		}
	}
}

// "go get" in the README names this module.
func TestInstall(t *testing.T) {
	_, module, _ := strings.Cut(page(t, filepath.Join(root, "go.mod")), "module ")
	module, _, _ = strings.Cut(module, "\n")
	if want := []string{"go get " + module + "\n"}; !slices.Equal(blocks(readme(t), "text")[:1], want) {
		t.Errorf("the first text block is not %q", want)
	}
}

// The commands for contributors name files and tests that exist.
func TestContributorsCommands(t *testing.T) {
	all := commands(page(t, filepath.Join(root, ".github", "CONTRIBUTING.md")))
	if len(all) < 5 {
		t.Fatalf("found the commands %q, want 5 or more", all)
	}
	var tests strings.Builder
	for _, file := range files(t, "*_test.go", "internal/*/*_test.go", "tests/*/*_test.go") {
		tests.WriteString(page(t, file))
	}
	for _, command := range all {
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(command, -1) {
			if !strings.Contains(tests.String(), "func "+name+"(") {
				t.Errorf("%q: there is no %s", command, name)
			}
		}
		dir := root
		if _, rest, ok := strings.Cut(command, "cd "); ok {
			dir = filepath.Join(root, strings.Fields(rest)[0])
		}
		for _, name := range regexp.MustCompile(`(?:^| )(\.\w*/\w+)`).FindAllStringSubmatch(command, -1) {
			if _, err := os.Stat(filepath.Join(dir, name[1])); err != nil {
				t.Errorf("%q: %v", command, err)
			}
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)]+)\)`)
	span    = regexp.MustCompile("`[^`\n]*`") // of code, in which brackets are no link
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// Links lead to files, and to headings in them.
func TestLinks(t *testing.T) {
	for _, file := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(fence.ReplaceAllString(page(t, file), ""), ""), -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			name, anchor, anchored := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(file), name)
			if name == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
			} else if anchored && !slices.Contains(anchors(page(t, target)), anchor) {
				t.Errorf("%s: %s has no heading %q", file, name, anchor)
			}
		}
	}
}

// anchors returns the names by which links refer to the headings of a page.
func anchors(text string) []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(name, " ", "-"))
	}
	return all
}

// The table of settings has every field of Config once, and no other row.
func TestSettings(t *testing.T) {
	section := page(t, filepath.Join(root, "docs", "settings.md"))
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
		t.Errorf("the table lists\n%q, Config has\n%q", listed, fields)
	}
}

// The page about events has a row for each event and each reason.
func TestEventsPage(t *testing.T) {
	text := page(t, filepath.Join(root, "docs", "events.md"))
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| (`\\w+`(?:, `\\w+`)*) \\|").FindAllStringSubmatch(text, -1) {
		for name := range strings.SplitSeq(m[1], ", ") {
			rows[strings.Trim(name, "`")] = true
		}
	}
	quoted := regexp.MustCompile(`(?m)^\s+(?:Event|[eE]nded)\w+\s+(?:Reason )?= "(\w+)"`)
	constants := 0
	for _, file := range []string{"events.go", "internal/keeper/end.go"} {
		for _, m := range quoted.FindAllStringSubmatch(page(t, filepath.Join(root, file)), -1) {
			if constants++; !rows[m[1]] {
				t.Errorf("no row describes %s", m[1])
			}
		}
	}
	if constants < 20 || len(rows) != constants+2 { // "reason" is a heading, and "unreadable" ends no session
		t.Errorf("%d rows for %d constants", len(rows), constants)
	}
}

// The exported names in the pages exist.
func TestNames(t *testing.T) {
	var packages []string
	for name, path := range imports {
		if strings.HasPrefix(path, "github.com/synmetrix/session") {
			packages = append(packages, name)
		}
	}
	name := regexp.MustCompile("\\b(" + strings.Join(packages, "|") + `)\.([A-Z]\w*)`)
	docs := map[string]string{}
	for _, file := range pages(t) {
		for _, m := range name.FindAllStringSubmatch(page(t, file), -1) {
			doc, ok := docs[m[1]]
			if !ok {
				out, err := exec.Command("go", "doc", "-all", imports[m[1]]).CombinedOutput()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				doc = string(out)
				docs[m[1]] = doc
			}
			if !regexp.MustCompile(`(?m)^\s*(func|type|var|const)?\s*` + m[2] + `\b`).MatchString(doc) {
				t.Errorf("%s: %s.%s does not exist", file, m[1], m[2])
			}
		}
	}
}

// The runbook has every event and every reason of docs/events.md.
func TestRunbook(t *testing.T) {
	book := page(t, filepath.Join(root, "docs", "operations.md"))
	book, _, _ = strings.Cut(book, "\n## Logs")
	events, _, _ := strings.Cut(page(t, filepath.Join(root, "docs", "events.md")), "\n## Attributes")
	rows := regexp.MustCompile("(?m)^\\| (`\\w+`(?:, `\\w+`)*) \\|").FindAllStringSubmatch(events, -1)
	if len(rows) < 30 {
		t.Fatalf("docs/events.md has %d events and reasons, want 30 or more", len(rows))
	}
	for _, row := range rows {
		for _, name := range strings.Split(row[1], ", ") {
			if name != "`reason`" && !regexp.MustCompile("(?m)^\\| (`\\w+`, )*"+name).MatchString(book) {
				t.Errorf("docs/operations.md does not say what to do about %s", name)
			}
		}
	}
}
