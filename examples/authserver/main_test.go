package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/examples/internal/pagetest"
)

func TestMain(m *testing.M) { pagetest.Main(m, main) }

func TestBadSettings(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want string // a part of the error line
	}{
		{"addr", nil, map[string]string{"ADDR": "8081"}, "ADDR"},
		{"addr port", []string{"-addr", "127.0.0.1:http"}, nil, "ADDR"},
		{"access life", []string{"-access-life", "10"}, nil, "ACCESS_LIFE"},
		{"access life too short", nil, map[string]string{"ACCESS_LIFE": "10ms"}, "1s"},
		{"mode", nil, map[string]string{"MODE": "loose"}, "strict nor lax"},
		{"flag beats variable", []string{"-mode", "loose"}, map[string]string{"MODE": "lax"}, `"loose"`},
		{"callback", []string{"-callback-url", "/callback"}, nil, "CALLBACK_URL"},
		{"fault endpoint", []string{"-fault", "nowhere:status=500"}, nil, "refresh"},
		{"fault part", []string{"-fault", "refresh:explode"}, nil, "deliver"},
		{"fault status", []string{"-fault", "refresh:status=99"}, nil, "200 to 599"},
		{"fault times", []string{"-fault", "refresh:status=500,times=0"}, nil, "times=N"},
		{"fault deliver", []string{"-fault", "refresh:deliver=never"}, nil, "half-reset"},
		{"fault edit", []string{"-fault", "refresh:edit=it"}, nil, "truncate"},
		{"fault body", []string{"-fault", "refresh:body=x"}, nil, "status=N"},
		{"unknown flag", []string{"-port", "1"}, nil, "-port"},
		{"argument", []string{"strict"}, nil, "strict"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			getenv := func(name string) string { return tt.env[name] }
			if code := run(t.Context(), tt.args, getenv, &stdout, &stderr); code != 2 {
				t.Errorf("exit status %d, want 2", code)
			}
			line := stderr.String()
			if strings.Count(line, "\n") != 1 || !strings.Contains(line, tt.want) {
				t.Errorf("standard error is %q, want one line with %q", line, tt.want)
			}
			if stdout.Len() > 0 {
				t.Errorf("standard output is %q, want nothing", stdout.String())
			}
		})
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var stdout, stderr strings.Builder
	getenv := func(string) string { return "" }
	if code := run(t.Context(), []string{"-addr", l.Addr().String()}, getenv, &stdout, &stderr); code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
	if n := strings.Count(stderr.String(), "\n"); n != 1 {
		t.Errorf("standard error is %q, want one line", stderr.String())
	}
}

func TestFaultFlags(t *testing.T) {
	url := start(t, "-addr", "127.0.0.1:0",
		"-fault", "login:status=503,body=<h1>down</h1>,times=1",
		"-fault", "login:no-token,times=1",
		"-fault", "refresh:status=302,location=/elsewhere",
		"-fault", "jwks:deliver=close",
		"-fault", "version:edit=truncate",
		"-fault", "/auth/register:times=1,backend-down")
	res := login(t, url)
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != 503 || string(body) != "<h1>down</h1>" {
		t.Errorf("first login: %d %q", res.StatusCode, body)
	}
	if res := login(t, url); res.StatusCode != 400 {
		t.Errorf("second login: %d, want 400", res.StatusCode)
	}
	if res := login(t, url); res.StatusCode != 200 {
		t.Errorf("third login: %d, want 200", res.StatusCode)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(url + "/auth/token/refresh")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 302 || res.Header.Get("Location") != "/elsewhere" {
		t.Errorf("refresh: %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	if res, err := client.Get(url + "/auth/jwks"); err == nil {
		t.Errorf("jwks: %d, want no response", res.StatusCode)
		res.Body.Close()
	}
	res, err = http.Post(url+"/auth/register", "application/json", strings.NewReader(`{"email":"new@example.com"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 500 {
		t.Errorf("register: %d, want 500", res.StatusCode)
	}
	res, err = client.Get(url + "/version")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != `{"version"` {
		t.Errorf("version: %q, want the truncated body", body)
	}
}

// start runs the program until the test ends. It returns the program's address.
func start(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, args, func(string) string { return "" }, in, in)
		in.Close()
	}()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != 0 {
			t.Errorf("exit status %d, want 0", code)
		}
	})
	url, _ := announced(t, out)
	return url
}

// announced reads the program's output up to the line with the address.
func announced(t *testing.T, out io.Reader) (url string, before []string) {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			return url, before
		}
		before = append(before, lines.Text())
	}
	t.Fatalf("the program does not listen; its output is %q", before)
	return "", nil
}

func login(t *testing.T, url string) *http.Response {
	t.Helper()
	res, err := http.Post(url+"/auth/login", "application/json",
		strings.NewReader(`{"email":"viewer@example.com","password":"correct horse battery staple","cookie":false}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// TestProcess runs the program: its output, the lifetime of its tokens, its end.
func TestProcess(t *testing.T) {
	cmd := pagetest.Command(t, "ADDR=127.0.0.1:0", "ACCESS_LIFE=3s", "MODE=")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()

	url, before := announced(t, stdout)
	text := strings.Join(before, "\n")
	for _, want := range []string{
		"admin@example.com", "analyst@example.com", "viewer@example.com", "mfa@example.com",
		"correct horse battery staple", "JBSWY3DPEHPK3PXP",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the output does not contain %s", want)
		}
	}
	var body struct {
		Life int `json:"jwt_expires_in"`
	}
	if err := json.NewDecoder(login(t, url).Body).Decode(&body); err != nil || body.Life != 3000 {
		t.Errorf("jwt_expires_in is %d (%v), want 3000", body.Life, err)
	}
	res, err := http.Post(url+"/auth/login", "application/json", strings.NewReader(`{"email":"viewer@example.com","cookie":false}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	mail, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(mail, "e-mail to viewer@example.com: Secure log in link: "+url) {
		t.Errorf("the program prints %q (%v), want the e-mail", mail, err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, want exit status 0", err)
	}
}
