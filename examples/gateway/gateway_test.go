package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/seed"
)

// service is an internal service without sessions. It responds with the request
// that it received, and can switch to its own protocol.
func service(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "echo" {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Saw: %s\r\n\r\n", r.Header.Get(userHeader))
		for {
			line, err := rw.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "echo "+line)
		}
	}
	w.Header().Add("Set-Cookie", "theirs=1; Path=/")
	w.Header().Add("Set-Cookie", "__Host-gateway=forged; Path=/; Secure")
	w.Header().Add("Set-Cookie", " __Host-gateway-state=forged; Path=/; Secure")
	w.Header().Set("Cache-Control", "public, max-age=60")
	_ = json.NewEncoder(w).Encode(map[string]any{"header": r.Header, "host": r.Host, "uri": r.RequestURI})
}

type receivedRequest struct {
	Header http.Header
	Host   string
	URI    string
}

type site struct {
	t        *testing.T
	auth     *authtest.Server
	m        *session.Manager
	srv      *httptest.Server
	upstream *httptest.Server
}

func start(t *testing.T) *site {
	s := &site{t: t, auth: authtest.NewServer(t, authtest.Options{Accounts: seed.Accounts(), PasswordCost: -1})}
	var err error
	if s.m, err = newManager(s.auth.URL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.m.Shutdown(context.Background()) })
	s.upstream = httptest.NewServer(http.HandlerFunc(service))
	t.Cleanup(s.upstream.Close)
	u, _ := url.Parse(s.upstream.URL)
	s.srv = httptest.NewTLSServer(newGateway(s.m, u, "admin"))
	t.Cleanup(s.srv.Close)
	return s
}

func (s *site) browser(email string) *http.Client {
	client := *s.srv.Client()
	client.Jar, _ = cookiejar.New(nil)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if email != "" {
		res, err := client.PostForm(s.srv.URL+"/login", url.Values{"email": {email}, "password": {seed.Password}})
		if err != nil || res.StatusCode != 303 {
			s.t.Fatal(err, res)
		}
		res.Body.Close()
	}
	return &client
}

func (s *site) get(client *http.Client, path string, header http.Header) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequest("GET", s.srv.URL+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(body)
}

func TestRole(t *testing.T) {
	s := start(t)
	asPage := http.Header{"Accept": {"text/html"}}
	if res, _ := s.get(s.browser(""), "/reports?a=1", asPage); res.StatusCode != 303 || res.Header.Get("Location") != "/login?return_to=%2Freports%3Fa%3D1" {
		t.Errorf("a visitor gets %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	if res, _ := s.get(s.browser("viewer@example.com"), "/reports", asPage); res.StatusCode != 403 {
		t.Errorf("a user without the role gets %d", res.StatusCode)
	}
	res, body := s.get(s.browser("admin@example.com"), "/reports?a=1", nil)
	if res.StatusCode != 200 || !strings.Contains(body, `"uri":"/reports?a=1"`) {
		t.Errorf("a user with the role gets %d %s", res.StatusCode, body)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", res.Header.Get("Cache-Control"))
	}
}

func TestHeaders(t *testing.T) {
	s := start(t)
	client := s.browser("admin@example.com")
	account, _ := s.auth.Account("admin@example.com")
	res, body := s.get(client, "/", http.Header{
		"X-User-Id":       {"forged"},
		"X-User-Roles":    {"root"},
		"X_User_Id":       {"forged"},
		"x-USER_roles":    {"root"},
		"X-Forwarded-For": {"203.0.113.9"},
		"Forwarded":       {"for=203.0.113.9"},
		"Connection":      {"X-User-Id, X-User-Roles"},
		"Cookie":          {"mine=a b; __Host-gateway-x=1;quoted=\"q\""},
	})
	var got receivedRequest
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%d %v: %s", res.StatusCode, err, body)
	}
	if users := got.Header[userHeader]; !slices.Equal(users, []string{account.ID}) {
		t.Errorf("%s is %q", userHeader, users)
	}
	if roles := got.Header[rolesHeader]; !slices.Equal(roles, []string{"user", "admin"}) {
		t.Errorf("%s is %q", rolesHeader, roles)
	}
	if strings.Contains(body, "forged") || strings.Contains(body, "root") || strings.Contains(body, "203.0.113.9") {
		t.Errorf("the service received forged header fields: %s", body)
	}
	if strings.Contains(body, "__Host-gateway") {
		t.Error("the service received the session's cookie")
	}
	if cookies := got.Header["Cookie"]; !slices.Equal(cookies, []string{`mine=a b;quoted="q"`}) {
		t.Errorf("cookies %q", cookies)
	}
	if got.Host != strings.TrimPrefix(s.srv.URL, "https://") || got.Header.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("host %q, %v", got.Host, got.Header)
	}
	for _, line := range res.Header["Set-Cookie"] {
		if strings.Contains(line, "forged") {
			t.Errorf("the service could set %s", line)
		}
	}
	if !slices.ContainsFunc(res.Header["Set-Cookie"], func(s string) bool { return strings.HasPrefix(s, "theirs=") }) {
		t.Errorf("the service's own cookie is missing: %q", res.Header["Set-Cookie"])
	}
	// The session is still valid.
	if res, _ := s.get(client, "/", nil); res.StatusCode != 200 {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestServiceIsDown(t *testing.T) {
	s := start(t)
	client := s.browser("admin@example.com")
	s.upstream.Close()
	if res, body := s.get(client, "/", nil); res.StatusCode != 502 || !strings.Contains(body, "upstream_unavailable") || strings.Contains(body, "127.0.0.1") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// dial sends a request to switch protocols.
func (s *site) dial(client *http.Client, header ...string) (net io.ReadWriteCloser, r *bufio.Reader, res *http.Response) {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	req, _ := http.NewRequest("GET", s.srv.URL+"/live", nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	for _, c := range client.Jar.Cookies(req.URL) {
		req.AddCookie(c)
	}
	if err := req.Write(conn); err != nil {
		s.t.Fatal(err)
	}
	r = bufio.NewReader(conn)
	if res, err = http.ReadResponse(r, req); err != nil {
		s.t.Fatal(err)
	}
	return conn, r, res
}

func TestUpgrade(t *testing.T) {
	s := start(t)
	client := s.browser("admin@example.com")
	account, _ := s.auth.Account("admin@example.com")
	if _, _, res := s.dial(s.browser("")); res.StatusCode != 401 {
		t.Errorf("a visitor gets %d", res.StatusCode)
	}
	if _, _, res := s.dial(s.browser("viewer@example.com")); res.StatusCode != 403 {
		t.Errorf("a user without the role gets %d", res.StatusCode)
	}
	for _, header := range [][]string{{"Origin", "https://evil.example"}, {"Sec-Fetch-Site", "same-site"}} {
		if _, _, res := s.dial(client, header...); res.StatusCode != 403 {
			t.Errorf("%q: a page of another origin gets %d", header, res.StatusCode)
		}
	}
	conn, r, res := s.dial(client, "Origin", s.srv.URL)
	if res.StatusCode != 101 || res.Header.Get("X-Saw") != account.ID {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	_, _ = io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q, %v", line, err)
	}
	// The connection ends with the session.
	out, err := client.PostForm(s.srv.URL+"/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	out.Body.Close()
	if line, err := r.ReadString('\n'); err == nil {
		t.Errorf("the connection still works after the sign-out: %q", line)
	} else if strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection is still open after the sign-out: %v", err)
	}
}
