package frameworks_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// live sends, for as long as the client asks for, the access token that it
// could call an API with at the time.
func live(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx := conn.CloseRead(r.Context())
	seconds, _ := strconv.Atoi(r.URL.Query().Get("seconds"))
	end := time.After(time.Duration(seconds) * time.Second)
	for {
		token, err := s.AccessToken(ctx)
		if err != nil {
			_ = conn.Close(websocket.StatusInternalError, err.Error())
			return
		}
		_, _, signature := cut3(token)
		if err := conn.Write(ctx, websocket.MessageText, []byte(signature)); err != nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.Done():
			_ = conn.Close(websocket.StatusPolicyViolation, "signed out")
			return
		case <-end:
			_ = conn.Close(websocket.StatusNormalClosure, "")
			return
		}
	}
}

func cut3(token string) (header, payload, signature string) {
	parts := strings.SplitN(token, ".", 3)
	return parts[0], parts[1], parts[2]
}

func (b *browser) dial(ctx context.Context, path string) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(ctx, b.url+path, &websocket.DialOptions{HTTPClient: b.client})
}

// A WebSocket that outlives several access tokens. The browser can't be given
// new cookies by it, and its old ones are good all the same.
func TestWebSocket(t *testing.T) {
	overAll(t, func(t *testing.T, framework, store string) {
		const life = 2 * time.Second
		s := newSite(t, store, life)
		s.serve(guarded[framework](s.m, map[string]http.HandlerFunc{"/live": live, "/user": whoami}))
		b := s.signedIn(viewer)
		open := scale.Of(6*time.Second, 6*time.Second, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 2*open+20*time.Second)
		defer cancel()
		_, restore := b.cookies()
		conn, res, err := b.dial(ctx, fmt.Sprintf("/live?seconds=%d", int(open.Seconds())))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if res.Header.Get("Vary") != "Cookie" {
			t.Errorf("header %v", res.Header)
		}
		tokens := map[string]bool{}
		for {
			_, text, err := conn.Read(ctx)
			if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			tokens[string(text)] = true
		}
		if want := int(open / life); len(tokens) < want {
			t.Errorf("%d access tokens in %v, want %d at least", len(tokens), open, want)
		}
		restore()
		b.get("/user", 200, "0000000b")
		if n := s.auth.Reuses(); n > 0 {
			t.Errorf("%d refresh tokens were used twice", n)
		}
	})
}

// A WebSocket ends with its session where the app asks for it.
func TestWebSocketEnds(t *testing.T) {
	overAll(t, func(t *testing.T, framework, store string) {
		s := newSite(t, store, time.Minute)
		s.serve(guarded[framework](s.m, map[string]http.HandlerFunc{"/live": live}))
		b := s.signedIn(viewer)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, res, err := s.browser().dial(ctx, "/live?seconds=1"); err == nil || res.StatusCode != 401 {
			t.Errorf("a visitor gets %v", err)
		}
		conn, _, err := b.dial(ctx, "/live?seconds=3600")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if _, _, err := conn.Read(ctx); err != nil {
			t.Fatal(err)
		}
		b.ask("POST", "/logout", 204, "")
		for err == nil {
			_, _, err = conn.Read(ctx)
		}
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("it ends with %v", err)
		}
	})
}
