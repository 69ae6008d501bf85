package adaptertest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/webapp"
)

// events tests a stream of server-sent events. Each event must arrive before the
// handler writes the next one, while tokens expire and are refreshed.
func events(a *trial) {
	t := a.T
	next := make(chan struct{})
	_, b, _ := a.serve(Spec{Routes: []Route{{"GET", "/events", Guard{User: true}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		s := session.FromContext(r.Context())
		for i := range 20 {
			if _, err := s.AccessToken(r.Context()); err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-next
		}
	}}, {"GET", "/whoami", Guard{User: true}, Whoami}}})
	res, err := b.Client.Do(b.Request("GET", "/events", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 20 {
		line, err := lines.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if i == 5 || i == 12 {
			a.Expire()
		}
		next <- struct{}{}
	}
	if n := a.Auth.Refreshes(); n != 2 {
		t.Errorf("%d refreshes, want 2", n)
	}
	// The response had begun, so the browser still has the older cookies.
	b.Get("/whoami").Says(200, "0000000b")
	if n := a.Auth.Reuses(); n > 0 {
		t.Errorf("%d refresh tokens were used twice", n)
	}
}

// controller tests the handler's http.ResponseController.
func controller(a *trial) {
	t := a.T
	_, b, _ := a.serve(Spec{Routes: []Route{{"POST", "/h", Guard{}, func(w http.ResponseWriter, r *http.Request) {
		Change(r)
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
		w.Header().Set("X-Late", "yes") // none of the calls above sends the header
		if err := c.Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		_, _ = io.CopyN(w, r.Body, 4)
	}}, {"GET", "/late", Guard{}, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Second))
		_, _ = w.Write(make([]byte, 1<<20))
	}}}})
	got := b.Do("POST", "/h", "body").Says(200, "body")
	if got.Header.Get("X-Late") == "" || !a.opts.Stored && !got.SetsCookie() {
		t.Errorf("header %v", got.Header)
	}
	if proto := 1; a.opts.HTTP2 != (got.ProtoMajor > proto) {
		t.Errorf("the response is HTTP/%d", got.ProtoMajor)
	}
	res, err := b.Client.Do(b.Request("GET", "/late", ""))
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("a response arrived after its deadline")
	}
}

// leaving tests a client that disconnects during a refresh.
func leaving(a *trial) {
	t := a.T
	_, b, _ := a.serve(Spec{Routes: []Route{{"GET", "/user", Guard{User: true}, Whoami}}})
	a.Expire()
	var gate authtest.Gate
	a.Auth.Inject(authtest.Refresh, authtest.Fault{After: &gate})
	ctx, cancel := context.WithCancel(context.Background())
	var left sync.WaitGroup
	left.Go(func() { a.leave(b, ctx) })
	<-gate.Arrived(1)
	cancel()
	left.Wait()
	gate.Open()
	got := b.Get("/user").Says(200, "0000000b")
	if !a.opts.Stored && !got.SetsCookie() {
		t.Error("the next response does not deliver the new tokens")
	}
	if a.Auth.Refreshes() != 1 || a.Auth.Reuses() != 0 {
		t.Errorf("%d refreshes, %d reuses", a.Auth.Refreshes(), a.Auth.Reuses())
	}
	if got := b.Get("/user").Says(200, "0000000b"); got.SetsCookie() {
		t.Error("the tokens were delivered twice")
	}
}

// leave sends a request that ctx cancels during a refresh. The server may notice
// the cancellation first. Then a 503 may still reach the client.
func (a *trial) leave(b *webapp.Browser, ctx context.Context) {
	res, err := b.Client.Do(b.Request("GET", "/user", "").WithContext(ctx))
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || len(res.Cookies()) > 0 {
		a.T.Errorf("status %s with %d cookies before the refresh ended", res.Status, len(res.Cookies()))
	}
}

// pool tests that frameworks may reuse their contexts for other users' requests,
// while refreshes of canceled requests are still running.
func pool(a *trial) {
	t := a.T
	_, viewer, admin := a.serve(Spec{Routes: []Route{
		{"GET", "/user", Guard{User: true}, func(w http.ResponseWriter, r *http.Request) {
			Change(r)
			Whoami(w, r)
		}},
		{"GET", "/whoami", Guard{}, Whoami},
	}})
	visitor := a.Browser()
	for range 4 {
		a.Expire()
		var gate authtest.Gate
		a.Auth.Inject(authtest.Refresh, authtest.Fault{Before: &gate})
		ctx, cancel := context.WithCancel(context.Background())
		var left, rest sync.WaitGroup
		for _, b := range []*webapp.Browser{viewer, admin} {
			for range 5 {
				left.Go(func() { a.leave(b, ctx) })
			}
		}
		<-gate.Arrived(2)
		cancel()
		left.Wait()
		for b, want := range map[*webapp.Browser]string{viewer: "0000000b", admin: "0000000a", visitor: " [] false"} {
			path := "/user"
			if b == visitor {
				path = "/whoami"
			}
			for range 5 {
				rest.Go(func() {
					res, err := b.Client.Do(b.Request("GET", path, ""))
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Body.Close()
					if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || !strings.Contains(string(body), want) {
						t.Errorf("%d %s (%v), want %q", res.StatusCode, body, err, want)
					}
				})
			}
		}
		for range 20 {
			visitor.Get("/whoami").Says(200, " [] false")
		}
		gate.Open()
		rest.Wait()
		a.Auth.Clear()
	}
	if a.Auth.Refreshes() != 8 || a.Auth.Reuses() != 0 {
		t.Errorf("%d refreshes, %d reuses", a.Auth.Refreshes(), a.Auth.Reuses())
	}
}

// upgrade tests switching protocols, by a hijack with and without WriteHeader.
func upgrade(a *trial) {
	t := a.T
	if a.opts.HTTP2 {
		return // HTTP/2 has no upgrade
	}
	talk := func(conn io.ReadWriter, r *bufio.Reader) {
		line, _ := r.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
	}
	_, b, _ := a.serve(Spec{Routes: []Route{
		{"GET", "/hijack", Guard{User: true}, func(w http.ResponseWriter, r *http.Request) {
			Change(r)
			conn, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n")
			_ = w.Header().Write(conn)
			_, _ = io.WriteString(conn, "\r\n")
			talk(conn, rw.Reader)
		}},
		{"GET", "/status", Guard{User: true}, func(w http.ResponseWriter, r *http.Request) {
			Change(r)
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "echo")
			w.WriteHeader(http.StatusSwitchingProtocols)
			if now, ok := w.(interface{ WriteHeaderNow() }); ok {
				now.WriteHeaderNow() // a method of Gin's writer that libraries call
			}
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			talk(conn, rw.Reader)
		}},
	}})
	for _, path := range []string{"/hijack", "/status"} {
		conn, err := tls.Dial("tcp", a.Server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		req := b.Request("GET", path, "", "Connection", "Upgrade", "Upgrade", "echo")
		for _, c := range b.Client.Jar.Cookies(req.URL) {
			req.AddCookie(c)
		}
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		res, err := http.ReadResponse(r, req)
		if err != nil || res.StatusCode != 101 || !a.opts.Stored && len(res.Cookies()) == 0 {
			t.Fatalf("%s: %v, %+v", path, err, res)
		}
		_, _ = io.WriteString(conn, "hello\n")
		if line, err := r.ReadString('\n'); line != "echo hello\n" {
			t.Errorf("%s: %q, %v", path, line, err)
		}
	}
	if log := a.Log(); strings.Contains(log, "superfluous") || strings.Contains(log, "hijacked connection") {
		t.Errorf("the server logged an error: %s", log)
	}
}

// timeoutHandler tests an http.TimeoutHandler around the whole app. The limit of
// /slow ends its request.
func timeoutHandler(a *trial) {
	app := a.build(Spec{Manager: a.Manager, Routes: []Route{
		{"GET", "/slow", Guard{}, func(w http.ResponseWriter, r *http.Request) {
			_ = session.FromContext(r.Context()).UserID()
			<-r.Context().Done()
			_, _ = io.WriteString(w, "late")
		}},
		{"GET", "/user", Guard{User: true}, Whoami},
	}})
	short, long := http.TimeoutHandler(app, 100*time.Millisecond, "too slow"), http.TimeoutHandler(app, time.Minute, "too slow")
	a.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			short.ServeHTTP(w, r)
		} else {
			long.ServeHTTP(w, r)
		}
	}), a.opts)
	b := a.SignedIn(Viewer)
	a.Expire()
	b.Get("/slow").Says(503, "too slow")
	b.Get("/user").Says(200, "0000000b")
	if n := a.Auth.Refreshes(); n != 1 {
		a.T.Errorf("%d refreshes, want 1", n)
	}
}
