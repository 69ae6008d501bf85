// Package webapp has the code that tests of package middleware and of the adapters share:
// a web app with a Manager and an auth service, and its browsers.
package webapp

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/synmetrix"
)

// The passwords and the key of second factors of an app's accounts.
const (
	Password   = "correct horse battery staple"
	TOTPSecret = "JBSWY3DPEHPK3PXP"
)

// App is an app with an auth service and a Manager. It ends with the test.
type App struct {
	T    testing.TB
	Auth *authtest.Server
	*session.Manager
	Log    testkit.LogBuffer // of the Manager and the server
	Server *httptest.Server  // of Serve
}

// New starts an auth service and a Manager. The functions change its Config.
func New(t testing.TB, service authtest.Options, set ...func(*session.Config)) *App {
	t.Helper()
	service.PasswordCost = -1
	a := &App{T: t, Auth: authtest.NewServer(t, service)}
	cfg := session.Config{
		Auth:   synmetrix.NewClient(a.Auth.URL),
		Logger: slog.New(slog.NewJSONHandler(&a.Log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range set {
		if f != nil {
			f(&cfg)
		}
	}
	a.Manager = NewManager(t, cfg)
	return a
}

// NewManager returns a Manager that is shut down with the test. It has a key if the
// Config has none.
func NewManager(t testing.TB, cfg session.Config) *session.Manager {
	t.Helper()
	if cfg.Keys == nil {
		cfg.Keys = []session.SecretKey{session.GenerateKey()}
	}
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Serve serves h, in place of the handler of an earlier call. It uses TLS, because the
// cookies are Secure.
func (a *App) Serve(h http.Handler, http2 bool) {
	if a.Server != nil {
		a.Server.Close()
	}
	a.Server = httptest.NewUnstartedServer(h)
	a.Server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(&a.Log, nil), slog.LevelError)
	a.Server.EnableHTTP2 = http2
	a.Server.StartTLS()
	a.T.Cleanup(a.Server.Close)
}

// Browser is a client with cookies. It does not follow redirects, and records all
// responses.
type Browser struct {
	T         testing.TB
	URL       string
	Client    *http.Client
	Responses []*Response
}

// Browser returns a browser without cookies.
func (a *App) Browser() *Browser {
	return NewBrowser(a.T, a.Server.URL, a.Server.Client().Transport)
}

// NewBrowser returns a browser without cookies for the site with an address.
func NewBrowser(t testing.TB, url string, transport http.RoundTripper) *Browser {
	jar, _ := cookiejar.New(nil) // an error is impossible without options
	return &Browser{T: t, URL: url, Client: &http.Client{
		Transport:     transport,
		Jar:           jar,
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// AsPage is the Accept field of a browser that follows a link.
const AsPage = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// Request returns a new request. header has alternating names and values.
func (b *Browser) Request(method, path, body string, header ...string) *http.Request {
	b.T.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, b.URL+path, r)
	if err != nil {
		b.T.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// Send sends a request and reads the response.
func (b *Browser) Send(req *http.Request) *Response {
	b.T.Helper()
	res, err := b.Client.Do(req)
	if err != nil {
		b.T.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.T.Fatal(err)
	}
	r := &Response{res, b.T, string(text)}
	b.Responses = append(b.Responses, r)
	return r
}

// Do sends a request with a body.
func (b *Browser) Do(method, path, body string, header ...string) *Response {
	b.T.Helper()
	return b.Send(b.Request(method, path, body, header...))
}

// Get sends a GET like a program.
func (b *Browser) Get(path string, header ...string) *Response {
	b.T.Helper()
	return b.Do("GET", path, "", header...)
}

// Open sends a GET like a browser whose user follows a link.
func (b *Browser) Open(path string) *Response {
	b.T.Helper()
	return b.Get(path, "Accept", AsPage, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none")
}

// Submit sends a form. fields has alternating names and values.
func (b *Browser) Submit(path string, fields ...string) *Response {
	b.T.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.Do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Accept", AsPage,
		"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin", "Origin", b.URL)
}

// SignIn signs a user in by the form.
func (b *Browser) SignIn(email string) {
	b.T.Helper()
	b.Submit("/login", "email", email, "password", Password).Is(303)
}

// Response is a response with its body, which has been read.
type Response struct {
	*http.Response
	T    testing.TB
	Body string
}

// Is fails the test unless the response has the status.
func (r *Response) Is(status int) *Response {
	r.T.Helper()
	if r.StatusCode != status {
		r.T.Fatalf("%s: status %d, want %d\n%v\n%.300s", r.What(), r.StatusCode, status, r.Header, r.Body)
	}
	return r
}

// Says fails the test unless the response has the status and contains the text.
func (r *Response) Says(status int, text string) *Response {
	r.T.Helper()
	if r.Is(status); !strings.Contains(r.Body, text) {
		r.T.Errorf("%s: the body does not contain %q: %.1000s", r.What(), text, r.Body)
	}
	return r
}

// SetsCookie reports whether the response sets a cookie.
func (r *Response) SetsCookie() bool { return len(r.Cookies()) > 0 }

// What returns the method and the address of the request.
func (r *Response) What() string { return r.Request.Method + " " + r.Request.URL.RequestURI() }
