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

// What goes wrong between net/http and a service whose refresh is a GET that
// can be done once.

func TestRefreshOnTheWire(t *testing.T) {
	t.Parallel()
	srv := serve(t, answering(ok(tokensBody(liveAccess, newRefresh))))
	c := newClient(t, srv.URL+"/base/")
	if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
		t.Fatal(err)
	}
	raw := srv.seen()[0].raw
	want := "GET /base/auth/token/refresh?refresh_token=" + oldRefresh + " HTTP/1.1\r\n" +
		"Host: " + strings.TrimPrefix(srv.URL, "http://") + "\r\n" +
		"User-Agent: synmetrix-session\r\n" +
		"Accept: application/json\r\n\r\n"
	if raw != want {
		t.Errorf("on the wire:\n%s\nwant:\n%s", raw, want)
	}
}

// A Transport repeats a GET on its own when a connection that was used before
// breaks in place of an answer. The service has used up the token, or the
// ticket, by then. No call is repeated, whatever its method.
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
		"revoke": func(c *synmetrix.Client, ctx context.Context) error { return c.Revoke(ctx, liveAccess) },
	} {
		for name, hangUp := range map[string]func(*exchange){
			"reset":  (*exchange).reset,
			"closed": func(x *exchange) { x.Close() },
		} {
			t.Run(op+"/"+name, func(t *testing.T) {
				t.Parallel()
				srv := serve(t, func(x *exchange) bool {
					if x.n == 2 {
						hangUp(x)
						return false
					}
					x.send(ok(tokensBody(liveAccess, newRefresh)))
					return true
				})
				c := newClient(t, srv.URL)
				if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
					t.Fatal(err)
				}
				err := call(c, testContext(t))
				wantError(t, err, op, synmetrix.CodeNoAnswer, 0, "", "outcome unknown, unavailable")

				seen := srv.seen()
				if len(seen) != 2 || seen[0].conn != 1 || seen[1].conn != 1 {
					t.Errorf("%d requests arrived, want 2 on one connection", len(seen))
				}
			})
		}
	}
}

// The test above proves nothing unless this one passes: the same exchange with
// a GET as one would send it is repeated.
func TestPlainGetIsRepeated(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(x *exchange) bool {
		if x.n == 2 {
			x.reset()
			return false
		}
		x.send(ok("{}"))
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
	if n := len(srv.seen()); n != 3 {
		t.Errorf("%d requests arrived, want 3", n)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := serve(t, answering(ok(tokensBody(liveAccess, newRefresh))))
	for _, status := range []int{301, 302, 303, 304, 307, 308} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			srv := serve(t, answering(reply(status, "text/plain", "", "Location: "+elsewhere.URL+"/auth/token/refresh?refresh_token="+oldRefresh)))
			c := newClient(t, srv.URL)
			_, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
			wantError(t, err, "refresh", synmetrix.CodeRedirect, status, "", "invalid answer, outcome unknown")
			_, err = c.Login(testContext(t), email, password)
			wantError(t, err, "login", synmetrix.CodeRedirect, status, "", "invalid answer, outcome unknown")
			if n := len(elsewhere.seen()); n != 0 {
				t.Errorf("%d requests followed the redirect", n)
			}
		})
	}
}

// Cookies of the service would win over the token in the next request.
func TestCookiesAreNotKept(t *testing.T) {
	t.Parallel()
	srv := serve(t, answering(reply(200, jsonType, tokensBody(liveAccess, newRefresh),
		"Set-Cookie: refresh_token="+oldRefresh+"; Path=/; HttpOnly",
		"Set-Cookie: permission_variables=%7B%7D; Path=/")))
	c := newClient(t, srv.URL)
	if _, err := c.Login(testContext(t), email, password); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: newRefresh}); err != nil {
		t.Fatal(err)
	}
	for _, x := range srv.seen() {
		if x.req.Header.Get("Cookie") != "" || x.req.Header.Get("Referer") != "" {
			t.Errorf("sent headers %v", x.req.Header)
		}
	}
}

func TestBodyIsCapped(t *testing.T) {
	t.Parallel()
	const chunk = 64 << 10
	endless := func(status int) (*server, chan int) {
		sent := make(chan int, 1)
		return serve(t, func(x *exchange) bool {
			head := "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
			x.send(fmt.Sprintf(head, status))
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
		200: {synmetrix.CodeBodyTooLarge, "invalid answer, outcome unknown"},
		401: {synmetrix.CodeBodyTooLarge, "invalid answer, outcome unknown"},
		500: {synmetrix.CodeServiceError, "outcome unknown, unavailable"},
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			srv, sent := endless(status)
			_, err := newClient(t, srv.URL).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
			wantError(t, err, "refresh", want.code, status, "", want.means)
			// What was sent beyond the cap lies in the buffers of the two ends.
			if n := <-sent; n > 32<<20 {
				t.Errorf("the server could send %d bytes", n)
			}
		})
	}
}

func TestHeaderIsCapped(t *testing.T) {
	t.Parallel()
	srv := serve(t, answering(reply(200, jsonType, tokensBody(liveAccess, newRefresh), "X-Long: "+strings.Repeat("x", 1<<20))))
	_, err := newClient(t, srv.URL).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoAnswer, 0, "", "outcome unknown, unavailable")
}

// The deadline is that of the whole call, also while the answer drips.
func TestDeadline(t *testing.T) {
	t.Parallel()
	drip := func(x *exchange, s string) {
		for i := range len(s) {
			if _, err := io.WriteString(x, s[i:i+1]); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	body := tokensBody(liveAccess, newRefresh)
	for name, test := range map[string]struct {
		script func(*exchange) bool
		status int
	}{
		"silence": {func(x *exchange) bool { _, _ = io.Copy(io.Discard, x); return false }, 0},
		"header drips": {func(x *exchange) bool {
			drip(x, reply(200, jsonType, body, "X-Long: "+strings.Repeat("x", 4096)))
			return false
		}, 0},
		"body drips": {func(x *exchange) bool {
			x.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(body)+4096))
			drip(x, body+strings.Repeat(" ", 4096))
			return false
		}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, test.script)
			start := time.Now()
			_, err := newClient(t, srv.URL, synmetrix.WithTimeout(300*time.Millisecond)).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
			took := time.Since(start)
			wantError(t, err, "refresh", synmetrix.CodeNoAnswer, test.status, "", "outcome unknown, unavailable")
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is not a DeadlineExceeded", err)
			}
			if took < 300*time.Millisecond || took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A call of two requests has one deadline for both.
func TestDeadlineOfTwoRequests(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		call  func(*synmetrix.Client, context.Context) (auth.Grant, error)
		first string // answer to the first request
		op    string // the second
		keeps auth.Tokens
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
				srv, transport := servePipe(t, func(x *exchange) bool {
					time.Sleep(3 * time.Second)
					if x.n == 1 {
						x.send(test.first)
					} else {
						x.send(ok(tokensBody(liveAccess, newRefresh)))
					}
					return true
				})
				c := newClient(t, srv.URL, synmetrix.WithTransport(transport), synmetrix.WithTimeout(5*time.Second))
				start := time.Now()
				tokens, err := test.call(c, t.Context())
				wantError(t, err, test.op, synmetrix.CodeNoAnswer, 0, "", "outcome unknown, unavailable")
				if took := time.Since(start); took != 5*time.Second || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v after %v, want DeadlineExceeded after 5 s", err, took)
				}
				if tokens.Tokens != test.keeps {
					t.Error("other tokens beside the error than those at hand")
				}
				if n := len(srv.seen()); n != 2 {
					t.Errorf("%d requests arrived, want 2", n)
				}
			})
		})
	}
}

// A transport may have deadlines of its own, before those of the call.
func TestDeadlineOfTransport(t *testing.T) {
	t.Parallel()
	silent := func(x *exchange) bool { _, _ = io.Copy(io.Discard, x); return false }
	for name, test := range map[string]struct {
		scheme      string
		change      func(*http.Transport)
		code, means string
	}{
		"of a handshake": {"https:", func(t *http.Transport) {
			t.DialContext = func(context.Context, string, string) (net.Conn, error) {
				near, _ := net.Pipe() // nobody is at the other end
				return near, nil
			}
			t.TLSHandshakeTimeout = time.Second
		}, synmetrix.CodeUnreachable, "unavailable"},
		"of an answer": {"http:", func(t *http.Transport) { t.ResponseHeaderTimeout = time.Second }, synmetrix.CodeNoAnswer, "outcome unknown, unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, transport := servePipe(t, silent)
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

func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	srv := serve(t, func(x *exchange) bool {
		close(arrived)
		_, _ = io.Copy(io.Discard, x) // until the client hangs up
		return false
	})
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		<-arrived
		cancel()
	}()
	c := newClient(t, srv.URL)
	_, err := c.Refresh(ctx, auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoAnswer, 0, "", "outcome unknown, unavailable")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}

	// A context that is over before the call sends nothing.
	_, err = c.Refresh(ctx, auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeUnreachable, 0, "", "unavailable")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is not context.Canceled", err)
	}
	if n := len(srv.seen()); n != 1 {
		t.Errorf("%d requests arrived, want 1", n)
	}
}

func TestNothingWasSent(t *testing.T) {
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
		srv := serve(t, answering(ok("{}")))
		_, err := newClient(t, strings.Replace(srv.URL, "http:", "https:", 1)).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
		wantError(t, err, "refresh", synmetrix.CodeUnreachable, 0, "", "unavailable")
	})
}

func TestTLS(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		_, _ = io.WriteString(w, tokensBody(liveAccess, newRefresh))
	})
	quiet := log.New(io.Discard, "", 0) // of handshakes that are to fail
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
		client  func(*tls.Config) // nil: does not know the authority
		host    string
		outcome string // code and cause
	}{
		"good":              {nil, func(*tls.Config) {}, "127.0.0.1", ""},
		"unknown authority": {nil, nil, "127.0.0.1", "unreachable: the certificate is signed by an unknown authority"},
		"another host":      {nil, func(*tls.Config) {}, "localhost", "unreachable: the certificate is for another host"},
		"expired": {nil, func(c *tls.Config) { c.Time = func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) } },
			"127.0.0.1", "unreachable: the certificate has expired or is not yet valid"},
		"another use": {&tls.Config{Certificates: []tls.Certificate{clientCertificate(t)}}, func(*tls.Config) {},
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

// clientCertificate is one for those who call, and not for those who are called.
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

// A transport that does not say how far it came may have sent the request.
func TestForeignTransport(t *testing.T) {
	t.Parallel()
	broken := errors.New("lost GET " + oldRefresh)
	c := newClient(t, "http://auth.example", synmetrix.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, broken
	})))
	_, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoAnswer, 0, "", "outcome unknown, unavailable")
	if errors.Is(err, broken) {
		t.Error("an error of unknown content is passed on")
	}

	c = newClient(t, "http://auth.example", synmetrix.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return nil, nil
	})))
	_, err = c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeNoAnswer, 0, "", "outcome unknown, unavailable")

	c = newClient(t, "http://auth.example", synmetrix.WithTimeout(time.Millisecond), synmetrix.WithTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, broken
	})))
	_, err = c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is not a DeadlineExceeded", err)
	}
}

// After a 101 the connection is raw, and need not end.
func TestUpgradeIsNotAwaited(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	srv := serve(t, func(x *exchange) bool {
		x.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(io.Discard, x) // until the client hangs up
		close(released)
		return false
	})
	start := time.Now()
	_, err := newClient(t, srv.URL).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
	wantError(t, err, "refresh", synmetrix.CodeRedirect, 101, "", "invalid answer, outcome unknown")
	if took := time.Since(start); took > synmetrix.DefaultTimeout/2 {
		t.Errorf("took %v", took)
	}
	select {
	case <-released:
	case <-testContext(t).Done():
		t.Error("the connection was kept")
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The service closes idle connections after five seconds.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan time.Time, 1)
		srv, transport := servePipe(t, func(x *exchange) bool {
			x.send(ok(tokensBody(liveAccess, newRefresh)))
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
		answered := time.Now()
		if seen := srv.seen(); seen[1].conn != 1 {
			t.Error("the connection was not used again")
		}
		select {
		case at := <-closed:
			if idle := at.Sub(answered); idle != 4*time.Second {
				t.Errorf("the client closed the connection after %v, want 4 s", idle)
			}
		case <-testContext(t).Done():
			t.Error("the client did not close the connection")
		}
	})
}

// A client by default does so, too. How late it comes to it depends on how
// busy the machine is.
func TestIdleConnectionsByDefault(t *testing.T) {
	t.Parallel()
	closed := make(chan time.Duration, 1)
	srv := serve(t, func(x *exchange) bool {
		answered := time.Now()
		x.send(ok(tokensBody(liveAccess, newRefresh)))
		_, _ = x.Read(make([]byte, 1))
		closed <- time.Since(answered)
		return false
	})
	c := newClient(t, srv.URL)
	if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
		t.Fatal(err)
	}
	select {
	case idle := <-closed:
		if idle < 3*time.Second {
			t.Errorf("the client closed the connection after %v, want 4 s", idle)
		}
	case <-testContext(t).Done():
		t.Error("the client did not close the connection")
	}
}

// Nothing is left of calls that failed, were given up or timed out. (Not
// parallel: it counts goroutines.)
func TestNothingIsLeftBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("calls", func(t *testing.T) {
		srv := serve(t, func(x *exchange) bool {
			switch x.n % 4 {
			case 0:
				x.send(ok(tokensBody(liveAccess, newRefresh)))
				return true
			case 1:
				x.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
				return false
			case 2:
				x.reset()
				return false
			}
			_, _ = io.Copy(io.Discard, x) // until the client hangs up
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

// Other users of http.DefaultTransport neither see the service's connections
// nor break them. (Not parallel: it changes a global.)
func TestOwnTransport(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	http.DefaultTransport = roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("http.DefaultTransport was used")
		return nil, io.ErrUnexpectedEOF
	})
	srv := serve(t, answering(ok(tokensBody(liveAccess, newRefresh))))
	for _, c := range []*synmetrix.Client{newClient(t, srv.URL), newClient(t, srv.URL, synmetrix.WithTransport(nil))} {
		if _, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh}); err != nil {
			t.Fatal(err)
		}
	}
}

// The process's proxy settings are read once, so that the test runs itself in
// a process with others.
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

	srv := serve(t, answering(reply(407, "text/html", "<h1>Who are you?</h1>")))
	if out := run(srv.URL); !strings.Contains(out, "outcome: not_json 407\n") {
		t.Errorf("behind a proxy:\n%s", out)
	}
	if seen := srv.seen(); len(seen) != 1 || seen[0].req.Host != "auth.invalid" {
		t.Errorf("the proxy saw %d requests", len(seen))
	}
	// An address that is none, with a password in it, is in no error.
	if out := run("http://user:" + password + "@%zz"); !strings.Contains(out, "outcome: unreachable 0\n") {
		t.Errorf("behind a broken proxy setting:\n%s", out)
	}
}
