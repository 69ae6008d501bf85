package gateway_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
)

// dial sends a request to switch protocols.
func (s *site) dial(client *http.Client, path string, fields ...string) (io.Writer, *bufio.Reader, *http.Response) {
	s.t.Helper()
	text := "GET " + path + " HTTP/1.1\r\nHost: " + s.srv.Listener.Addr().String() + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: " + s.cookies(client) + "\r\n"
	for _, field := range fields {
		text += field + "\r\n"
	}
	conn, r, res := s.raw(text + "\r\n")
	return conn, r, res
}

func TestUpgrade(t *testing.T) {
	s := start(t, nil)
	client := s.browser(admin)
	account, _ := s.auth.Account(admin)
	if _, _, res := s.dial(s.browser(""), "/"); res.StatusCode != 401 {
		t.Errorf("a visitor gets %d", res.StatusCode)
	}
	if _, _, res := s.dial(s.browser(viewer), "/admin/x"); res.StatusCode != 403 {
		t.Errorf("a user without the role gets %d", res.StatusCode)
	}
	for _, field := range []string{"Origin: https://evil.example", "Sec-Fetch-Site: same-site"} {
		if _, _, res := s.dial(client, "/", field); res.StatusCode != 403 {
			t.Errorf("%q: a page of another origin gets %d", field, res.StatusCode)
		}
	}
	conn, r, res := s.dial(client, "/", "Origin: "+s.srv.URL, "X_Forwarded_User: forged")
	saw := res.Header.Get("X-Saw")
	if res.StatusCode != 101 || !strings.Contains(saw, account.ID) || strings.Contains(saw, "forged") || strings.Contains(saw, "gateway") {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	if res.Header["Set-Cookie"] != nil {
		t.Errorf("the service could set %q", res.Header["Set-Cookie"])
	}
	echoes(t, conn, r)
	s.signOut(client)
	ends(t, r, "the sign-out")
}

// Only WebSockets may replace HTTP. In another protocol, requests would reach the service
// without a check.
func TestOtherProtocols(t *testing.T) {
	s := start(t, nil)
	cookies := s.cookies(s.browser(viewer))
	for _, protocol := range []string{"h2c", "h2c, websocket", "x"} {
		_, _, res := s.raw("GET /public/x HTTP/1.1\r\nHost: " + s.srv.Listener.Addr().String() + "\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: " + protocol +
			"\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nOrigin: " + s.srv.URL + "\r\nCookie: " + cookies + "\r\n\r\n")
		body, _ := io.ReadAll(io.LimitReader(res.Body, res.ContentLength))
		if text := strings.ToLower(string(body)); res.StatusCode != 200 || !strings.Contains(text, `"uri":"/public/x"`) || strings.Contains(text, "upgrade\"") || strings.Contains(text, "http2-settings") {
			t.Errorf("%s: %d %s", protocol, res.StatusCode, body)
		}
	}
}

func echoes(t *testing.T, conn io.Writer, r *bufio.Reader) {
	t.Helper()
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
}

// ends waits for the end of a stream.
func ends(t *testing.T, r io.Reader, after string) {
	t.Helper()
	if _, err := io.Copy(io.Discard, r); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the stream is still open after %s: %v", after, err)
	}
}

func (s *site) signOut(client *http.Client) {
	s.t.Helper()
	res, err := client.PostForm(s.srv.URL+"/logout", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res.Body.Close()
}

// events opens an event stream and reads its first event.
func (s *site) events(client *http.Client, path string) *bufio.Reader {
	s.t.Helper()
	_, r, res := s.raw("GET " + path + " HTTP/1.1\r\nHost: app.example\r\nCookie: " + s.cookies(client) + "\r\n\r\n")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream; charset=utf-8" {
		s.t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	line := make([]byte, len("data: hello\n\n"))
	if _, err := io.ReadFull(res.Body, line); err != nil || string(line) != "data: hello\n\n" {
		s.t.Fatalf("%q %v", line, err)
	}
	return r
}

// An event stream arrives event by event, and ends with the session.
func TestEventStream(t *testing.T) {
	s := start(t, nil)
	client := s.browser(admin)
	stream := s.events(client, "/events")
	public := s.events(client, "/public/events")
	s.signOut(client)
	ends(t, stream, "the sign-out")
	if s.gateway.EndStreams(); true {
		ends(t, public, "the end of all streams")
	}
}

// When the gateway stops, streams end and later ones do not begin.
func TestEndStreams(t *testing.T) {
	s := start(t, nil)
	client := s.browser(admin)
	stream := s.events(client, "/events")
	conn, socket, _ := s.dial(client, "/")
	echoes(t, conn, socket)
	s.gateway.EndStreams()
	ends(t, stream, "the end of all streams")
	ends(t, socket, "the end of all streams")
	_, r, res := s.dial(client, "/")
	if res.StatusCode == 101 {
		ends(t, r, "the end of all streams")
	}
	if _, got := s.reached(client, "GET", "/x", nil); got.URI != "/x" {
		t.Errorf("%v", got)
	}
}
