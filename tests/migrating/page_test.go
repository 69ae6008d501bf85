package migrating

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	ginjwt "github.com/appleboy/gin-jwt/v2"
	gorilla "github.com/gorilla/sessions"
)

var (
	goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	pair    = regexp.MustCompile("(?m)^\\| `(.*)` \\| `(.*)` \\|$")
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// program returns the first Go program of a page.
func program(t *testing.T, page string) string {
	t.Helper()
	for _, m := range goBlock.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(m[1], "package main\n") {
			return m[1]
		}
	}
	t.Fatal("the page has no program")
	return ""
}

func page(t *testing.T) string { return read(t, "../../docs/migrating.md") }

// scsREADME returns the README of scs, from the module itself.
func scsREADME(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/alexedwards/scs/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	return read(t, filepath.Join(strings.TrimSpace(string(out)), "README.md"))
}

// The examples of the page are those that the tests of this package run.
func TestPageBlocks(t *testing.T) {
	code := read(t, "mover.go") + read(t, "readers.go")
	n := 0
	for _, m := range goBlock.FindAllStringSubmatch(page(t), -1) {
		if strings.HasPrefix(m[1], "package ") {
			continue
		}
		if n++; !strings.Contains(code, m[1]) {
			t.Errorf("not in this package:\n%s", m[1])
		}
	}
	if n < 5 {
		t.Errorf("%d examples", n)
	}
}

// The tables have all exported names of the other libraries that apps use for sessions.
func TestTables(t *testing.T) {
	for heading, types := range map[string][]reflect.Type{
		"## scs": {
			reflect.TypeFor[*scs.SessionManager](), reflect.TypeFor[scs.SessionManager](), reflect.TypeFor[scs.SessionCookie](),
		},
		"## gorilla/sessions": {
			reflect.TypeFor[*gorilla.Session](), reflect.TypeFor[gorilla.Session](), reflect.TypeFor[gorilla.Options](),
		},
		"## gin-jwt": {reflect.TypeFor[ginjwt.GinJWTMiddleware]()},
	} {
		_, section, _ := strings.Cut(page(t), "\n"+heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		n := 0
		for _, name := range exported(types) {
			if typed.MatchString(name) {
				continue // the forms of Get and Pop for one type each
			}
			if n++; !regexp.MustCompile("(?m)^\\| [^|]*\\b" + name + "\\b").MatchString(section) {
				t.Errorf("%s: no row for %s", heading, name)
			}
		}
		if n < 10 {
			t.Errorf("%s: %d names", heading, n)
		}
	}
}

var typed = regexp.MustCompile("^(Get|Pop)[A-Z]")

// exported returns the names of the exported fields and methods of types.
func exported(types []reflect.Type) []string {
	var names []string
	for _, typ := range types {
		if typ.Kind() != reflect.Struct {
			for i := range typ.NumMethod() {
				names = append(names, typ.Method(i).Name)
			}
			continue
		}
		for _, f := range reflect.VisibleFields(typ) {
			if f.IsExported() {
				names = append(names, f.Name)
			}
		}
	}
	return names
}

// The table about the example of scs has every statement of that program, in the same
// order, and the replacement of each in our program.
func TestExampleLineByLine(t *testing.T) {
	theirs, ours := program(t, scsREADME(t)), program(t, page(t))
	_, section, _ := strings.Cut(page(t), "### The example of scs")
	section, _, _ = strings.Cut(section, "```")
	rows := pair.FindAllStringSubmatch(section, -1)
	_, body, _ := strings.Cut(theirs, ")\n")
	n := 0
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		switch {
		case line == "", line == "}", strings.HasPrefix(line, "//"), strings.HasPrefix(line, "func "), line == "mux := http.NewServeMux()":
			continue
		case n == len(rows):
			t.Fatalf("no row for %q", line)
		case rows[n][1] != line:
			t.Errorf("row %q, want %q", rows[n][1], line)
		}
		if !strings.Contains(spaces.ReplaceAllString(ours, " "), rows[n][2]) {
			t.Errorf("%q is not in our program", rows[n][2])
		}
		n++
	}
	if n != len(rows) || n < 9 {
		t.Errorf("%d rows for %d lines", len(rows), n)
	}
}

// spaces are those with which gofmt aligns lines.
var spaces = regexp.MustCompile(` +`)

// The example of scs and our program respond in the same way.
func TestExampleResponses(t *testing.T) {
	theirs := visit(t, program(t, scsREADME(t)))
	ours := visit(t, program(t, page(t)))
	if len(theirs) != len(ours) || len(theirs) != 5 {
		t.Fatalf("%d and %d responses", len(theirs), len(ours))
	}
	for i := range theirs {
		if theirs[i] != ours[i] {
			t.Errorf("request %d: scs responds\n%+v, ours\n%+v", i+1, theirs[i], ours[i])
		}
	}
	if theirs[2].body != "Hello from a session!" {
		t.Errorf("scs responds %+v", theirs[2])
	}
}

// response has the parts of a response that a client notices.
type response struct {
	status     int
	body, kind string
	vary       bool
	cookies    string // the attributes
}

// visit runs a program, and sends requests of two browsers.
func visit(t *testing.T, source string) []response {
	t.Helper()
	base := run(t, source)
	var all []response
	for _, paths := range [][]string{{"/get", "/put", "/get", "/get"}, {"/get"}} {
		jar, _ := cookiejar.New(nil)
		client := &http.Client{Jar: jar}
		for _, path := range paths {
			res, err := client.Get(base + path)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, response{
				res.StatusCode, string(body), res.Header.Get("Content-Type"), res.Header.Get("Vary") == "Cookie", attributes(res),
			})
		}
	}
	return all
}

// attributes returns those of the response's cookies.
func attributes(res *http.Response) string {
	var all []string
	for _, c := range res.Cookies() {
		age := time.Duration(c.MaxAge) * time.Second
		all = append(all, strings.Join([]string{
			c.Path, c.Domain, age.Round(time.Minute).String(), strconv.FormatBool(c.Secure), strconv.FormatBool(c.HttpOnly), strconv.Itoa(int(c.SameSite)),
		}, " "))
	}
	return strings.Join(all, ", ")
}

// run builds a program that listens on port 4000, runs it on another one, and returns its
// address.
func run(t *testing.T, source string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	const port = `":4000"`
	if strings.Count(source, port) != 1 {
		t.Fatal("the program does not listen on port 4000")
	}
	cmd := exec.Command(build(t, strings.Replace(source, port, strconv.Quote(host), 1)))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	for {
		if c, err := net.Dial("tcp", host); err == nil {
			c.Close()
			return "http://" + host
		}
		select {
		case <-exited:
			t.Fatalf("the program has ended: %s", out.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// build compiles a program as if it were a package below this one.
func build(t *testing.T, source string) (file string) {
	t.Helper()
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "main.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "program", "main.go"): main}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{main: []byte(source), filepath.Join(dir, "overlay.json"): overlay} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(dir, "program")
	out, err := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", file, "./program").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}
