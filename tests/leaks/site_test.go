package leaks_test

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/tests/internal/leaks"
	"github.com/synmetrix/session/tests/internal/proc"
)

// site is the running dashboard, with its secrets and its responses.
type site struct {
	*proc.Process
	target  target
	dir     string // for the store's files
	wire    *wire
	api     *atomic.Value // the behavior of the API
	secrets *leaks.Secrets
	keys    []string

	mu    sync.Mutex
	shown strings.Builder // the responses to browsers
}

// start runs the dashboard against an auth service.
func start(t *testing.T, tt target, service string, more ...string) *site {
	t.Helper()
	s := &site{target: tt, dir: t.TempDir(), secrets: &leaks.Secrets{}}
	s.wire = newWire(t, service, s.secrets)
	s.secrets.Add("password", password)
	s.secrets.Add("TOTP secret", totpSecret)
	for range 2 {
		key := session.GenerateKey().Encode()
		s.keys = append(s.keys, key)
		s.secrets.Add("key", key)
		s.secrets.Add("key", string(unbase64(t, key)))
	}
	env := []string{
		"AUTH_URL=" + s.wire.URL,
		"COOKIE_INSECURE=true", // a cookie jar sends no Secure cookie over plain HTTP
		"SESSION_KEYS=" + strings.Join(s.keys, ","),
		"UPSTREAM_URL=" + s.newAPI(t),
		"LOG_LEVEL=debug",
		"LOG_FORMAT=" + tt.format,
	}
	for _, v := range slices.Concat(tt.env, more) {
		env = append(env, strings.ReplaceAll(v, "DIR", s.dir))
	}
	s.Process = proc.Start(t, "dashboard", env)
	return s
}

// newAPI starts an API that handles the access token as the test selects.
func (s *site) newAPI(t *testing.T) (address string) {
	s.api = &atomic.Value{}
	s.api.Store("good")
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		token, _ := strings.CutPrefix(auth, "Bearer ")
		s.secrets.AddJWT("access token", token)
		switch s.api.Load() {
		case "401":
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
		case "no HTTP":
			raw(w, auth+"\r\n\r\n")
		case "no header":
			raw(w, "HTTP/1.1 200 OK\r\n"+token+"\r\n\r\n")
		case "redirect":
			w.Header().Set("Location", "http://127.0.0.1:1/?token="+token)
			w.WriteHeader(http.StatusFound)
		case "switch":
			raw(w, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: "+token+"\r\n\r\n")
		case "reset":
			panic(http.ErrAbortHandler)
		}
	}))
	api.Config.ErrorLog = log.New(io.Discard, "", 0)
	api.Start()
	t.Cleanup(api.Close)
	return api.URL
}

// visitorSecret returns a secret that a visitor sends in an unusual place.
func (s *site) visitorSecret() string {
	secret := "secret-" + rand.Text()
	s.secrets.Add("secret of a visitor", secret)
	return secret
}

// guest is a user or visitor with a browser that follows no redirects.
type guest struct {
	t      *testing.T
	site   *site
	client *http.Client
}

func (s *site) guest(t *testing.T) *guest {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &guest{t: t, site: s, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// signedIn returns a guest who is signed in.
func (s *site) signedIn(t *testing.T, email string) *guest {
	t.Helper()
	g := s.guest(t)
	g.form("/login", "email", email, "password", password).is(t, 303)
	return g
}

func (g *guest) cookies() []*http.Cookie {
	u, _ := url.Parse(g.site.URL)
	return g.client.Jar.Cookies(u)
}

// response is a response that has been read.
type response struct {
	what   string
	status int
}

func (a response) is(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: status %d, want %d", a.what, a.status, status)
	}
}

// page sends the request of a browser that follows a link.
func (g *guest) page(path string) response {
	g.t.Helper()
	return g.send("GET", path, "", "Accept", "text/html,*/*;q=0.8")
}

// form sends a form. fields has alternating names and values.
func (g *guest) form(path string, fields ...string) response {
	g.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return g.send("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html")
}

func (g *guest) json(path, body string) response {
	g.t.Helper()
	return g.send("POST", path, body, "Content-Type", "application/json", "Accept", "application/json")
}

// send sends a request. header has alternating names and values.
func (g *guest) send(method, path, body string, header ...string) response {
	g.t.Helper()
	req, err := http.NewRequest(method, g.site.URL+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := g.client.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	g.site.learn(g.t, res.Cookies())
	shown := res.Header.Clone()
	delete(shown, "Set-Cookie")
	g.site.mu.Lock()
	defer g.site.mu.Unlock()
	_ = shown.Write(&g.site.shown)
	g.site.shown.Write(text)
	g.site.shown.WriteString("\n")
	return response{method + " " + path, res.StatusCode}
}

// learn records the values of a browser's cookies, and the session ID in them.
func (s *site) learn(t *testing.T, cookies []*http.Cookie) {
	t.Helper()
	for _, c := range cookies {
		if c.Value == "" {
			continue
		}
		s.secrets.AddSealed("cookie", c.Value)
		if c.Name == "session" {
			s.secrets.Add("session ID", s.sessionID(t, c.Value))
		}
	}
}

// sessionID opens a cookie like an attacker who has the key. Only this test depends on
// the format of a sealed cookie.
func (s *site) sessionID(t *testing.T, value string) string {
	t.Helper()
	const idSize = 32
	derive := func(info string) []byte {
		key, err := hkdf.Key(sha256.New, unbase64(t, s.keys[0]), nil, "synmetrix/session 1 "+info, sha256.Size)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	seal := securecookie.New(derive("cookie hash"), derive("cookie block")).MaxAge(0).MaxLength(0).SetSerializer(securecookie.NopEncoder{})
	for _, purpose := range []string{"id", "tokens"} {
		var plain []byte
		if err := seal.Decode("1 "+purpose+" session", value, &plain); err == nil && len(plain) >= idSize {
			return string(plain[:idSize])
		}
	}
	t.Fatal("the cookie does not open: has its format changed?")
	return ""
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// code returns the one-time code of the account with a second factor.
func code(t *testing.T, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(totpSecret, at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
