package middleware

import (
	"encoding/base64"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session"
)

// maxMark bounds the app's mark, in bytes. It is part of every page.
const maxMark = 64 << 10

// WithBrand sets the app's name and its mark. Pages show both above the heading, and the
// title of a page is followed by the name. mark is an image in SVG, PNG, JPEG, GIF or WebP,
// of at most 64 KiB, shown 40 pixels high. An SVG image may have a style for dark pages
// (prefers-color-scheme). If mark is nil, pages show a built-in mark. If mark has another
// type or is too large, pages also show the built-in mark, and the error is logged.
// Default: no name.
//
//	//go:embed logo.svg
//	var logo []byte
//
//	middleware.Sessions(m, middleware.WithBrand("Acme Reports", logo))
func WithBrand(name string, mark []byte) Option {
	url := markURL(mark)
	return func(s *settings) {
		if len(mark) > 0 && url == "" {
			s.log.Error("the mark of WithBrand is not used: it is not an image of at most 64 KiB")
		}
		s.appName, s.appMark = name, url
	}
}

// markURL returns a data URL with an image, or the empty string.
func markURL(image []byte) template.URL {
	if len(image) > maxMark {
		return ""
	}
	// DetectContentType does not know SVG, and returns text/xml or text/plain.
	typ := http.DetectContentType(image)
	if strings.Contains(string(image), "<svg") && strings.HasPrefix(typ, "text/") {
		typ = "image/svg+xml"
	}
	if !strings.HasPrefix(typ, "image/") {
		return ""
	}
	// In an img element, an SVG image runs no script and loads no file. html/template
	// removes data URLs that do not have the type template.URL.
	return template.URL("data:" + typ + ";base64," + base64.StdEncoding.EncodeToString(image))
}

// WithLinks adds links to the foot of all pages, for example to an imprint and a privacy
// policy. If the Text of a link is a key of the catalog, pages show the text of that key;
// see [WithTexts]. Default: none.
//
//	middleware.WithLinks(middleware.Link{Text: "Privacy", URL: "/privacy"})
func WithLinks(links ...Link) Option {
	links = slices.Clone(links)
	return func(s *settings) { s.links = slices.Concat(s.links, links) }
}

// WithShowPassword adds a button to password fields that shows the password. The button
// needs a script of a few lines, which the Content-Security-Policy allows by its hash. A
// browser without scripts shows no button. Default: pages have no script.
func WithShowPassword() Option {
	return func(s *settings) { s.showPassword = true }
}

// WithRememberMe adds a box to the login page with which users choose to stay signed in
// when the browser is closed; see session.WithRemember. It is checked at first if checked
// is true. If the box is not checked, the session lasts at most for the duration unchecked;
// 0 means session.Config.Lifetime. Default: no box, and session.Cookie.NonPersistent
// decides. A login as JSON can have the field remember with and without this option.
func WithRememberMe(checked bool, unchecked time.Duration) Option {
	return func(s *settings) { s.rememberMe, s.remembers, s.forgetAfter = true, checked, unchecked }
}

// WithUserText sets the function that describes the signed-in user on pages, for example by
// a name. It must be safe for concurrent use. If it returns the empty string, pages do not
// show the user. Default: the name, the e-mail address or the ID of session.Session.User,
// the first that is known.
func WithUserText(describe func(*session.Session) string) Option {
	return func(s *settings) { s.userText = describe }
}
