package dashboard_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/tests/internal/leaks"
	"github.com/synmetrix/session/tests/internal/proc"
)

func TestMain(m *testing.M) { proc.Main(m, "dashboard", "authserver") }

// The accounts of the auth service.
const (
	admin    = "admin@example.com"
	analyst  = "analyst@example.com"
	viewer   = "viewer@example.com"
	mfa      = "mfa@example.com"
	inactive = "inactive@example.com"

	password   = "correct horse battery staple"
	totpSecret = "JBSWY3DPEHPK3PXP"
)

func accounts() []authtest.Account {
	return []authtest.Account{
		{Email: admin, Password: password, Roles: []string{"user", "admin"}},
		{Email: analyst, Password: password, Roles: []string{"user", "analyst"}},
		{Email: viewer, Password: password},
		{Email: mfa, Password: password, TOTPSecret: totpSecret},
		{Email: inactive, Password: password, Inactive: true},
	}
}

// site is the running program and its auth service.
type site struct {
	*proc.Process
	t      *testing.T
	target target
	auth   *authtest.Server

	secrets leaks.Secrets
}

// start runs the program with an auth service of the test. At the end of the test, its
// output is searched for secrets.
func start(t *testing.T, tt target, opts authtest.Options, env ...string) *site {
	t.Helper()
	opts.PasswordCost = -1
	if opts.Accounts == nil {
		opts.Accounts = accounts()
	}
	auth, err := authtest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, target: tt, auth: auth}
	for what, secrets := range map[string][]string{"password": {password}, "TOTP secret": {totpSecret}, "key": {keyA, keyB}} {
		for _, secret := range secrets {
			s.secrets.Add(what, secret)
		}
	}
	service := httptest.NewServer(http.HandlerFunc(s.serveAuth))
	auth.URL = service.URL
	t.Cleanup(s.searchOutput)
	t.Cleanup(func() {
		auth.Close()
		service.CloseClientConnections()
		service.Close()
	})
	s.Process = proc.Start(t, "dashboard", append([]string{
		"AUTH_URL=" + auth.URL,
		"FRAMEWORK=" + tt.framework,
		"STORE=" + tt.store,
		"COOKIE_INSECURE=true", // a cookie jar does not send a Secure cookie over plain HTTP, not even to this machine
		"LOG_LEVEL=debug",
	}, append(tt.env, env...)...))
	return s
}

// serveAuth forwards requests to the auth service, and records the secrets in its
// responses.
func (s *site) serveAuth(w http.ResponseWriter, r *http.Request) {
	response := &tee{ResponseWriter: w}
	defer func() {
		var body struct {
			Access  string `json:"jwt_token"`
			Refresh string `json:"refresh_token"`
			Ticket  string `json:"ticket"`
		}
		_ = json.Unmarshal(response.sent.Bytes(), &body) // other bodies have no secrets
		s.secrets.AddJWT("access token", body.Access)
		s.secrets.Add("refresh token", body.Refresh)
		s.secrets.Add("ticket", body.Ticket)
	}()
	s.auth.ServeHTTP(response, r)
}

// tee is a ResponseWriter that records the body.
type tee struct {
	http.ResponseWriter
	sent bytes.Buffer
}

func (w *tee) Write(p []byte) (int, error) { w.sent.Write(p); return w.ResponseWriter.Write(p) }

// Unwrap is for http.ResponseController.
func (w *tee) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// searchOutput is called after the program has ended.
func (s *site) searchOutput() {
	for where, text := range map[string]string{"standard output": strings.Join(s.Stdout(), "\n"), "standard error": s.Stderr()} {
		for _, found := range s.secrets.Search(text) {
			s.t.Errorf("in %s: %s", where, found)
		}
	}
}

// browser is a client with cookies that follows no redirect.
type browser struct {
	t      *testing.T
	site   *site
	client *http.Client
}

func (s *site) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 200}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: t, site: s, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// signedIn returns a browser in which a user is signed in.
func (s *site) signedIn(t *testing.T, email string) *browser {
	t.Helper()
	b := s.browser(t)
	b.postForm("/login", "email", email, "password", password).is(303)
	return b
}

// cookies returns the cookies that the browser sends.
func (b *browser) cookies() []*http.Cookie {
	u, _ := url.Parse(b.site.URL)
	return b.client.Jar.Cookies(u)
}

func (b *browser) cookieHeader() string {
	var pairs []string
	for _, c := range b.cookies() {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// copy returns a second browser with the same cookies.
func (b *browser) copy() *browser {
	c := b.site.browser(b.t)
	u, _ := url.Parse(b.site.URL)
	c.client.Jar.SetCookies(u, b.cookies())
	return c
}

// response is a response that has been read.
type response struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   string
}

// The Accept fields of a browser that follows a link, and of a program.
const (
	acceptPage = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
	acceptJSON = "application/json"
	typeForm   = "application/x-www-form-urlencoded"
	typeJSON   = "application/json"
)

// request returns a request to the site. header has alternating names and values.
func (b *browser) request(method, path string, body io.Reader, header ...string) *http.Request {
	b.t.Helper()
	req, err := http.NewRequest(method, b.site.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func (b *browser) do(method, path, body string, header ...string) *response {
	b.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	a, err := b.try(b.request(method, path, r, header...))
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// try sends a request and reads the response.
func (b *browser) try(req *http.Request) (*response, error) {
	res, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	for _, c := range res.Cookies() {
		b.site.secrets.AddSealed("cookie", c.Value)
	}
	return &response{b.t, req.Method + " " + req.URL.Path, res.StatusCode, res.Header, string(body)}, nil
}

// chunked sends a body without its length.
func (b *browser) chunked(method, path, body string, header ...string) *response {
	b.t.Helper()
	req := b.request(method, path, struct{ io.Reader }{strings.NewReader(body)}, header...)
	req.ContentLength = -1
	a, err := b.try(req)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// page sends the request of a browser that follows a link, and get that of a program.
func (b *browser) page(path string) *response {
	b.t.Helper()
	return b.do("GET", path, "", "Accept", acceptPage)
}

func (b *browser) get(path string) *response {
	b.t.Helper()
	return b.do("GET", path, "", "Accept", acceptJSON)
}

func (b *browser) postForm(path string, fields ...string) *response {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.do("POST", path, form.Encode(), "Content-Type", typeForm, "Accept", acceptPage)
}

func (b *browser) postJSON(path, body string) *response {
	b.t.Helper()
	return b.do("POST", path, body, "Content-Type", typeJSON, "Accept", acceptJSON)
}

func (b *browser) put(key, value string) *response {
	b.t.Helper()
	return b.do("PUT", "/api/prefs/"+key, value, "Content-Type", typeJSON)
}

// is fails the test unless the response has the status.
func (a *response) is(status int) *response {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: status %d, want %d\n%v\n%s", a.what, a.status, status, a.header, a.text())
	}
	return a
}

var hidden = regexp.MustCompile(`(?s)<style>.*?</style>|<[^>]*>|\s+`)

// text returns the visible text of the body, for a message.
func (a *response) text() string { return hidden.ReplaceAllString(a.body, " ") }

// isPage fails the test unless the response is a page.
func (a *response) isPage(status int) *response {
	a.t.Helper()
	a.is(status)
	if typ := a.header.Get("Content-Type"); typ != "text/html; charset=utf-8" || !strings.HasPrefix(a.body, "<!DOCTYPE html>") {
		a.t.Fatalf("%s: %s, want a page\n%.200s", a.what, typ, a.text())
	}
	return a
}

// as returns the status and the code of a page, as if it were a problem.
func (a *response) as() map[string]any { return map[string]any{"detail": strings.ToLower(a.text())} }

// leadsTo fails the test unless the response is a 303 to a location.
func (a *response) leadsTo(location string) *response {
	a.t.Helper()
	a.is(303)
	if got := a.location(); got != location {
		a.t.Fatalf("%s: leads to %q, want %q", a.what, got, location)
	}
	return a
}

// location returns the path and query of a redirect on this host.
func (a *response) location() string {
	a.t.Helper()
	_, path, _ := strings.Cut(a.what, " ")
	base := &url.URL{Scheme: "http", Host: "site", Path: path}
	u, err := base.Parse(a.header.Get("Location"))
	if err != nil {
		a.t.Fatal(err)
	}
	if u.Host != "site" {
		return u.String()
	}
	return u.RequestURI()
}

// json decodes the response's body.
func (a *response) json(v any) *response {
	a.t.Helper()
	if typ := a.header.Get("Content-Type"); typ != typeJSON && !strings.HasPrefix(typ, "application/problem+json") {
		a.t.Fatalf("%s: %s, want JSON\n%.200s", a.what, typ, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%s: %v\n%.200s", a.what, err, a.body)
	}
	return a
}

// object decodes a body that is a JSON object.
func (a *response) object() map[string]any {
	a.t.Helper()
	var o map[string]any
	a.json(&o)
	return o
}

// problem fails the test unless the response is a problem document (RFC 9457)
// with the status and the code.
func (a *response) problem(status int, code string) map[string]any {
	a.t.Helper()
	a.is(status)
	if typ := a.header.Get("Content-Type"); typ != "application/problem+json" {
		a.t.Fatalf("%s: %s, want application/problem+json\n%.200s", a.what, typ, a.body)
	}
	p := a.object()
	for _, field := range []string{"type", "title", "detail"} {
		if text, ok := p[field].(string); !ok || text == "" {
			a.t.Errorf("%s: the problem has no %s: %s", a.what, field, a.body)
		}
	}
	if p["status"] != float64(status) || p["code"] != code {
		a.t.Fatalf("%s: %s, want the status %d and the code %s", a.what, a.body, status, code)
	}
	if (status == 503 || status == 429) && a.header.Get("Retry-After") == "" {
		a.t.Errorf("%s: no Retry-After", a.what)
	}
	if status == 401 && a.header.Get("WWW-Authenticate") == "" {
		a.t.Errorf("%s: no WWW-Authenticate", a.what)
	}
	return p
}

// events reads server-sent events one by one and returns their data.
func events(body io.Reader) func() (string, error) {
	lines := bufio.NewReader(body)
	return func() (string, error) {
		var data bytes.Buffer
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return "", err
			}
			if line == "\n" {
				return data.String(), nil
			}
			if text, ok := strings.CutPrefix(line, "data:"); ok {
				data.WriteString(strings.TrimSpace(text))
			}
		}
	}
}

// eventually calls done until it returns true. It fails the test after a time that is
// enough for every machine.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not happen: %s", what)
		}
	}
}

func cancelable() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}
