package browser_test

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"image"
	"image/png"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
	"github.com/synmetrix/session/synmetrix"
)

// exhibit is a page of the gallery. build changes the page that NewPage returns.
type exhibit struct {
	name  string // the path in the gallery
	page  string // the name of the page
	build func(*middleware.Page)
	focus string // the field that has the focus at first
}

// The errors are keys of texts, so pages show them in their language.
func failed(status int, field, key string) func(*middleware.Page) {
	return func(p *middleware.Page) {
		p.Status, p.Field, p.Message = status, field, p.Text(key)
		for i := range p.Fields {
			if p.Fields[i].Name == "email" {
				p.Fields[i].Value = "jane.doe@example.com"
			}
		}
	}
}

func links(keys ...string) func(*middleware.Page) {
	return func(p *middleware.Page) {
		for _, key := range keys {
			p.Links = append(p.Links, middleware.Link{Text: p.Text(key), URL: "/x"})
		}
	}
}

func texts(keys ...string) func(*middleware.Page) {
	return func(p *middleware.Page) {
		p.Texts = nil
		for _, key := range keys {
			p.Texts = append(p.Texts, p.Text(key, "email", "jane.doe@example.com"))
		}
	}
}

func both(all ...func(*middleware.Page)) func(*middleware.Page) {
	return func(p *middleware.Page) {
		for _, change := range all {
			change(p)
		}
	}
}

var loginLinks = links("login.lost", "login.magic", "login.register")

// gallery has all pages with a form or a list, in their usual states.
var gallery = []exhibit{
	{"login", "login", loginLinks, "email"},
	{"login-refused", "login", both(failed(401, "", "error.invalid_credentials"), loginLinks), "password"},
	{"login-empty", "login", both(failed(422, "email", "missing.email"), loginLinks), "email"},
	{"login-notice", "login", both(loginLinks, func(p *middleware.Page) { p.Notice = p.Text("notice.password_reset") }), "email"},
	{"login-signed-in", "login", both(loginLinks, func(p *middleware.Page) { p.User = "Jane Doe" }), "email"},
	{"mfa", "mfa", links("login.other"), "code"},
	{"mfa-wrong", "mfa", both(failed(401, "code", "error.wrong_code"), links("login.other")), "code"},
	{"register", "register", links("register.login"), "email"},
	{"register-taken", "register", both(failed(409, "email", "error.account_exists"), links("register.login")), "email"},
	{"magic-link", "magic-link", links("magic-link.login"), "email"},
	{"mail", "mail", both(texts("mail.magic", "mail.not_there"), links("mail.login")), ""},
	{"callback", "callback", nil, ""},
	{"callback-other", "callback", texts("callback.other"), ""},
	{"password", "password", nil, "old_password"},
	{"password-wrong", "password", failed(403, "old_password", "error.wrong_password"), "old_password"},
	{"lost", "lost", links("lost.login"), "email"},
	{"reset", "reset", links("lost.login"), "new_password"},
	{"mfa-start", "mfa-start", links("page.home"), "password"},
	{"mfa-setup", "mfa-setup", func(p *middleware.Page) { p.Image, p.Secret = sampleCode, "JBSWY3DPEHPK3PXP" }, "code"},
	{"mfa-remove", "mfa-remove", nil, ""},
	{"email", "email", nil, "new_email"},
	{"email-confirm", "email-confirm", nil, ""},
	{"delete", "delete", nil, ""},
	{"delete-wrong", "delete", failed(403, "password", "error.wrong_password"), "password"},
	{"sessions", "sessions", someSessions, ""},
	{"done", "done", func(p *middleware.Page) {
		p.Title = p.Text("done.mfa_on.title")
		texts("done.mfa_on.text")(p)
		links("page.home")(p)
	}, ""},
}

// sampleCode is an image that looks like a QR code.
var sampleCode = func() template.URL {
	const size = 37
	img := image.NewGray(image.Rect(0, 0, size, size))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range img.Pix {
		img.Pix[i] = uint8(random.UintN(2)) * 255
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
}()

func someSessions(p *middleware.Page) {
	now := time.Now()
	p.Sessions = []middleware.PageSession{
		{Device: "Firefox on Windows", Address: "192.0.2.7", Created: now.Add(-50 * time.Hour), LastSeen: now.Add(-10 * time.Second), Current: true},
		{Device: "Safari on iPhone", Address: "2001:db8:85a3:8d3:1319:8a2e:370:7348", Created: now.Add(-40 * 24 * time.Hour), LastSeen: now.Add(-3 * time.Hour), EndURL: "/x"},
		{Device: p.Text("sessions.unknown"), Created: now.Add(-time.Hour), LastSeen: now.Add(-time.Hour), EndURL: "/y"},
	}
}

// refusals are the statuses of the pages of refusals.
var refusals = map[string]middleware.Problem{
	"400": {Status: 400}, "404": {Status: 404}, "405": {Status: 405}, "413": {Status: 413}, "429": {Status: 429},
	"500": {Status: 500}, "502": {Status: 502, Code: "auth_invalid_answer"}, "503": {Status: 503},
}

const logo = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" width="48" height="48">
<style>circle { fill: #0f766e } @media (prefers-color-scheme: dark) { circle { fill: #5eead4 } }</style><circle cx="24" cy="24" r="22"/></svg>`

// openGallery serves the gallery. The query parameter lang is the language, and bare
// leaves out the brand and the links at the foot.
func openGallery(t *testing.T) *httptest.Server {
	t.Helper()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient("http://127.0.0.1:1"), Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, e := range gallery {
		mux.HandleFunc("/"+e.name, func(w http.ResponseWriter, r *http.Request) {
			page := middleware.NewPage(r, e.page)
			if e.build != nil {
				e.build(&page)
			}
			middleware.WritePage(w, r, page)
		})
	}
	for name, problem := range refusals {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) { middleware.Refuse(w, r, &problem) })
	}
	// A role is missing.
	admin := middleware.RequireRole("admin", "analyst")(http.NotFoundHandler())
	mux.HandleFunc("/403", func(w http.ResponseWriter, r *http.Request) {
		admin.ServeHTTP(w, sessiontest.SignedIn(r, "0000000b-0000-4000-8000-00000000000b", "user"))
	})
	opts := []middleware.Option{
		middleware.WithLanguage(func(r *http.Request) string { return r.URL.Query().Get("lang") }),
		middleware.WithTexts("de", map[string]string{"Privacy": "Datenschutz", "Imprint": "Impressum"}),
	}
	bare := middleware.Sessions(m, opts...)(mux)
	branded := middleware.Sessions(m, append(opts,
		middleware.WithBrand("Acme Reports", []byte(logo)), middleware.WithShowPassword(),
		middleware.WithLinks(middleware.Link{Text: "Privacy", URL: "/x"}, middleware.Link{Text: "Imprint", URL: "/x"}))...)(mux)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("bare") {
			bare.ServeHTTP(w, r)
			return
		}
		branded.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv
}
