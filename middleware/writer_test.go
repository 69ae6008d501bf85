package middleware_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

var theme = session.NewKey[string]("theme")

// change changes the session of a request, so that the response sets a cookie.
func change(r *http.Request) { _ = theme.Set(session.FromContext(r.Context()), time.Now().String()) }

// signedIn starts an app with the route "/h", and returns a signed-in browser.
func signedIn(t *testing.T, h http.HandlerFunc) (*app, *browser) {
	t.Helper()
	a := newApp(t, nil)
	a.mux.HandleFunc("/h", h)
	b := a.browser()
	b.signIn("admin@example.com")
	return a, b
}

// onlyReader hides the WriterTo of a reader, so that io.Copy calls ReadFrom.
type onlyReader struct{ io.Reader }

func setsCookie(r response) bool { return len(r.Cookies()) > 0 }

// The response sets the cookie however it begins.
func TestCommitBeforeTheFirstByte(t *testing.T) {
	for name, begin := range map[string]func(w http.ResponseWriter, r *http.Request){
		"nothing":          func(http.ResponseWriter, *http.Request) {},
		"WriteHeader":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"Write":            func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("x")) },
		"Write of nothing": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) },
		"WriteString":      func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") },
		"Flush":            func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
		"controller.Flush": func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() },
		"ReadFrom":         func(w http.ResponseWriter, _ *http.Request) { _, _ = io.Copy(w, onlyReader{strings.NewReader("x")}) },
		"http.Error":       func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
		"http.Redirect":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) },
		"http.ServeContent": func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "x.txt", time.Time{}, strings.NewReader("x"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
				change(r)
				begin(w, r)
				_, _ = io.WriteString(w, " and the rest")
			})
			got := b.get("/h")
			if !setsCookie(got) {
				t.Error("no cookie")
			}
			got.has(t, "Vary", "Cookie").has(t, "Cache-Control", "no-store")
		})
	}
}

// The writer has the optional interfaces of an HTTP/1 and an HTTP/2 server's writer.
func TestInterfacesOfServersWriters(t *testing.T) {
	var got string
	h := func(w http.ResponseWriter, _ *http.Request) {
		_, flush := w.(http.Flusher)
		_, hijack := w.(http.Hijacker)
		_, read := w.(io.ReaderFrom)
		_, text := w.(io.StringWriter)
		got = fmt.Sprint(flush, hijack, read, text)
	}
	a, b := signedIn(t, h)
	b.get("/h")
	if got != "true true true true" {
		t.Errorf("HTTP/1.1: %s", got)
	}
	srv := httptest.NewUnstartedServer(middleware.Sessions(a.m)(http.HandlerFunc(h)))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || got != "true false false true" {
		t.Errorf("HTTP/%d: %s", resp.ProtoMajor, got)
	}
}

// The optional methods of writers, in every combination.
type (
	bare  struct{ http.ResponseWriter }
	canF  struct{ http.Flusher }
	canH  struct{ http.Hijacker }
	canR  struct{ io.ReaderFrom }
	noHij struct{}
	noRF  struct{}
)

func (noHij) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, io.ErrClosedPipe }
func (noRF) ReadFrom(io.Reader) (int64, error)             { return 7, nil }

func TestInterfacesOfTheWriter(t *testing.T) {
	m := newManager(t, func(c *session.Config) { c.Auth = failing{} })
	rec := httptest.NewRecorder()
	w, f, h, r := bare{rec}, canF{rec}, canH{noHij{}}, canR{noRF{}}
	for want, below := range map[string]http.ResponseWriter{
		"": w,
		"F": struct {
			bare
			canF
		}{w, f},
		"H": struct {
			bare
			canH
		}{w, h},
		"R": struct {
			bare
			canR
		}{w, r},
		"FH": struct {
			bare
			canF
			canH
		}{w, f, h},
		"FR": struct {
			bare
			canF
			canR
		}{w, f, r},
		"HR": struct {
			bare
			canH
			canR
		}{w, h, r},
		"FHR": struct {
			bare
			canF
			canH
			canR
		}{w, f, h, r},
	} {
		var got string
		middleware.Sessions(m)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if f, ok := w.(http.Flusher); ok {
				got += "F"
				rec.Flushed = false
				if f.Flush(); !rec.Flushed {
					t.Errorf("%s: Flush does not reach the underlying writer", want)
				}
			}
			if h, ok := w.(http.Hijacker); ok {
				got += "H"
				if _, _, err := h.Hijack(); err != io.ErrClosedPipe {
					t.Errorf("%s: Hijack does not reach the underlying writer", want)
				}
			}
			if r, ok := w.(io.ReaderFrom); ok {
				got += "R"
				if n, _ := r.ReadFrom(nil); n != 7 {
					t.Errorf("%s: ReadFrom does not reach the underlying writer", want)
				}
			}
			if err := http.NewResponseController(w).Flush(); errors.Is(err, http.ErrNotSupported) == strings.Contains(want, "F") {
				t.Errorf("%s: controller's Flush: %v", want, err)
			}
			if unwrapped := w.(interface{ Unwrap() http.ResponseWriter }).Unwrap(); unwrapped != below {
				t.Errorf("%s: Unwrap returns a %T", want, unwrapped)
			}
		})).ServeHTTP(below, httptest.NewRequest("GET", "/", nil))
		if got != want {
			t.Errorf("the writer has the methods %q, want %q", got, want)
		}
	}
}

// hiding is another middleware's writer, whose only optional method is Unwrap.
type hiding struct{ http.ResponseWriter }

func (h hiding) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// A ResponseController unwraps such a writer, and must not bypass the commit.
func TestControllerBelowAnotherMiddleware(t *testing.T) {
	a := newApp(t, nil)
	a.mux.HandleFunc("/flush", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Flusher); ok {
			t.Error("the writer is a Flusher, although the underlying writer is not")
		}
		change(r)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(w, "flushed")
	})
	a.mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		change(r)
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nConnection: close\r\n")
		_ = w.Header().Write(rw)
		_, _ = rw.WriteString("\r\nhijacked")
		_ = rw.Flush()
	})
	a.mux.HandleFunc("/deadline", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Error(err)
		}
	})
	sessions := middleware.Sessions(a.m)(a.mux)
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sessions.ServeHTTP(hiding{w}, r) }))
	b := a.browser()
	b.signIn("admin@example.com")
	for path, body := range map[string]string{"/flush": "flushed", "/hijack": "hijacked"} {
		if got := b.get(path); !setsCookie(got) || got.body != body {
			t.Errorf("%s: body %q, cookies %v", path, got.body, got.Cookies())
		}
	}
	b.get("/deadline").is(t, 200, "")
}

func TestResponseController(t *testing.T) {
	_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		change(r)
		c := http.NewResponseController(w)
		for name, err := range map[string]error{
			"SetReadDeadline":  c.SetReadDeadline(time.Now().Add(time.Minute)),
			"SetWriteDeadline": c.SetWriteDeadline(time.Now().Add(time.Minute)),
			"EnableFullDuplex": c.EnableFullDuplex(),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// None of these calls begins the response.
		w.Header().Set("X-Late", "yes")
		if err := c.Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		buf := make([]byte, 4)
		if _, err := io.ReadFull(r.Body, buf); err != nil {
			t.Errorf("the body after the flush: %v", err)
		}
		_, _ = w.Write(buf)
	})
	got := b.do("POST", "/h", "body").is(t, 200, "").has(t, "X-Late", "yes")
	if got.body != "body" || !setsCookie(got) {
		t.Errorf("body %q, cookies %v", got.body, got.Cookies())
	}
}

// A write deadline takes effect through the writer.
func TestWriteDeadline(t *testing.T) {
	_, b := signedIn(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Second))
		_, _ = w.Write(make([]byte, 1<<20))
	})
	req, _ := http.NewRequest("GET", b.base+"/h", nil)
	resp, err := b.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
	}
	if err == nil {
		t.Error("the response arrived after its deadline")
	}
}

func TestHijack(t *testing.T) {
	a, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		change(r)
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n")
		_ = w.Header().Write(rw)
		_, _ = rw.WriteString("\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	})
	conn, err := tls.Dial("tcp", a.srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req, _ := http.NewRequest("GET", b.base+"/h", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	for _, c := range b.client.Jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil || resp.StatusCode != 101 || len(resp.Cookies()) == 0 {
		t.Fatalf("%v, %+v", err, resp)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
	if log := a.log.String(); strings.Contains(log, "superfluous") || strings.Contains(log, "hijacked connection") {
		t.Errorf("the server logged an error: %s", log)
	}
}

// Some handlers call WriteHeader with status 101 before they hijack.
func TestSwitchingProtocols(t *testing.T) {
	_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		change(r)
		w.Header().Set("Upgrade", "echo")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusSwitchingProtocols)
		if conn, _, err := w.(http.Hijacker).Hijack(); err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
	})
	req, _ := http.NewRequest("GET", b.base+"/h", nil)
	req.Header.Set("Upgrade", "echo")
	req.Header.Set("Connection", "Upgrade")
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 101 || len(resp.Cookies()) == 0 {
		t.Errorf("status %d, cookies %v", resp.StatusCode, resp.Cookies())
	}
}

// Each event of a stream arrives before the handler writes the next one.
func TestServerSentEvents(t *testing.T) {
	next := make(chan struct{})
	_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		change(r)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	})
	req, _ := http.NewRequest("GET", b.base+"/h", nil)
	resp, err := b.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if len(resp.Cookies()) == 0 {
		t.Error("no cookie")
	}
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := r.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
		_, _ = r.ReadString('\n')
		next <- struct{}{}
	}
}

// Informational responses do not commit the session. The handler may still change
// it.
func TestEarlyHints(t *testing.T) {
	_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		change(r)
		_, _ = io.WriteString(w, "done")
	})
	var hints []int
	req, _ := http.NewRequest("GET", b.base+"/h", nil)
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, code)
			if h.Get("Set-Cookie") != "" || h.Get("Link") == "" {
				t.Errorf("the %d response has the header %v", code, h)
			}
			return nil
		},
	}))
	got := b.send(req)
	if fmt.Sprint(hints) != "[103 102]" || got.StatusCode != 200 || got.body != "done" || !setsCookie(got) {
		t.Errorf("hints %v, then %d %q, cookies %v", hints, got.StatusCode, got.body, got.Cookies())
	}
}

func TestServeContent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file.bin")
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		change(r)
		http.ServeFile(w, r, name)
	})
	got := b.get("/h").is(t, 200, "")
	if got.body != string(data) || !setsCookie(got) {
		t.Errorf("%d bytes, cookies %v", len(got.body), got.Cookies())
	}
	modified := got.Header.Get("Last-Modified")
	got = b.get("/h", "Range", "bytes=10-19").is(t, 206, "")
	if got.body != "0123456789" || got.Header.Get("Content-Range") != "bytes 10-19/200000" {
		t.Errorf("range: %q, %v", got.body, got.Header)
	}
	if got = b.get("/h", "If-Modified-Since", modified).is(t, 304, ""); !setsCookie(got) {
		t.Error("the 304 response does not set the cookie")
	}
	b.get("/h", "Range", "bytes=300000-").is(t, 416, "")
	if head := b.do("HEAD", "/h", "").is(t, 200, ""); head.ContentLength != int64(len(data)) {
		t.Errorf("HEAD: Content-Length %d", head.ContentLength)
	}
}

func TestTrailer(t *testing.T) {
	_, b := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
	})
	if got := b.get("/h"); got.Trailer.Get("X-Sum") != "1" {
		t.Errorf("trailer %v", got.Trailer)
	}
}

// htmxFields lead htmx to another page, or report to the page what the handler has done.
var htmxFields = []string{"HX-Redirect", "HX-Location", "HX-Refresh", "HX-Push-Url", "HX-Trigger"}

// If the session cannot be saved, the response is a 503 without any of the
// handler's content.
func TestFailedCommit(t *testing.T) {
	s := &testkit.FailingStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = s })
	committed := make(chan error, 1)
	for name, write := range map[string]func(w http.ResponseWriter) error{
		"nothing":     func(http.ResponseWriter) error { return session.ErrSessionUnavailable },
		"WriteHeader": func(w http.ResponseWriter) error { w.WriteHeader(200); _, err := w.Write([]byte("secret")); return err },
		"Write":       func(w http.ResponseWriter) error { _, err := w.Write([]byte("secret")); return err },
		"WriteString": func(w http.ResponseWriter) error { _, err := io.WriteString(w, "secret"); return err },
		"ReadFrom": func(w http.ResponseWriter) error {
			_, err := io.Copy(w, onlyReader{strings.NewReader("secret")})
			return err
		},
		"Flush": func(w http.ResponseWriter) error {
			w.(http.Flusher).Flush()
			return http.NewResponseController(w).Flush()
		},
		"Hijack":       func(w http.ResponseWriter) error { _, _, err := w.(http.Hijacker).Hijack(); return err },
		"hidden/flush": func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
		"hidden/hijack": func(w http.ResponseWriter) error {
			_, _, err := http.NewResponseController(w).Hijack()
			return err
		},
	} {
		a.mux.HandleFunc("/"+strings.ToLower(name), func(w http.ResponseWriter, r *http.Request) {
			if err := theme.Set(session.FromContext(r.Context()), name); err != nil {
				t.Error(err)
			}
			h := w.Header()
			h.Set("Content-Type", "image/png")
			h.Set("Content-Encoding", "br")
			h.Set("Etag", `"1"`)
			h.Set("Refresh", "0; url=/saved")
			for _, name := range htmxFields {
				h.Set(name, "/saved")
			}
			h.Set("X-Frame-Options", "DENY")
			committed <- write(w)
			w.Header().Set("Etag", `"2"`)
			w.Header().Set(http.TrailerPrefix+"X-Secret", "secret")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte("secret"))
			_, _ = io.Copy(w, onlyReader{strings.NewReader("secret")})
		})
	}
	// The session is loaded, and then the store goes down.
	sessions := middleware.Sessions(a.m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Down.Store(r.URL.Path != "/login")
		a.mux.ServeHTTP(w, r)
	}))
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/hidden/") {
			w = hiding{w}
		}
		sessions.ServeHTTP(w, r)
	}))
	b := a.browser()
	b.signIn("admin@example.com")
	for _, path := range []string{
		"/nothing", "/writeheader", "/write", "/writestring", "/readfrom", "/flush", "/hijack", "/hidden/flush", "/hidden/hijack",
	} {
		for form, accept := range map[string]string{"application/problem+json": "*/*", "text/html; charset=utf-8": asPage} {
			s.Down.Store(false)
			got := b.get(path, "Accept", accept)
			if got.StatusCode != 503 || strings.Contains(got.body, "secret") || len(got.Trailer) > 0 {
				t.Errorf("%s: %d %q, trailer %v", path, got.StatusCode, got.body, got.Trailer)
			}
			vary := "Cookie"
			if accept == asPage {
				vary = "Cookie, Accept-Language"
			}
			got.has(t, "Content-Type", form).has(t, "Retry-After", "1").has(t, "Content-Encoding", "").has(t, "Etag", "").has(t, "Refresh", "").
				has(t, "X-Frame-Options", "DENY").has(t, "Vary", vary).has(t, "Set-Cookie", "").has(t, "Cache-Control", "no-store")
			for _, name := range htmxFields {
				got.has(t, name, "")
			}
			if err := <-committed; !errors.Is(err, session.ErrSessionUnavailable) {
				t.Errorf("%s: the handler received the error %v", path, err)
			}
		}
	}
	if log := a.log.String(); strings.Contains(log, "superfluous") {
		t.Errorf("the server logged an error: %s", log)
	}
}

// Over HTTP/2, even a response with a Content-Length may have trailers.
func TestFailedCommitOverHTTP2(t *testing.T) {
	s := &testkit.FailingStore{Store: memstore.New()}
	a := newApp(t, func(c *session.Config) { c.Store = s })
	b := a.browser()
	b.signIn("admin@example.com")
	a.app.Serve(middleware.Sessions(a.m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Down.Store(true)
		change(r)
		if _, err := w.Write([]byte("secret")); !errors.Is(err, session.ErrSessionUnavailable) {
			t.Errorf("Write returns %v", err)
		}
		w.Header().Set(http.TrailerPrefix+"X-Secret", "secret")
	})), true)
	b.move(a)
	got := b.get("/").is(t, 503, "session_unavailable")
	if got.ProtoMajor != 2 || len(got.Trailer) > 0 {
		t.Errorf("HTTP/%d, trailer %v", got.ProtoMajor, got.Trailer)
	}
}
