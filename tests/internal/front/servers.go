package front

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/tests/internal/port"
)

// LookFor returns the path of a program, and skips the test if it is missing.
func LookFor(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return path
}

// syncBuffer is a buffer for concurrent reads and writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startServer starts a server on a port that was free, and tries another port if the
// server ends at its start. command returns the command for an address.
func startServer(t *testing.T, f *Front, command func(addr string) *exec.Cmd) {
	t.Helper()
	for range 3 {
		f.Addr = "127.0.0.1:" + port.Free(t)
		cmd := command(f.Addr)
		var output syncBuffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() {
			_ = cmd.Wait() // the output has the error
			close(exited)
		}()
		if serves(f, exited) {
			t.Cleanup(func() {
				_ = cmd.Process.Kill()
				<-exited
				if t.Failed() {
					lines := strings.SplitAfter(output.String(), "\n")
					t.Logf("%s:\n%s", filepath.Base(cmd.Path), strings.Join(lines[max(0, len(lines)-20):], ""))
				}
			})
			return
		}
		_ = cmd.Process.Kill()
		<-exited
		t.Logf("%s has not started:\n%s", cmd.Path, output.String())
	}
	t.Fatal("the server has not started")
}

// serves waits until the front accepts connections with its certificate, and returns
// false if the server ends.
func serves(f *Front, exited <-chan struct{}) bool {
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); {
		conn, err := tls.Dial("tcp", f.Addr, &tls.Config{RootCAs: f.Pool, ServerName: Host})
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-exited:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// Nginx starts nginx with a configuration file, changed as by [Edited]. It skips the test
// if nginx is not installed.
func Nginx(t *testing.T, file string, pairs ...string) *Front {
	t.Helper()
	program := LookFor(t, "nginx")
	certFile, keyFile, pool := certificate(t)
	f := &Front{T: t, Pool: pool}
	startServer(t, f, func(addr string) *exec.Cmd {
		site := Edited(t, file, append([]string{
			"listen 443 ssl", "listen " + addr + " ssl",
			"/etc/ssl/app.example.org.crt", certFile, "/etc/ssl/app.example.org.key", keyFile,
		}, pairs...)...)
		dir := t.TempDir()
		var temp strings.Builder
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&temp, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
		}
		config := Write(t, "nginx.conf", "daemon off; master_process off; pid "+filepath.Join(dir, "pid")+"; error_log stderr notice;\n"+
			"events {}\nhttp {\naccess_log off;\n"+temp.String()+site+"\n}\n")
		return exec.Command(program, "-p", dir, "-e", "stderr", "-c", config)
	})
	return f
}

// Caddy starts Caddy with a configuration file, changed as by [Edited]. It skips the test
// if Caddy is not installed.
func Caddy(t *testing.T, file string, pairs ...string) *Front {
	t.Helper()
	program := LookFor(t, "caddy")
	certFile, keyFile, pool := certificate(t)
	f := &Front{T: t, Pool: pool}
	startServer(t, f, func(addr string) *exec.Cmd {
		_, port, _ := net.SplitHostPort(addr)
		site := Edited(t, file, append([]string{
			"app.example.org {", "app.example.org:" + port + " {\n\tbind 127.0.0.1\n\ttls " + certFile + " " + keyFile,
		}, pairs...)...)
		dir := t.TempDir()
		cmd := exec.Command(program, "run", "--adapter", "caddyfile", "--config", Write(t, "Caddyfile", "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"+site))
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
		return cmd
	})
	return f
}
