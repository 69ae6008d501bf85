package frameworks_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/internal/testkit/scale"
)

// live sends the session's current access token again and again, until the
// client disconnects or the session ends.
func live(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	ctx := conn.CloseRead(r.Context())
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

// A WebSocket outlives several access tokens. It cannot set new cookies, and the
// browser's old cookies still work.
func TestWebSocket(t *testing.T) {
	overAll(t, func(t *testing.T, framework, store string) {
		s := newSite(t, store, 2*time.Second)
		s.serve(guarded[framework](s.m, map[string]http.HandlerFunc{"/live": live, "/user": whoami}))
		b := s.signedIn(viewer)
		want := scale.Of(3, 3, 30)
		ctx, cancel := context.WithTimeout(t.Context(), scale.Of(time.Minute, time.Minute, 5*time.Minute))
		defer cancel()
		_, restore := b.cookies()
		conn, res, err := b.dial(ctx, "/live")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if res.Header.Get("Vary") != "Cookie" {
			t.Errorf("header %v", res.Header)
		}
		tokens := map[string]bool{}
		for len(tokens) < want {
			_, text, err := conn.Read(ctx)
			if err != nil {
				t.Fatalf("after %d access tokens of %d: %v", len(tokens), want, err)
			}
			tokens[string(text)] = true
		}
		restore()
		b.get("/user", 200, "0000000b")
		if n := s.auth.Reuses(); n > 0 {
			t.Errorf("%d refresh tokens were used twice", n)
		}
	})
}

// A WebSocket of an app that watches Done ends with its session.
func TestWebSocketEnds(t *testing.T) {
	overAll(t, func(t *testing.T, framework, store string) {
		s := newSite(t, store, time.Minute)
		s.serve(guarded[framework](s.m, map[string]http.HandlerFunc{"/live": live}))
		b := s.signedIn(viewer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, res, err := s.browser().dial(ctx, "/live"); err == nil || res.StatusCode != 401 {
			t.Errorf("a visitor gets %v", err)
		}
		conn, _, err := b.dial(ctx, "/live")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if _, _, err := conn.Read(ctx); err != nil {
			t.Fatal(err)
		}
		b.expect("POST", "/logout", 204, "")
		for err == nil {
			_, _, err = conn.Read(ctx)
		}
		if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
			t.Errorf("it ends with %v", err)
		}
	})
}
