package middleware

import (
	"cmp"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/synmetrix/session"
)

// Page is the data of this package's page templates. Its strings are plain text in the
// reader's language, and html/template escapes them. Each page sets only some of the
// fields, and the built-in templates show those.
//
// The pages, with the fields of their forms:
//
//	login       email, password, return_to
//	mfa         code, return_to
//	register    email, password, return_to
//	magic-link  email, return_to
//	mail        (no form) the user has to check the inbox
//	callback    (hidden fields) one button, to confirm the sign-in
//	password    old_password, new_password
//	lost        email
//	reset       ticket, new_password
//	mfa-start   password
//	mfa-setup   code
//	mfa-remove  code
//	email       new_email, password
//	email-confirm  ticket
//	delete      password
//	sessions    (a form for each session)
//	done        (no form) reports a success
//	refusal     (no form) the request was refused
type Page struct {
	// Name is the name of the page, as in the list.
	Name string

	// Lang is the language of the page, a tag of BCP 47; see [WithLanguage].
	Lang string

	// App is the app's name, and Mark the address of its mark, a data URL. Both
	// may be empty; see [WithBrand].
	App  string
	Mark template.URL

	// Title is the page's heading. The title of the document is FullTitle.
	Title string

	// Status is the HTTP status of the response.
	Status int

	// Code is the code of the error, as in [Problem], or empty.
	Code string

	// Message describes the error to the user, or is empty.
	Message string

	// Field is the name of the invalid form field, or empty. Its [Field] has
	// Message as its Error.
	Field string

	// Notice reports the success of an earlier request to the user, or is empty.
	Notice string

	// Texts are the paragraphs between the heading and the form.
	Texts []string

	// User describes the signed-in user, or is empty; see [WithUserText].
	User string

	// Action is the address that the form posts to. Empty means the page's own
	// address.
	Action string

	// Fields are the fields of the form, and Button the text of its button. A page without
	// a form has no Button. Danger is true if the action of the form cannot be undone.
	Fields []Field
	Button string
	Danger bool

	// ShowPassword is true if the page has a script that lets the user reveal
	// a password; see [WithShowPassword].
	ShowPassword bool

	// Image is a QR code for an authenticator app, a data URL, and Secret the
	// key in it as text. Only the page "mfa-setup" has them.
	Image  template.URL
	Secret string

	// Sessions are the user's sessions. Only the page "sessions" has them.
	Sessions []PageSession

	// Email is the e-mail address that the user has entered. The form shows it
	// again after an error.
	Email string

	// ReturnTo is the address that the user returns to after the sign-in, for
	// a hidden form field. The function ReturnTo has accepted it, and it is
	// below session.Config.BasePath.
	ReturnTo string

	// LoginURL is the address of the login page if this page should link to
	// it, or empty.
	LoginURL string

	// Home is the address of the app's start page; see [WithHome].
	Home string

	// Retry is true if the same request may succeed later, so that the page
	// should offer to reload it.
	Retry bool

	// Links are the links below the contents, and Footer those of [WithLinks].
	Links  []Link
	Footer []Link

	// Frame is the ID of the Turbo frame that shows the page, or empty.
	Frame string

	fragment  bool      // the page is a part of another page, by the template "fragment"
	reload    bool      // for TurboReload
	referrer  string    // the Referrer-Policy
	ancestors string    // the sources of frame-ancestors
	language  *language // nil: English
	now       time.Time // one for all times of the page, so that they agree
}

// Field is a field of a page's form.
type Field struct {
	// Kind is "email", "password", "code", "text", "checkbox" or "hidden". A hidden
	// field has only a Name and a Value.
	Kind string

	// Name is the name of the field in the form, and the ID of its element.
	Name string

	// Label is the visible name of the field.
	Label string

	// Value is the value that the field has at first. Passwords and codes have
	// none.
	Value string

	// Checked is true for a checkbox that is checked at first.
	Checked bool

	// Autocomplete is the attribute by which password managers know the field.
	Autocomplete string

	// Error describes what is wrong with the field, or is empty.
	Error string

	// Focus is true for the field that should have the focus at first.
	Focus bool

	// Show and Hide are the texts of the button that reveals a password.
	// ShowLabel and HideLabel are its names for screen readers. They are empty
	// if there is no such button.
	Show, Hide, ShowLabel, HideLabel string

	described string // IDs of the elements that describe the field
}

// DescribedBy returns the attribute aria-describedby, or the empty string.
func (f Field) DescribedBy() string { return f.described }

// Link is a link on a page. Button is true if it is shown as a button.
type Link struct {
	Text   string
	URL    string
	Button bool
}

// PageSession is an entry of the page with the user's sessions.
type PageSession struct {
	// Device describes the browser.
	Device string

	// Address is the client's address at the sign-in, or empty.
	Address string

	// Created is the time of the sign-in, and LastSeen that of the last use.
	Created, LastSeen time.Time

	// Current is true for the session of the request.
	Current bool

	// EndURL is the address that a form posts to, to end the session, or empty.
	EndURL string
}

// NewPage returns a page with the given name, for an app's own templates that embed those
// of [Templates]. The page has the language, the brand and the links of the settings. If
// the name is that of a page of this package, it also has that page's heading and form. r
// must be inside [Sessions].
func NewPage(r *http.Request, name string) Page {
	s := settingsOf(r.Context())
	lang := s.languageOf(r)
	page := Page{
		Name: name, Lang: lang.tag, Status: http.StatusOK,
		App: s.appName, Mark: s.appMark, Home: s.homeURL(), ShowPassword: s.showPassword,
		language: lang, now: time.Now(),
	}
	for _, link := range s.links {
		link.Text = lang.text(link.Text)
		page.Footer = append(page.Footer, link)
	}
	if lang.has(name + ".title") {
		page.Title = lang.text(name + ".title")
	}
	if lang.has(name + ".text") {
		page.Texts = []string{lang.text(name + ".text")}
	}
	page.addForm()
	return page
}

// redacted replaces secret contents in logs.
const redacted = "[redacted]"

// Format implements fmt.Formatter. A page may contain a key or an e-mail address, so its
// contents are never printed.
func (p Page) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("middleware.Page" + redacted)) }

// LogValue implements slog.LogValuer; see [Page.Format].
func (p Page) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler; see [Page.Format].
func (p Page) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Format implements fmt.Formatter. The value of a field may be secret.
func (f Field) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("middleware.Field" + redacted)) }

// LogValue implements slog.LogValuer; see [Field.Format].
func (f Field) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler; see [Field.Format].
func (f Field) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// Text returns a text in the language of the page, by its key; see [WithTexts].
// args are alternating names and values, which replace the names in braces.
func (p Page) Text(key string, args ...string) string {
	if p.language == nil {
		return builtInLanguages["en"].text(key, args...)
	}
	return p.language.text(key, args...)
}

// FullTitle returns the title of the document: the heading, with a mark if the form has an
// error, and the app's name.
func (p Page) FullTitle() string {
	title := p.Title
	if p.Message != "" && p.Button != "" {
		title = p.Text("page.error_title", "title", title)
	}
	if p.App != "" {
		title = p.Text("page.title", "title", title, "app", p.App)
	}
	return title
}

// Reveals reports whether the page has the script that reveals a password.
func (p Page) Reveals() bool {
	return p.ShowPassword && slices.ContainsFunc(p.Fields, func(f Field) bool { return f.Show != "" })
}

// TurboReload reports whether the page has the meta element that makes Turbo load it as a
// whole, instead of inserting it into the page or the frame that requested it. The page's
// Content-Security-Policy would not apply there, and a frame would show an error in place
// of the page. TurboReload returns false for the response to a form, except in a frame,
// because Turbo would load the form again without its error.
func (p Page) TurboReload() bool { return p.reload }

// showUser sets the text that describes the signed-in user.
func (p *Page) showUser(r *http.Request) {
	s := session.FromContext(r.Context())
	if !s.SignedIn() {
		return
	}
	u := s.User()
	p.User = cmp.Or(u.Name, u.Email, u.ID)
	if describe := settingsOf(r.Context()).userText; describe != nil {
		p.User = describe(s)
	}
}

// addLink adds a link below the contents. key is the key of its text.
func (p *Page) addLink(key, url string) {
	p.Links = append(p.Links, Link{Text: p.Text(key), URL: url})
}

// addButton adds a link that looks like a button.
func (p *Page) addButton(key, url string) {
	p.Links = append(p.Links, Link{Text: p.Text(key), URL: url, Button: true})
}

// check sets whether a checkbox of the form is checked.
func (p *Page) check(name string, checked bool) {
	for i := range p.Fields {
		if p.Fields[i].Name == name {
			p.Fields[i].Checked = checked
		}
	}
}

// set sets the value of a field of the form. Users enter passwords and codes again: a page
// with a password could stay in the history or in a cache, and a code is valid once.
func (p *Page) set(name, value string) {
	switch name {
	case "email":
		p.Email = value
	case "return_to":
		p.ReturnTo = value
	}
	for i := range p.Fields {
		if p.Fields[i].Name == name && p.Fields[i].Kind != "password" && p.Fields[i].Kind != "code" {
			p.Fields[i].Value = value
		}
	}
}

// hide adds a hidden field to the form, unless its value is empty.
func (p *Page) hide(name, value string) {
	if value != "" {
		p.Fields = append(p.Fields, Field{Kind: "hidden", Name: name, Value: value})
	}
}

// fail adds a problem with the form to the page. The message is at the invalid field. The
// message about rejected credentials is at no field if the form has several, because the
// response must not show whether the address or the password is wrong.
func (p *Page) fail(problem Problem) {
	p.Status, p.Code = problem.Status, problem.Code
	p.Message = p.messageOf(&problem)
	p.Field = ""
	visible := p.visible()
	for _, f := range visible {
		if f.Name == problem.Field || len(visible) == 1 && problem.Code == codeInvalidCredentials {
			p.Field = f.Name
		}
	}
}

// warn shows an error that is not the response to the form. key is the key of its
// text.
func (p *Page) warn(key string) { p.Message = p.Text(key) }

// messageOf returns the text of a problem in the language of the page. The detail for a
// missing or invalid field is written for programs, with the name of the field in the
// request, so the page has another text.
func (p *Page) messageOf(problem *Problem) string {
	// The detail starts with the words of fieldProblem. Users do not know the field's name
	// in the request, so the page has a text that fits the visible label.
	lang := p.language
	if problem.Field != "" {
		about := "The field " + problem.Field + " "
		switch {
		case strings.HasPrefix(problem.Detail, about) && p.Button == "":
			return lang.text("invalid.named", "field", problem.Field)
		case problem.Detail == about+"is missing." && lang.has("missing."+problem.Field):
			return lang.text("missing." + problem.Field)
		case problem.Detail == about+"is missing.":
			return lang.text("missing")
		case strings.HasPrefix(problem.Detail, about):
			return lang.text("invalid")
		}
	}
	if problem.Code == codeTooMany && problem.RetryAfter >= time.Minute && problem.Detail == english["error."+codeTooMany] {
		const roundUp = 29 * time.Second // an attempt that is too early is refused again
		return lang.text("error.too_many_until", "time", p.relative(problem.RetryAfter+roundUp))
	}
	return lang.detail(problem.Code, problem.Detail)
}

// visible returns the fields that the user fills in, as pointers into p.Fields.
func (p *Page) visible() []*Field {
	var visible []*Field
	for i := range p.Fields {
		if p.Fields[i].Kind != "hidden" {
			visible = append(visible, &p.Fields[i])
		}
	}
	return visible
}

// describe associates the fields with the texts about them, and sets the focus: to
// the invalid field, otherwise to the first one that is empty. A form that cannot
// be undone gets no focus, so that its text is read first. Screen readers read only
// the field that has the focus and the elements in its aria-describedby, so the first
// field refers to the text above the form ("intro"), and all refer to an error of the
// whole form ("error").
func (p *Page) describe() {
	p.Fields = slices.Clone(p.Fields) // the page may be a copy
	// Only one field may have the focus. A form with an error has it even if its action
	// cannot be undone, because the user has read its text before.
	focused := p.Danger && p.Message == ""
	for i, f := range p.visible() {
		var ids []string
		f.Error, f.Focus = "", false
		switch {
		case p.Message == "":
		case p.Field == "":
			ids = append(ids, "error")
		case p.Field == f.Name:
			f.Error = p.Message
			ids = append(ids, f.Name+"-error")
		}
		if i == 0 && len(p.Texts) > 0 {
			ids = append(ids, "intro")
		}
		f.described = strings.Join(ids, " ")
		if wants := f.Error != "" || p.Field == "" && f.Value == ""; wants && !focused {
			f.Focus, focused = true, true
		}
	}
}
