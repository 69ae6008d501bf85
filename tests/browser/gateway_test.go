package browser_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/proc"
)

// wiki is a service without sessions. Its page has an event stream and a WebSocket, and
// shows their states.
func wiki() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!DOCTYPE html><html lang=en><title>Wiki</title><link rel=icon href="data:,"><h1>Wiki</h1>
<p>%s has the roles %s and the cookies "%s"</p><p id=out></p>
<form method=post action=/logout><button>Sign out</button></form>
<script>
new EventSource("/events").onmessage = e => out.textContent += " event: " + e.data
const socket = new WebSocket(location.origin.replace("http", "ws") + "/live")
socket.onopen = () => socket.send("hello")
socket.onmessage = e => out.textContent += " socket: " + e.data
socket.onclose = () => document.title = "closed"
</script>`, r.URL.Path, html.EscapeString(r.Header.Get("X-Forwarded-Roles")), html.EscapeString(r.Header.Get("Cookie")))
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: first\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/live", func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, text, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, append([]byte("echo "), text...)) != nil {
				return
			}
		}
	})
	return mux
}

// The gateway protects a service by a configuration file of 15 lines.
func TestGateway(t *testing.T) {
	t.Parallel()
	auth := authtest.NewServer(t, authtest.Options{PasswordCost: -1, Accounts: []authtest.Account{
		{Email: "user@example.com", Password: password},
		{Email: "admin@example.com", Password: password, Roles: []string{"user", "admin"}},
	}})
	service := httptest.NewServer(wiki())
	t.Cleanup(service.Close) // after the gateway has ended its streams
	config, err := os.ReadFile("../../cmd/session-gateway/deploy/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := strings.NewReplacer("127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:8081", "127.0.0.1:0", "https://app.synmetrix.org", auth.URL,
		"/var/lib/session-gateway", dir, "http://127.0.0.1:3000", service.URL).Replace(string(config))
	file := filepath.Join(dir, "gateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	gateway := proc.Start(t, "session-gateway", []string{"SESSION_KEYS=" + session.GenerateKey().Encode()}, "-config", file)

	b := open(t, gateway.URL)
	b.visit("/start")
	b.is("/login?return_to=%2Fstart", "Sign in")
	b.signIn("user@example.com", password)
	b.is("/start", "Wiki")
	b.shows(`/start has the roles user and the cookies ""`)
	b.reach(`out.textContent.includes("event: first") && out.textContent.includes("socket: echo hello")`)
	if status := b.visit("/admin"); status != 403 {
		t.Errorf("the page for admins: %d", status)
	}
	b.shows("admin")

	// Another window keeps its WebSocket until the user signs out in the first window.
	other := b.another(b.site)
	other.visit("/other")
	other.reach(`out.textContent.includes("socket: echo hello")`)
	b.visit("/start")
	b.lead(chromedp.Click(chromedp.CSS("button")))
	other.reach(`document.title === "closed"`)
	if len(b.sessionCookies()) != 0 {
		t.Errorf("cookies after the sign-out: %v", b.sessionCookies())
	}
	b.visit("/admin/x")
	b.is("/login?return_to=%2Fadmin%2Fx", "Sign in")
	b.signIn("admin@example.com", password)
	b.is("/admin/x", "Wiki")
}
