// Package pagetest tests the small examples, which are the same app with
// different routers.
package pagetest

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/seed"
	"github.com/synmetrix/session/synmetrix"
)

// asProgram is the variable that makes the test binary run the example instead of
// its tests.
const asProgram = "RUN_EXAMPLE"

// Main is the body of each example's TestMain.
func Main(m *testing.M, program func()) {
	if os.Getenv(asProgram) != "" {
		program()
		return
	}
	os.Exit(m.Run())
}

// Command returns the example of the package under test as a program.
func Command(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
	return cmd
}

// Run tests an example: its pages, its start, and its length.
func Run(t *testing.T, newHandler func(*session.Manager) http.Handler) {
	auth := authtest.NewServer(t, authtest.Options{Accounts: seed.Accounts(), PasswordCost: -1})
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Shutdown(context.Background()) })
	t.Run("pages", func(t *testing.T) { Pages(t, auth, newHandler(m), func(a authtest.Account) string { return a.ID }) })
	t.Run("program", func(t *testing.T) { program(t, auth) })
	t.Run("length", length)
}

// Pages tests the pages of an example that uses the service auth. The start page of
// a user must contain the text that home returns.
func Pages(t *testing.T, auth *authtest.Server, h http.Handler, home func(authtest.Account) string) {
	srv := httptest.NewTLSServer(h) // the cookies are Secure
	defer srv.Close()
	viewer, _ := auth.Account("viewer@example.com")
	admin, _ := auth.Account("admin@example.com")
	for _, tt := range []struct {
		email, path string
		status      int
		body        string
	}{
		{"", "/", 200, "Sign in"},
		{"", "/admin", 200, "Sign in"},
		{"viewer@example.com", "/", 200, home(viewer)},
		{"viewer@example.com", "/admin", 403, "No access"},
		{"admin@example.com", "/", 200, home(admin)},
		{"admin@example.com", "/admin", 200, "You are an admin."},
	} {
		client := *srv.Client()
		client.Jar, _ = cookiejar.New(nil)
		if tt.email != "" {
			res, err := client.PostForm(srv.URL+"/login", url.Values{"email": {tt.email}, "password": {seed.Password}})
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
		}
		if status, body := get(t, &client, srv.URL+tt.path); status != tt.status || !strings.Contains(body, tt.body) {
			t.Errorf("%s %s: %d %s, want %d with %q", tt.email, tt.path, status, body, tt.status, tt.body)
		}
	}
}

func get(t *testing.T, client *http.Client, address string) (status int, body string) {
	req, err := http.NewRequest("GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// program starts the example as a program.
func program(t *testing.T, auth *authtest.Server) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close() // the port is free, and probably still is when the program starts
	cmd := Command(t, "ADDR="+addr, "AUTH_URL="+auth.URL)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		status, body := get(t, client, "http://"+addr+"/admin")
		if status == 200 && strings.Contains(body, "Sign in") {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d %s", status, body)
		}
	}
}

// maxLines bounds the lines of a small example, except its imports and its main
// function.
const maxLines = 10

func length(t *testing.T) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, "main.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, decl := range f.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.IMPORT {
			continue
		}
		if d, ok := decl.(*ast.FuncDecl); ok && d.Name.Name == "main" {
			continue
		}
		lines += files.Position(decl.End()).Line - files.Position(decl.Pos()).Line + 1
	}
	if lines > maxLines {
		t.Errorf("%d lines, want %d at most", lines, maxLines)
	}
}
