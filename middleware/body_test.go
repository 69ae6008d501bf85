package middleware_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// newLoginRecorder starts an app whose auth service is down. lastLogin returns the
// last e-mail address and password that the service received, and clears them.
func newLoginRecorder(t *testing.T) (b *browser, lastLogin func() string) {
	t.Helper()
	var last string
	a := newApp(t, func(c *session.Config) {
		c.Auth = failing{func(email, password string) { last = email + "\n" + password }}
	})
	return a.browser(), func() string { defer func() { last = "" }(); return last }
}

// Passwords reach the auth service unchanged.
func TestPasswordsAreUnchanged(t *testing.T) {
	b, lastLogin := newLoginRecorder(t)
	for _, secret := range []string{
		"plain", " leading and trailing ", "tab\tand\nnewline\r\n", "\x00nul", "quote\"back\\slash/", "a+b&c=d;e%20f#g", "ünï 密码 🔑", "a\u0301 not normalized",
		"\ufeffbom", "\u2028", "</script>", strings.Repeat("long", 5000), "\ufffd", "[]", "null",
	} {
		email := "someone@example.com"
		want := email + "\n" + secret
		for form, got := range map[string]response{
			"urlencoded": b.submit("/login", "email", email, "password", secret),
			"JSON":       b.postJSON("/login", jsonObject("email", email, "password", secret)),
			"multipart":  multipartForm(t, b, "/login", "email", email, "password", secret),
		} {
			if got.StatusCode != 503 {
				t.Errorf("%s: %.20q: status %d", form, secret, got.StatusCode)
			}
		}
		b.submit("/login", "email", email, "password", secret)
		if got := lastLogin(); got != want {
			t.Errorf("form: the service received %.40q, want %.40q", got, want)
		}
		b.postJSON("/login", jsonObject("email", email, "password", secret))
		if got := lastLogin(); got != want {
			t.Errorf("JSON: the service received %.40q, want %.40q", got, want)
		}
		multipartForm(t, b, "/login", "email", email, "password", secret)
		if got := lastLogin(); got != want {
			t.Errorf("multipart: the service received %.40q, want %.40q", got, want)
		}
	}
	b.postJSON("/login", `{"email":"\u0061\ud83d\udd11","password":"\\ud800\u0022"}`).is(t, 503, "")
	if got, want := lastLogin(), "a🔑\n\\ud800\""; got != want {
		t.Errorf("escapes: the service received %q, want %q", got, want)
	}
}

// jsonObject returns a JSON object without the optional escapes of encoding/json,
// so that the routes receive the raw text.
func jsonObject(fields ...string) string {
	var b strings.Builder
	for i, f := range fields {
		b.WriteString([]string{"{", ":", ",", ":"}[i])
		b.WriteByte('"')
		for _, r := range f {
			switch {
			case r == '"' || r == '\\':
				b.WriteByte('\\')
				b.WriteRune(r)
			case r < ' ':
				fmt.Fprintf(&b, `\u%04x`, r)
			default:
				b.WriteRune(r)
			}
		}
		b.WriteByte('"')
	}
	return b.String() + "}"
}

func multipartForm(t *testing.T, b *browser, path string, fields ...string) response {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.do("POST", path, body.String(), "Content-Type", w.FormDataContentType())
}

func TestBadBodies(t *testing.T) {
	const form, multi, js = "application/x-www-form-urlencoded", "multipart/form-data", "application/json"
	good := `{"email":"a@example.com","password":"p"}`
	large := strings.Repeat("x", 64<<10)
	for _, c := range []struct {
		contentType, body string
		status            int
		field             any
	}{
		// The type is neither a form nor JSON.
		{"", good, 415, nil},
		{"text/plain", good, 415, nil},
		{"text/json", good, 415, nil},
		{"application/problem+json", good, 415, nil},
		{"application/json; charset=iso-8859-1", good, 415, nil},
		{"application/json; charset", good, 415, nil},
		{form + "; charset=utf-16", "email=a&password=b", 415, nil},
		{"nonsense;;;", good, 415, nil},

		// Too large.
		{js, `{"email":"a@example.com","password":"p","x":"` + large + `"}`, 413, nil},
		{form, "email=a&password=" + large, 413, nil},
		{js, good + strings.Repeat(" ", 64<<10), 413, nil},

		// Malformed.
		{js, "", 422, "email"}, // no body at all
		{js, " ", 400, nil},
		{js, "{", 400, nil},
		{js, `{"email":"a@example.com","password":"p"`, 400, nil},
		{js, `{"email":"a@example.com" "password":"p"}`, 400, nil},
		{js, `{"email":"a@example.com","password":"p",}`, 400, nil},
		{js, `{email:"a@example.com"}`, 400, nil},
		{js, `{'email':"a@example.com"}`, 400, nil},
		{js, `[` + good + `]`, 400, nil},
		{js, `"text"`, 400, nil},
		{js, `null`, 400, nil},
		{js, `17`, 400, nil},
		{js, good + good, 400, nil},
		{js, good + "x", 400, nil},
		{js, good + "]", 400, nil},
		{js, "\ufeff" + good, 400, nil},
		{js, `{"email":"a@example.com","email":"b@example.com","password":"p"}`, 422, "email"},
		{js, `{"email":"a@example.com","\u0065mail":"b@example.com","password":"p"}`, 422, "email"},
		{js, `{"email":"a@example.com","password":"p","email":"a@example.com"}`, 422, "email"},
		{js, "{\"email\":\"a@example.com\",\"password\":\"\xff\"}", 400, nil},
		{js, "{\"email\":\"a@example.com\",\"password\":\"a\nb\"}", 400, nil},
		{js, `{"email":"a@example.com","password":"\ud83d"}`, 400, nil},
		{js, `{"email":"a@example.com","password":"\udd11x"}`, 400, nil},
		{js, `{"email":"a@example.com","password":"\ud83d\u0041"}`, 400, nil},
		{js, `{"email":"a@example.com","password":"\ud83d\\udd11"}`, 400, nil},
		{js, `{"email":"a@example.com","password":"\x"}`, 400, nil},
		{js, `{"email":"a@example.com","password":"\ud8zz"}`, 400, nil},
		{js, strings.Repeat(`{"a":`, 12_000), 400, nil},
		{form, "email=%zz&password=p", 400, nil},
		{form, "email=a;password=p", 400, nil},
		{multi, "--x\r\n", 400, nil},
		{multi + "; boundary=x", "no boundary", 400, nil},
		{multi + "; boundary=x", "--x\r\nContent-Disposition: form-data; name=email\r\n\r\na", 400, nil},

		// A field is missing or invalid.
		{js, `{}`, 422, "email"},
		{js, `{"password":"p"}`, 422, "email"},
		{js, `{"Email":"a@example.com","password":"p"}`, 422, "email"},
		{js, `{"email":"","password":"p"}`, 422, "email"},
		{js, `{"email":null,"password":"p"}`, 422, "email"},
		{js, `{"email":["a@example.com"],"password":"p"}`, 422, "email"},
		{js, `{"email":"a@example.com"}`, 422, "password"},
		{js, `{"email":"a@example.com","password":17}`, 422, "password"},
		{js, `{"email":"a@example.com","password":{"$ne":""}}`, 422, "password"},
		{form, "", 422, "email"},
		{form, "email=&password=p", 422, "email"},
		{form, "email=a&email=b&password=p", 422, "email"},
		{form, "email=a&password=p&password=q", 422, "password"},
		{form, "email=a&password=%ff", 422, "password"},
		{multi + "; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"email\"; filename=\"f\"\r\n\r\na\r\n--x--", 422, "email"},
	} {
		b, lastLogin := newLoginRecorder(t)
		header := []string{"Content-Type", c.contentType}
		if c.contentType == "" {
			header = nil
		}
		got := b.do("POST", "/login", c.body, header...)
		page := strings.HasPrefix(c.contentType, form) || strings.HasPrefix(c.contentType, multi)
		if got.StatusCode != c.status || (got.Header.Get("Content-Type") == "text/html; charset=utf-8") != page {
			t.Errorf("%s %.60q: %d %s, want %d: %.200s", c.contentType, c.body, got.StatusCode, got.Header.Get("Content-Type"), c.status, got.body)
			continue
		}
		if page {
			if c.field != nil && !strings.Contains(got.body, `id="`+c.field.(string)+`-error"`) {
				t.Errorf("%s %.60q: the page has no error at the field: %s", c.contentType, c.body, visible(got.body))
			}
		} else if field := got.is(t, c.status, "invalid_request").problem(t)["field"]; field != c.field {
			t.Errorf("%s %.60q: field %v, want %v", c.contentType, c.body, field, c.field)
		}
		if got := lastLogin(); got != "" {
			t.Errorf("%s %.60q: the service received %q", c.contentType, c.body, got)
		}
	}
}

func TestBodyOfUnknownLength(t *testing.T) {
	b, lastLogin := newLoginRecorder(t)
	for body, status := range map[string]int{
		`{"email":"a@example.com","password":"p"}`:                            503,
		`{"email":"a@example.com","password":"` + strings.Repeat("p", 70_000): 413,
	} {
		req, _ := http.NewRequest("POST", b.base+"/login", struct{ *strings.Reader }{strings.NewReader(body)})
		req.ContentLength = -1
		req.Header.Set("Content-Type", "application/json")
		b.send(req).is(t, status, "")
		if got := lastLogin(); (got != "") != (status == 503) {
			t.Errorf("the service received %.40q", got)
		}
	}
}

func TestCompressedBody(t *testing.T) {
	b, _ := newLoginRecorder(t)
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, _ = z.Write([]byte(`{"email":"a@example.com","password":"p"}`))
	_ = z.Close()
	b.postJSON("/login", body.String(), "Content-Encoding", "gzip").is(t, 415, "invalid_request")
	b.postJSON("/login", `{"email":"a@example.com","password":"p"}`, "Content-Encoding", "identity").is(t, 503, "")
}

// newAppInside starts an app with the built-in routes inside an outer middleware.
func newAppInside(t *testing.T, outer func(http.ResponseWriter, *http.Request)) *app {
	t.Helper()
	a := newApp(t, nil)
	sessions := middleware.Sessions(a.m)(a.mux)
	a.start(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer(w, r)
		sessions.ServeHTTP(w, r)
	}))
	return a
}

func TestBodyIsLimitedByOtherMiddleware(t *testing.T) {
	t.Parallel()
	b := newAppInside(t, func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 10)
	}).browser()
	b.submit("/login", "email", "admin@example.com", "password", password).isPage(t, 413, "")
	b.do("POST", "/logout", "").is(t, 204, "")
}

// An outer middleware that parses forms consumes some bodies, and leaves others
// unread. The routes use the fields of both.
func TestBodyBehindFormParser(t *testing.T) {
	for name, parse := range map[string]func(*http.Request) error{
		"ParseForm": (*http.Request).ParseForm,
		"FormValue": func(r *http.Request) error { _ = r.FormValue("_method"); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAppInside(t, func(_ http.ResponseWriter, r *http.Request) {
				if err := parse(r); err != nil {
					t.Error(err)
				}
			})
			b, other := a.browser(), a.browser()
			other.signIn("admin@example.com")
			b.postJSON("/login", jsonObject("email", "admin@example.com", "password", password)).is(t, 200, "")
			multipartForm(t, b, "/login", "email", "admin@example.com", "password", password).isRedirect(t, "/")
			b.submit("/login?email=other", "email", "admin@example.com", "password", password).isRedirect(t, "/")
			b.postJSON("/logout", `{"all":`).is(t, 400, "invalid_request")
			b.postJSON("/logout", `{"all":true}`).is(t, 204, "")
			if n := len(a.auth.LiveTokens("admin@example.com")); n != 0 {
				t.Errorf("%d tokens are still valid after a logout everywhere", n)
			}
		})
	}
}

// An incomplete body is rejected.
func TestIncompleteBody(t *testing.T) {
	a := newApp(t, func(c *session.Config) {
		c.Auth = failing{func(string, string) { t.Error("the service received a login") }}
	})
	conn, err := tls.Dial("tcp", a.srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n14\r\nemail=a&password=bcd\r\nnonsense\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 400 {
		t.Errorf("%v, %+v", err, resp)
	}
}

// A body whose announced length is too large is rejected before it is sent.
func TestAnnouncedBodyTooLarge(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	conn, err := tls.Dial("tcp", a.srv.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(conn, "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 413 {
		t.Errorf("%v, %+v", err, resp)
	}
}

// The form marks the invalid field.
func TestInvalidFieldIsMarked(t *testing.T) {
	b, _ := newLoginRecorder(t)
	page := b.submit("/login", "email", "a@example.com", "password", "").isPage(t, 422, `role="alert"`)
	if n := strings.Count(visible(page.body), `aria-invalid="true"`); n != 1 || !strings.Contains(page.body, `value="a@example.com"`) {
		t.Errorf("%d fields are marked: %s", n, visible(page.body))
	}
}
