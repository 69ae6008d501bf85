package frameworks_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, "gateway") }

// The gateway forwards a WebSocket to a service without sessions.
func TestGateway(t *testing.T) {
	t.Parallel()
	s := newSite(t, "cookie", time.Minute)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, text, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			response := fmt.Sprintf("%s %s: %s", r.Header.Get("X-Forwarded-User"), r.Header.Get("X-Forwarded-Roles"), text)
			if conn.Write(r.Context(), kind, []byte(response)) != nil {
				return
			}
		}
	}))
	defer service.Close()
	gateway := proc.Start(t, "gateway", []string{"AUTH_URL=" + s.auth.URL, "UPSTREAM=" + service.URL})

	// The cookies are Secure, so a cookie jar would not send them here.
	signIn := func(email string) string {
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res, err := client.PostForm(gateway.URL+"/login", url.Values{"email": {email}, "password": {password}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		cookies := ""
		for _, c := range res.Cookies() {
			cookies += c.Name + "=" + c.Value + "; "
		}
		return cookies
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dial := func(email, origin string) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(ctx, gateway.URL+"/live", &websocket.DialOptions{
			HTTPHeader: http.Header{"Cookie": {signIn(email)}, "Origin": {origin}, "X-Forwarded-User": {"forged"}, "X-Forwarded-Roles": {"forged"}},
		})
	}
	if _, res, err := dial(viewer, gateway.URL); err == nil || res.StatusCode != 403 {
		t.Errorf("a user without the role gets %v", err)
	}
	if _, res, err := dial(admin, "https://evil.example"); err == nil || res.StatusCode != 403 {
		t.Errorf("another origin gets %v", err)
	}
	conn, _, err := dial(admin, gateway.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for i := range 10 {
		if err := conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "hello %d", i)); err != nil {
			t.Fatal(err)
		}
		_, text, err := conn.Read(ctx)
		if want := fmt.Sprintf(`00000000-0000-4000-8000-00000000000a user,admin: hello %d`, i); err != nil || string(text) != want {
			t.Fatalf("%q, %v; want %q", text, err, want)
		}
	}
}
