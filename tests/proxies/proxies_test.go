package proxies_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/synmetrix/session/tests/internal/front"
)

// A user signs in through each proxy, at the root of the site and below a prefix that the
// proxy strips, and event streams work.
func TestBehindProxy(t *testing.T) {
	t.Parallel()
	for name, start := range starters {
		for suffix, prefix := range map[string]string{"": "", "-prefix": "/app"} {
			t.Run(name+suffix, func(t *testing.T) {
				t.Parallel()
				f := start(t, dashboard(t, "BASE_PATH="+prefix, "STORE=memory"), suffix)
				testSignIn(f, prefix)
				testClientAddress(f, prefix)
				testEvents(f, prefix)
			})
		}
	}
}

func testSignIn(f *front.Front, prefix string) {
	f.T.Helper()
	visitor := f.Browser()
	res, _ := f.Do(visitor, "GET", prefix+"/dashboard", "", "Accept", "text/html")
	if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, prefix+"/login?return_to=") {
		f.T.Errorf("a visitor: %d %q", res.StatusCode, to)
	}
	res, body := f.Do(visitor, "GET", prefix+"/login", "", "Accept", "text/html")
	if res.StatusCode != http.StatusOK || !strings.Contains(body, `href="`+prefix+`/password/lost"`) || strings.Contains(body, "HTTPS") {
		f.T.Errorf("the login page: %d\n%s", res.StatusCode, body)
	}
	if res, _ := f.Do(visitor, "GET", prefix+"/api/me", ""); res.StatusCode != http.StatusUnauthorized {
		f.T.Errorf("a visitor's script: %d", res.StatusCode)
	}
	if res, body := post(f, f.Browser(), prefix, withRoles(10), "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); res.StatusCode != http.StatusForbidden {
		f.T.Errorf("a form of another origin: %d %.300s", res.StatusCode, body)
	}

	client, res := signIn(f, prefix, withRoles(10))
	for _, c := range res.Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure {
			f.T.Errorf("the cookie %s, Secure: %v", c.Name, c.Secure)
		}
	}
	res, body = f.Do(client, "GET", prefix+"/dashboard", "", "Accept", "text/html")
	if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" || !strings.Contains(body, withRoles(10)) {
		f.T.Errorf("the user's page: %d %q", res.StatusCode, res.Header.Get("Cache-Control"))
	}
	if res, _ := f.Do(client, "POST", prefix+"/logout", "", "Origin", front.Origin, "Accept", "text/html"); res.Header.Get("Location") != prefix+"/" {
		f.T.Errorf("sign-out: %d %q", res.StatusCode, res.Header.Get("Location"))
	}
	if res, _ := f.Do(client, "GET", prefix+"/api/me", ""); res.StatusCode != http.StatusUnauthorized {
		f.T.Errorf("after the sign-out: %d", res.StatusCode)
	}
}

// The app determines the address of the client, and the client cannot forge it.
func testClientAddress(f *front.Front, prefix string) {
	f.T.Helper()
	client := f.Browser()
	transport := f.Transport("127.0.0.2")
	defer transport.CloseIdleConnections()
	client.Transport = transport
	if res, body := post(f, client, prefix, withRoles(1), "X-Forwarded-For", "203.0.113.9", "Forwarded", "for=203.0.113.9"); res.StatusCode != http.StatusSeeOther {
		f.T.Fatalf("sign-in: %d %.300s", res.StatusCode, body)
	}
	_, body := f.Do(client, "GET", prefix+"/sessions", "", "Accept", "application/json")
	var list struct {
		Sessions []struct{ IP string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Sessions) != 1 || list.Sessions[0].IP != "127.0.0.2" {
		f.T.Errorf("the list of sessions is %s (%v)", body, err)
	}
}

// An event arrives at once, although the next one follows a minute later, and a sign-out
// ends the stream.
func testEvents(f *front.Front, prefix string) {
	f.T.Helper()
	client, _ := signIn(f, prefix, withRoles(1))
	ctx, cancel := context.WithTimeout(f.T.Context(), front.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", front.Origin+prefix+"/api/events?n=2&every=1m", nil)
	if err != nil {
		f.T.Fatal(err)
	}
	began := time.Now()
	res, err := client.Do(req)
	if err != nil {
		f.T.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	if !lines.Scan() || lines.Text() != "id: 1" || time.Since(began) > 50*time.Second {
		f.T.Fatalf("after %v: %q %v", time.Since(began), lines.Text(), lines.Err())
	}
	f.Do(client, "POST", prefix+"/logout", "", "Origin", front.Origin)
	for lines.Scan() {
		if lines.Text() == "id: 2" {
			f.T.Error("the stream goes on after the sign-out")
		}
	}
}

// The dashboard has no WebSocket, so this test has another program behind the proxies.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, text, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, text) != nil {
				return
			}
		}
	}))
	t.Cleanup(app.Close)
	for name, start := range starters {
		t.Run(name, func(t *testing.T) {
			f := start(t, strings.TrimPrefix(app.URL, "http://"), "")
			ctx, cancel := context.WithTimeout(t.Context(), front.Patience)
			defer cancel()
			transport := f.Transport("")
			defer transport.CloseIdleConnections()
			conn, _, err := websocket.Dial(ctx, front.Origin+"/live", &websocket.DialOptions{
				HTTPClient: &http.Client{Transport: transport}, HTTPHeader: http.Header{"Origin": {front.Origin}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			for range 3 {
				if err := conn.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
					t.Fatal(err)
				}
				if _, text, err := conn.Read(ctx); err != nil || string(text) != "hello" {
					t.Fatalf("%q %v", text, err)
				}
			}
		})
	}
}
