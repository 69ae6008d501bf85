package synmetrix_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

// The service refreshes with a GET that must be sent once, which net/http does not
// guarantee. These tests check what the client does about it.

func TestRefreshOnTheWire(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
	c := newClient(t, srv.URL+"/base/")
	if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
		t.Fatal(err)
	}
	raw := srv.requests()[0].raw
	want := "GET /base/auth/token/refresh?refresh_token=" + oldRefresh + " HTTP/1.1\r\n" +
		"Host: " + strings.TrimPrefix(srv.URL, "http://") + "\r\n" +
		"User-Agent: synmetrix-session\r\n" +
		"Accept: application/json\r\n\r\n"
	if raw != want {
		t.Errorf("on the wire:\n%s\nwant:\n%s", raw, want)
	}
}

// If a reused connection breaks before the response, http.Transport repeats a GET.
// The service may have used up the token or ticket by then. So the client repeats
// no call, whatever its method.
func TestCallsAreSentOnce(t *testing.T) {
	t.Parallel()
	for op, call := range map[string]func(*synmetrix.Client, context.Context) error{
		"refresh": func(c *synmetrix.Client, ctx context.Context) error {
			_, err := c.Refresh(ctx, auth.Tokens{RefreshToken: newRefresh})
			return err
		},
		"activate": func(c *synmetrix.Client, ctx context.Context) error { _, err := c.Activate(ctx, ticket); return err },
		"ping":     func(c *synmetrix.Client, ctx context.Context) error { return c.Ping(ctx) },
		"register": func(c *synmetrix.Client, ctx context.Context) error {
			_, err := c.Register(ctx, email, password)
			return err
		},
		"logout": func(c *synmetrix.Client, ctx context.Context) error {
			return c.Logout(ctx, auth.Tokens{RefreshToken: oldRefresh}, false)
		},
		"revoke": func(c *synmetrix.Client, ctx context.Context) error { return c.Revoke(ctx, validAccess) },
	} {
		for name, hangUp := range map[string]func(*received){
			"reset":  (*received).reset,
			"closed": func(x *received) { x.Close() },
		} {
			t.Run(op+"/"+name, func(t *testing.T) {
				t.Parallel()
				srv := serve(t, func(x *received) bool {
					if x.n == 2 {
						hangUp(x)
						return false
					}
					x.respond(ok(tokensBody(validAccess, newRefresh)))
					return true
				})
				c := newClient(t, srv.URL)
				if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
					t.Fatal(err)
				}
				err := call(c, testContext(t))
				wantError(t, err, op, synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")

				seen := srv.requests()
				if len(seen) != 2 || seen[0].conn != 1 || seen[1].conn != 1 {
					t.Errorf("%d requests arrived, want 2 on one connection", len(seen))
				}
			})
		}
	}
}

// A plain GET is repeated under the same conditions. Without this, the test above
// would prove nothing.
func TestPlainGetIsRepeated(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(x *received) bool {
		if x.n == 2 {
			x.reset()
			return false
		}
		x.respond(ok("{}"))
		return true
	})
	plain := &http.Client{Transport: synmetrix.NewTransport()}
	defer plain.CloseIdleConnections()
	for range 2 {
		resp, err := plain.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if n := len(srv.requests()); n != 3 {
		t.Errorf("%d requests arrived, want 3", n)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
	for _, status := range []int{301, 302, 303, 304, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			srv := serve(t, responding(reply(status, "text/plain", "", "Location: "+elsewhere.URL+"/auth/token/refresh?refresh_token="+oldRefresh)))
			c := newClient(t, srv.URL)
			_, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
			wantError(t, err, "refresh", synmetrix.CodeRedirect, status, "", "invalid response, outcome unknown")
			_, err = c.Login(testContext(t), email, password)
			wantError(t, err, "login", synmetrix.CodeRedirect, status, "", "invalid response, outcome unknown")
			if n := len(elsewhere.requests()); n != 0 {
				t.Errorf("%d requests followed the redirect", n)
			}
		})
	}
}

// In the next request, the service would prefer its cookie over the token.
func TestCookiesAreNotKept(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(reply(200, jsonType, tokensBody(validAccess, newRefresh),
		"Set-Cookie: refresh_token="+oldRefresh+"; Path=/; HttpOnly",
		"Set-Cookie: permission_variables=%7B%7D; Path=/")))
	c := newClient(t, srv.URL)
	if _, err := c.Login(testContext(t), email, password); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: newRefresh}); err != nil {
		t.Fatal(err)
	}
	for _, x := range srv.requests() {
		if x.req.Header.Get("Cookie") != "" || x.req.Header.Get("Referer") != "" {
			t.Errorf("sent headers %v", x.req.Header)
		}
	}
}

func TestBodyIsLimited(t *testing.T) {
	t.Parallel()
	const chunk = 64 << 10
	endless := func(status int) (*server, chan int) {
		sent := make(chan int, 1)
		return serve(t, func(x *received) bool {
			head := "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
			x.respond(fmt.Sprintf(head, status))
			total := 0
			for range 1024 {
				n, err := fmt.Fprintf(x, "%x\r\n%s\r\n", chunk, strings.Repeat(" ", chunk))
				total += n
				if err != nil {
					break
				}
			}
			sent <- total
			return false
		}), sent
	}
	for status, want := range map[int]struct{ code, means string }{
		200: {synmetrix.CodeBodyTooLarge, "invalid response, outcome unknown"},
		401: {synmetrix.CodeBodyTooLarge, "invalid response, outcome unknown"},
		500: {synmetrix.CodeServiceError, "outcome unknown, unavailable"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			srv, sent := endless(status)
			_, err := newClient(t, srv.URL).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
			wantError(t, err, "refresh", want.code, status, "", want.means)
			// Beyond the limit, the server can only fill the socket buffers.
			if n := <-sent; n > 32<<20 {
				t.Errorf("the server sent %d bytes", n)
			}
		})
	}
}

func TestHeaderIsLimited(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(reply(200, jsonType, tokensBody(validAccess, newRefresh), "X-Long: "+strings.Repeat("x", 1<<20))))
	_, err := newClient(t, srv.URL).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")
}

// The deadline bounds the whole call, also while the response arrives slowly.
func TestDeadline(t *testing.T) {
	t.Parallel()
	sendSlowly := func(x *received, s string) {
		for i := range len(s) {
			if _, err := io.WriteString(x, s[i:i+1]); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	body := tokensBody(validAccess, newRefresh)
	for name, test := range map[string]struct {
		script func(*received) bool
		status int
	}{
		"no response": {func(x *received) bool { _, _ = io.Copy(io.Discard, x); return false }, 0},
		"slow header": {func(x *received) bool {
			sendSlowly(x, reply(200, jsonType, body, "X-Long: "+strings.Repeat("x", 4096)))
			return false
		}, 0},
		"slow body": {func(x *received) bool {
			x.respond(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)+4096))
			sendSlowly(x, body+strings.Repeat(" ", 4096))
			return false
		}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, transport := servePipe(t, test.script)
				c := newClient(t, srv.URL, synmetrix.WithTransport(transport), synmetrix.WithTimeout(300*time.Millisecond))
				start := time.Now()
				_, err := c.Refresh(t.Context(), auth.Tokens{RefreshToken: oldRefresh})
				wantError(t, err, "refresh", synmetrix.CodeNoResponse, test.status, "", "outcome unknown, unavailable")
				if took := time.Since(start); took != 300*time.Millisecond || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v after %v, want DeadlineExceeded after 300 ms", err, took)
				}
			})
		})
	}
}

// A call of two requests has one deadline for both.
func TestDeadlineOfTwoRequests(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		call  func(*synmetrix.Client, context.Context) (auth.Grant, error)
		first string // response to the first request
		op    string // of the second request
		want  auth.Tokens
	}{
		"activate": {func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
			return c.Activate(ctx, ticket)
		}, reply(302, "", "", "Location: /?refresh_token="+newRefresh), "refresh", auth.Tokens{RefreshToken: newRefresh}},
		"activate without a password": {func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
			return c.ActivatePasswordless(ctx, ticket)
		}, reply(302, "", "", "Location: /?refresh_token="+newRefresh), "refresh", auth.Tokens{RefreshToken: newRefresh}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, transport := servePipe(t, func(x *received) bool {
					time.Sleep(3 * time.Second)
					if x.n == 1 {
						x.respond(test.first)
					} else {
						x.respond(ok(tokensBody(validAccess, newRefresh)))
					}
					return true
				})
				c := newClient(t, srv.URL, synmetrix.WithTransport(transport), synmetrix.WithTimeout(5*time.Second))
				start := time.Now()
				grant, err := test.call(c, t.Context())
				wantError(t, err, test.op, synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")
				if took := time.Since(start); took != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v after %v, want DeadlineExceeded after 5 s", err, took)
				}
				if grant.Tokens != test.want {
					t.Error("the tokens together with the error are not those of the first response")
				}
				if n := len(srv.requests()); n != 2 {
					t.Errorf("%d requests arrived, want 2", n)
				}
			})
		})
	}
}

// A transport may have shorter time limits than the call.
func TestDeadlineOfTransport(t *testing.T) {
	t.Parallel()
	noResponse := func(x *received) bool { _, _ = io.Copy(io.Discard, x); return false }
	for name, test := range map[string]struct {
		scheme      string
		change      func(*http.Transport)
		code, means string
	}{
		"handshake": {"https:", func(t *http.Transport) {
			t.DialContext = func(context.Context, string, string) (net.Conn, error) {
				near, _ := net.Pipe() // the other end is not read
				return near, nil
			}
			t.TLSHandshakeTimeout = time.Second
		}, synmetrix.CodeUnreachable, "unavailable"},
		"response header": {"http:", func(t *http.Transport) { t.ResponseHeaderTimeout = time.Second }, synmetrix.CodeNoResponse, "outcome unknown, unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, transport := servePipe(t, noResponse)
				test.change(transport)
				c := newClient(t, strings.Replace(srv.URL, "http:", test.scheme, 1), synmetrix.WithTransport(transport))
				start := time.Now()
				_, err := c.Refresh(t.Context(), auth.Tokens{RefreshToken: oldRefresh})
				wantError(t, err, "refresh", test.code, 0, "", test.means)
				if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v after %v, want DeadlineExceeded after 1 s", err, took)
				}
			})
		})
	}
}

func TestCallIsCanceled(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	srv := serve(t, func(x *received) bool {
		close(arrived)
		_, _ = io.Copy(io.Discard, x) // until the client disconnects
		return false
	})
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		<-arrived
		cancel()
	}()
	c := newClient(t, srv.URL)
	_, err := c.Refresh(ctx, auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}

	// With a context that is already canceled, nothing is sent.
	_, err = c.Refresh(ctx, auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeUnreachable, 0, "", "unavailable")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	if n := len(srv.requests()); n != 1 {
		t.Errorf("%d requests arrived, want 1", n)
	}
}

func TestRequestWasNotSent(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	ln.Close()

	t.Run("connection refused", func(t *testing.T) {
		t.Parallel()
		_, err := newClient(t, "http://"+address).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
		wantError(t, err, "refresh", synmetrix.CodeUnreachable, 0, "", "unavailable")
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%v is not ECONNREFUSED", err)
		}
	})
	t.Run("no such host", func(t *testing.T) {
		t.Parallel()
		_, err := newClient(t, "http://auth.invalid").Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
		wantError(t, err, "refresh", synmetrix.CodeUnreachable, 0, "", "unavailable")
	})
	t.Run("no TLS", func(t *testing.T) {
		t.Parallel()
		srv := serve(t, responding(ok("{}")))
		_, err := newClient(t, strings.Replace(srv.URL, "http:", "https:", 1)).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
		wantError(t, err, "refresh", synmetrix.CodeUnreachable, 0, "", "unavailable")
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("the request came over %s, want HTTP/1.1", r.Proto)
		}
		w.Header().Set("Content-Type", jsonType)
		_, _ = io.WriteString(w, tokensBody(validAccess, newRefresh))
	})
	quiet := log.New(io.Discard, "", 0) // failing handshakes are expected
	start := func(config *tls.Config) (*httptest.Server, *http.Transport) {
		srv := httptest.NewUnstartedServer(handler)
		srv.TLS = config
		srv.EnableHTTP2 = true
		srv.Config.ErrorLog = quiet
		srv.StartTLS()
		t.Cleanup(srv.Close)
		trusting := synmetrix.NewTransport()
		trusting.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		return srv, trusting
	}
	tests := map[string]struct {
		server  *tls.Config
		client  func(*tls.Config) // nil: the client does not trust the authority
		host    string
		outcome string // code and cause
	}{
		"valid":             {nil, func(*tls.Config) {}, "127.0.0.1", ""},
		"unknown authority": {nil, nil, "127.0.0.1", "unreachable: the certificate is signed by an unknown authority"},
		"another host":      {nil, func(*tls.Config) {}, "localhost", "unreachable: the certificate is for another host"},
		"expired": {nil, func(c *tls.Config) { c.Time = func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) } },
			"127.0.0.1", "unreachable: the certificate has expired or is not yet valid"},
		"client certificate": {&tls.Config{Certificates: []tls.Certificate{clientCertificate(t)}}, func(*tls.Config) {},
			"127.0.0.1", "unreachable: the certificate is not valid"},
		"no common version": {&tls.Config{MaxVersion: tls.VersionTLS12}, func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
			"127.0.0.1", "unreachable: the TLS connection failed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv, transport := start(test.server)
			if test.client == nil {
				transport = synmetrix.NewTransport()
			} else {
				test.client(transport.TLSClientConfig)
			}
			c := newClient(t, strings.Replace(srv.URL, "127.0.0.1", test.host, 1), synmetrix.WithTransport(transport))
			_, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
			noSecrets(t, err)
			if test.outcome == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			code, cause, _ := strings.Cut(test.outcome, ": ")
			wantError(t, err, "refresh", code, 0, "", "unavailable")
			if !strings.HasSuffix(err.Error(), cause) {
				t.Errorf("error is %v, want the cause %q", err, cause)
			}
		})
	}
}

// clientCertificate returns a certificate for clients, which a server must not use.
func clientCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A transport without tracing may have sent the request before it fails.
func TestTransportWithoutTracing(t *testing.T) {
	t.Parallel()
	broken := errors.New("lost GET " + oldRefresh)
	c := newClient(t, "http://auth.example", synmetrix.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, broken
	})))
	_, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")
	if errors.Is(err, broken) {
		t.Error("an error with unknown content is passed on")
	}

	c = newClient(t, "http://auth.example", synmetrix.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, nil
	})))
	_, err = c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoResponse, 0, "", "outcome unknown, unavailable")

	c = newClient(t, "http://auth.example", synmetrix.WithTimeout(time.Millisecond), synmetrix.WithTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, broken
	})))
	_, err = c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not a DeadlineExceeded", err)
	}
}

// After a 101 the connection may stay open for ever. The client does not wait.
func TestUpgradeIsNotAwaited(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	srv := serve(t, func(x *received) bool {
		x.respond("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, x) // until the client disconnects
		close(released)
		return false
	})
	start := time.Now()
	_, err := newClient(t, srv.URL).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeRedirect, 101, "", "invalid response, outcome unknown")
	if took := time.Since(start); took > synmetrix.DefaultTimeout/2 {
		t.Errorf("took %v", took)
	}
	select {
	case <-released:
	case <-testContext(t).Done():
		t.Error("the connection was not closed")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The service closes idle connections after five seconds.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan time.Time, 1)
		srv, transport := servePipe(t, func(x *received) bool {
			x.respond(ok(tokensBody(validAccess, newRefresh)))
			if x.n == 2 {
				_, _ = x.Read(make([]byte, 1))
				closed <- time.Now()
			}
			return true
		})
		c := newClient(t, srv.URL, synmetrix.WithTransport(transport))
		for range 2 {
			time.Sleep(3 * time.Second)
			if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
				t.Fatal(err)
			}
		}
		responded := time.Now()
		if seen := srv.requests(); seen[1].conn != 1 {
			t.Error("the connection was not reused")
		}
		select {
		case at := <-closed:
			if idle := at.Sub(responded); idle != 4*time.Second {
				t.Errorf("the client closed the connection after %v, want 4 s", idle)
			}
		case <-testContext(t).Done():
			t.Error("the client did not close the connection")
		}
	})
}

// Calls that fail, are canceled or time out leave no goroutines behind. (Not
// parallel: it counts goroutines.)
func TestNoGoroutineLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("calls", func(t *testing.T) {
		srv := serve(t, func(x *received) bool {
			switch x.n % 4 {
			case 0:
				x.respond(ok(tokensBody(validAccess, newRefresh)))
				return true
			case 1:
				x.respond("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
				return false
			case 2:
				x.reset()
				return false
			}
			_, _ = io.Copy(io.Discard, x) // until the client disconnects
			return false
		})
		c := newClient(t, srv.URL, synmetrix.WithTimeout(50*time.Millisecond))
		for range 20 {
			_, _ = c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
		}
	})
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// The client does not use http.DefaultTransport, so that it shares no connections
// with other code. (Not parallel: it changes a global variable.)
func TestDefaultTransportIsNotUsed(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	http.DefaultTransport = roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("http.DefaultTransport was used")
		return nil, io.ErrUnexpectedEOF
	})
	srv := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
	for _, c := range []*synmetrix.Client{newClient(t, srv.URL), newClient(t, srv.URL, synmetrix.WithTransport(nil))} {
		if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
			t.Fatal(err)
		}
	}
}

// A process reads its proxy settings once. So the test runs itself again in a
// process with other settings.
func TestProxy(t *testing.T) {
	t.Parallel()
	if os.Getenv("TEST_BEHIND_PROXY") != "" {
		_, err := synmetrix.NewClient("http://auth.invalid").Refresh(t.Context(), auth.Tokens{RefreshToken: oldRefresh})
		noSecrets(t, err)
		var e *auth.Error
		if !errors.As(err, &e) {
			t.Fatalf("error = %v", err)
		}
		fmt.Println("outcome:", e.Code, e.StatusCode)
		return
	}
	run := func(proxy string) string {
		cmd := exec.CommandContext(testContext(t), os.Args[0], "-test.run=^TestProxy$")
		cmd.Env = append(os.Environ(), "TEST_BEHIND_PROXY=1", "HTTP_PROXY="+proxy, "http_proxy="+proxy, "NO_PROXY=", "no_proxy=", "REQUEST_METHOD=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}

	srv := serve(t, responding(reply(407, "text/html", "<h1>Who are you?</h1>")))
	if out := run(srv.URL); !strings.Contains(out, "outcome: unexpected_status 407\n") {
		t.Errorf("behind a proxy:\n%s", out)
	}
	if seen := srv.requests(); len(seen) != 1 || seen[0].req.Host != "auth.invalid" {
		t.Errorf("the proxy saw %d requests", len(seen))
	}
	// No error contains an invalid proxy address, which may hold a password.
	if out := run("http://user:" + password + "@%zz"); !strings.Contains(out, "outcome: unreachable 0\n") {
		t.Errorf("behind a broken proxy setting:\n%s", out)
	}
}
