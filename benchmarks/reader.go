package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
)

// reader sends requests to a handler and reads the responses. It is fast and does
// not allocate.
type reader struct {
	request http.Request
	form    form

	header http.Header
	status int
	body   []byte
}

func newReader() *reader { return &reader{header: http.Header{}} }

// form is the body of a request.
type form struct{ strings.Reader }

func (*form) Close() error { return nil }

func (v *reader) Header() http.Header { return v.header }

func (v *reader) WriteHeader(status int) {
	if v.status == 0 {
		v.status = status
	}
}

func (v *reader) Write(p []byte) (int, error) {
	v.WriteHeader(http.StatusOK)
	v.body = append(v.body, p...)
	return len(p), nil
}

// send sends a copy of r. Some libraries store their session in the request, and a
// request parses its form only once.
func (v *reader) send(h http.Handler, r *http.Request, body string) {
	clear(v.header)
	v.status, v.body = 0, v.body[:0]
	v.request = *r
	if body != "" {
		v.form.Reset(body)
		v.request.Body = &v.form
		v.request.ContentLength = int64(len(body))
	}
	h.ServeHTTP(v, &v.request)
}

func (v *reader) got(page string) bool {
	return v.status == http.StatusOK && string(v.body) == page
}

func (v *reader) signedIn() bool {
	return v.status == http.StatusSeeOther && len(v.header["Set-Cookie"]) > 0
}

// unexpected is the error for a response that is not the one that is measured.
func (v *reader) unexpected() error {
	return fmt.Errorf("unexpected response: status %d, %q", v.status, v.body)
}

// browsing is the context of the requests. It can be canceled, as in a server, but is not.
var browsing, _ = context.WithCancel(context.Background())

// newRequest returns a request with the header fields of a browser.
func newRequest(method, path string) *http.Request {
	r := httptest.NewRequestWithContext(browsing, method, "https://app.example.com"+path, nil)
	r.Header = http.Header{
		"Accept":          {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Accept-Encoding": {"gzip, deflate, br"},
		"Accept-Language": {"en-US,en;q=0.5"},
		"Sec-Fetch-Dest":  {"document"},
		"Sec-Fetch-Mode":  {"navigate"},
		"Sec-Fetch-Site":  {"same-origin"},
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://app.example.com")
	}
	return r
}

// newFetch returns a request of a script in a page that accepts JSON.
func newFetch(path string) *http.Request {
	r := newRequest("GET", path)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Fetch-Dest", "empty")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	return r
}

// signIn signs a user in and returns the browser's Cookie field.
func signIn(h http.Handler, email string) (string, error) {
	v := newReader()
	v.send(h, newRequest("POST", "/login"), loginForm(email, password))
	if !v.signedIn() {
		return "", fmt.Errorf("login: %w", v.unexpected())
	}
	var pairs []string
	for _, c := range (&http.Response{Header: v.header}).Cookies() {
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; "), nil
}

// signedInRequest signs a user in and returns a GET request by the user.
func signedInRequest(h http.Handler, path, email string) (*http.Request, error) {
	cookie, err := signIn(h, email)
	r := newRequest("GET", path)
	r.Header.Set("Cookie", cookie)
	return r, err
}
