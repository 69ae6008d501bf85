package frameworks_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// upgrade switches to a protocol that sends the signed-in user.
func upgrade(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		whoami(w, r)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+
		session.FromContext(r.Context()).UserID())
}

// pagesOfOthers are the header fields of requests by pages, and whether the origin of the
// page may send unsafe requests.
func pagesOfOthers(own string) []struct {
	header []string
	passes bool
} {
	return []struct {
		header []string
		passes bool
	}{
		{nil, true}, // a program that is not a browser
		{[]string{"Origin", own}, true},
		{[]string{"Origin", own, "Sec-Fetch-Site", "same-origin"}, true},
		{[]string{"Origin", "https://trusted.example", "Sec-Fetch-Site", "cross-site"}, true},
		{[]string{"Origin", "https://trusted.example"}, true},
		{[]string{"Origin", "https://evil.example"}, false},
		{[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, false},
		{[]string{"Origin", "https://sibling.example", "Sec-Fetch-Site", "same-site"}, false},
		{[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "websocket"}, false},
		{[]string{"Origin", "null"}, false},
	}
}

func trusting(c *session.Config) { c.TrustedOrigins = []string{"https://trusted.example"} }

// A WebSocket of a page of another origin with the session cookie is rejected, with and
// without a guard.
func TestUpgradeFromOtherOrigins(t *testing.T) {
	overAll(t, func(t *testing.T, framework, store string) {
		s := newSite(t, store, time.Minute, trusting)
		s.serve(guarded[framework](s.m, map[string]http.HandlerFunc{"/live": upgrade}))
		user, visitor := s.signedIn(viewer), s.browser()
		for _, c := range pagesOfOthers(s.srv.URL) {
			for _, protocol := range []string{"websocket", "WebSocket", "h2c, websocket"} {
				header := append([]string{"Connection", "Upgrade", "Upgrade", protocol}, c.header...)
				if c.passes {
					res := user.open("GET", "/live", header...)
					if res.StatusCode != http.StatusSwitchingProtocols {
						t.Errorf("%q: %d", header, res.StatusCode)
					}
					res.Body.Close()
				} else {
					user.expect("GET", "/live", 403, "cross_site", header...)
				}
				visitor.expect("GET", "/live", 401, "unauthenticated", header...)
			}
			// A GET that does not switch protocols may be a link of any page.
			user.expect("GET", "/", 404, "", c.header...)
		}
	})
}

// connectable accepts CONNECT at any path, because an http.ServeMux does not route it.
func connectable(m *session.Manager) http.Handler {
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	guarded := middleware.RequireUser(http.HandlerFunc(upgrade))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			guarded.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// Over HTTP/2 a WebSocket begins with the method CONNECT (RFC 8441), which
// net/http has to be started with.
func TestConnectFromOtherOrigins(t *testing.T) {
	const setting = "http2xconnect=1"
	if !strings.Contains(os.Getenv("GODEBUG"), setting) {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), "GODEBUG="+setting)
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for _, store := range []string{"cookie", "memory"} {
		s := newSite(t, store, time.Minute, trusting)
		s.srv = httptest.NewUnstartedServer(middleware.Sessions(s.m)(connectable(s.m)))
		s.srv.EnableHTTP2 = true
		s.srv.StartTLS()
		t.Cleanup(s.srv.Close)
		user := s.signedIn(viewer)
		user.client.Transport = &http2.Transport{TLSClientConfig: s.srv.Client().Transport.(*http.Transport).TLSClientConfig}
		for _, c := range pagesOfOthers(s.srv.URL) {
			header := append([]string{":protocol", "websocket"}, c.header...)
			res := user.open("CONNECT", "/live", header...)
			body, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if want := map[bool]int{true: 200, false: 403}[c.passes]; res.StatusCode != want || res.ProtoMajor != 2 {
				t.Errorf("%q: %s %d %s", header, res.Proto, res.StatusCode, body)
			}
		}
	}
}
