package gateway_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
)

// A service may repeat the token in a response that cannot be parsed. The log does not.
func TestLogHasNoPartOfAResponse(t *testing.T) {
	for name, format := range map[string]string{
		"status line":       "%s\r\n\r\n",
		"status":            "HTTP/1.1 %s OK\r\n\r\n",
		"header":            "HTTP/1.1 200 OK\r\nX-Echo %s\r\n\r\n",
		"content length":    "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"transfer encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"protocol":          "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\n\r\n",
		"chunk":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var log safeBuffer
			var token string
			broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprintf(conn, format, token)
			}))
			defer broken.Close()
			s := start(t, func(_ *url.URL, c *session.Config, g *gateway.Config) {
				c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				u, err := url.Parse(broken.URL)
				if err != nil {
					t.Fatal(err)
				}
				g.Upstreams = []gateway.Upstream{{Path: "/", URL: u, Headers: []gateway.Header{gateway.Token}}}
			})
			res, err := s.browser(viewer).Get(s.srv.URL)
			if err == nil {
				res.Body.Close()
			}
			if token == "" {
				t.Fatal("the service has received no token")
			}
			if strings.Contains(log.String(), token) {
				t.Errorf("the log has the token: %s", strings.ReplaceAll(log.String(), token, "TOKEN"))
			}
			if name != "chunk" && !strings.Contains(log.String(), "upstream_unavailable") {
				t.Errorf("the log does not report the failure: %s", log.String())
			}
		})
	}
}
