package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/synmetrix/session/tests/internal/proxy"
)

// echo starts a server that returns the data that it receives, and returns a proxy to it.
func echo(t *testing.T) *proxy.Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return proxy.New(t, "tcp", l.Addr().String())
}

func dial(t *testing.T, p *proxy.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exchange sends data and returns the data that arrives within a time.
func exchange(t *testing.T, c net.Conn, data []byte, within time.Duration) ([]byte, error) {
	t.Helper()
	if _, err := c.Write(data); err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(data))
	n, err := io.ReadFull(c, got)
	return got[:n], err
}

const patience = 10 * time.Second

func TestFaults(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 20)
	p := echo(t)
	good := func(c net.Conn) {
		t.Helper()
		if got, err := exchange(t, c, data, patience); err != nil || !bytes.Equal(got, data) {
			t.Errorf("over a good network: %q, error %v", got, err)
		}
	}
	c := dial(t, p)
	good(c)

	p.Set(proxy.Fault{Delay: 100 * time.Millisecond})
	start := time.Now()
	good(c)
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("a response after %v, want 100 ms more each way", took)
	}

	p.Set(proxy.Fault{Hang: true})
	if got, err := exchange(t, c, data, 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("while it hangs: %q, error %v", got, err)
	}
	p.Set(proxy.Fault{})
	late := make([]byte, len(data))
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, late); err != nil || !bytes.Equal(late, data) {
		t.Errorf("after it hung: %q, error %v", late, err)
	}

	p.Set(proxy.Fault{Corrupt: 0.5})
	got, err := exchange(t, c, data, patience)
	if err != nil || len(got) != len(data) || bytes.Equal(got, data) {
		t.Errorf("corrupt: %q, error %v", got, err)
	}

	p.Set(proxy.Fault{CutAfter: 7})
	if got, err := exchange(t, c, data, patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) || len(got) > 7 {
		t.Errorf("cut: %q, error %v", got, err)
	}

	p.Set(proxy.Fault{})
	c = dial(t, p)
	good(c)
	p.Cut()
	if got, err := exchange(t, c, data, patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after a cut: %q, error %v", got, err)
	}
	c = dial(t, p)
	good(c)

	p.Set(proxy.Fault{Down: true})
	if _, err := exchange(t, c, data, patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("down: error %v", err)
	}
	if _, err := exchange(t, dial(t, p), data, patience); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a new connection while down: error %v", err)
	}
	p.Set(proxy.Fault{})
	good(dial(t, p))
}
