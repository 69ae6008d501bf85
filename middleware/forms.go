package middleware

// form describes the form of a page. The texts are those of the catalog: the label
// of a field is "field.NAME", and the button of a page is "PAGE.button".
type form struct {
	fields []Field
	danger bool // the action of the form cannot be undone
}

// The fields of the forms. Autocomplete has the names of the HTML standard (autofill). With
// them a password manager stores the e-mail address of the login page with the password,
// fills in the current password, and suggests a new one. For "one-time-code", phones offer
// a code from a message.
var (
	emailField       = Field{Kind: "email", Name: "email", Autocomplete: "username"}
	newEmailField    = Field{Kind: "email", Name: "new_email", Autocomplete: "email"}
	passwordField    = Field{Kind: "password", Name: "password", Autocomplete: "current-password"}
	firstPassword    = Field{Kind: "password", Name: "password", Autocomplete: "new-password"}
	oldPasswordField = Field{Kind: "password", Name: "old_password", Autocomplete: "current-password"}
	newPasswordField = Field{Kind: "password", Name: "new_password", Autocomplete: "new-password"}
	codeField        = Field{Kind: "code", Name: "code", Autocomplete: "one-time-code"}
)

// forms are the forms of the pages, by the pages' names. The routes add the hidden
// fields.
var forms = map[string]form{
	"login":         {fields: []Field{emailField, passwordField}},
	"mfa":           {fields: []Field{codeField}},
	"register":      {fields: []Field{emailField, firstPassword}},
	"magic-link":    {fields: []Field{emailField}},
	"callback":      {},
	"password":      {fields: []Field{oldPasswordField, newPasswordField}},
	"lost":          {fields: []Field{emailField}},
	"reset":         {fields: []Field{newPasswordField}},
	"mfa-start":     {fields: []Field{passwordField}},
	"mfa-setup":     {fields: []Field{codeField}},
	"mfa-remove":    {fields: []Field{codeField}, danger: true},
	"email":         {fields: []Field{newEmailField, passwordField}},
	"email-confirm": {},
	"delete":        {fields: []Field{passwordField}, danger: true},
}

// addForm adds the form of the page, if it has one. The fields are copies: all requests
// share the forms, so the values of one request must not get into them.
func (p *Page) addForm() {
	f, ok := forms[p.Name]
	if !ok {
		return
	}
	p.Button, p.Danger = p.Text(p.Name+".button"), f.danger
	for _, field := range f.fields {
		field.Label = p.Text("field." + field.Name)
		if field.Kind == "password" && p.ShowPassword {
			field.Show, field.Hide = p.Text("field.show"), p.Text("field.hide")
			field.ShowLabel, field.HideLabel = p.Text("field.show_label"), p.Text("field.hide_label")
		}
		p.Fields = append(p.Fields, field)
	}
	p.describe()
}

// addRemember adds the box "keep me signed in" to the form.
func (p *Page) addRemember(checked bool) {
	p.Fields = append(p.Fields, Field{
		Kind: "checkbox", Name: "remember", Label: p.Text("field.remember"), Value: "true", Checked: checked,
	})
}

// newMailPage returns the page that directs users to their inbox. kind is "register",
// "magic", "lost" or "email_change". The page is the same whether an account exists or not.
func newMailPage(base Page, kind, email string) Page {
	base.Texts = []string{base.Text("mail."+kind, "email", email), base.Text("mail.not_there")}
	return base
}

// newDonePage returns the page that reports a success. kind is "password",
// "password_reset", "email", "mfa_on" or "mfa_off".
func newDonePage(base Page, kind string) Page {
	base.Title = base.Text("done." + kind + ".title")
	base.Texts = []string{base.Text("done." + kind + ".text")}
	return base
}
