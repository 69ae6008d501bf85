package browser_test

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/tests/internal/proc"
)

// walk is a user who visits the pages by keyboard alone, in one language, style and
// width. Every page is checked.
type walk struct {
	*tab
	dashboard *proc.Process
	language  string
	view      string
	texts     map[string]string
	key       string // of the second factor
}

// TestFlows walks through all flows of accounts, each in one view without LONG=1.
func TestFlows(t *testing.T) {
	t.Parallel()
	for i, flow := range []struct {
		name string
		walk func(user func() *walk)
	}{
		{"registration", func(user func() *walk) { walkRegistration(user(), user()) }},
		{"profile", func(user func() *walk) { walkProfile(user()) }},
		{"magic link", func(user func() *walk) { walkMagicLink(user(), user()) }},
		{"passwords", func(user func() *walk) { walkPasswords(user()) }},
	} {
		for j, v := range views {
			if !scale.Long() && (3*i+j)%len(views) != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", flow.name, v), func(t *testing.T) {
				t.Parallel()
				dashboard := proc.Start(t, "dashboard", []string{"STORE=memory", proc.Patient})
				flow.walk(func() *walk {
					w := &walk{tab: open(t, dashboard.URL), dashboard: dashboard, language: v.language, view: v.String(), texts: middleware.Texts(v.language)}
					w.speak(v.language)
					w.emulate(v.scheme, v.width)
					return w
				})
			})
		}
	}
}

// on fails the test unless the browser shows the page with a path and a heading, given by
// its key, and faults finds none. TestPages also runs axe on the page.
func (w *walk) on(path, key string) {
	w.t.Helper()
	w.is(path, w.texts[key])
	for _, fault := range w.faults(w.language) {
		w.t.Errorf("%s: %s", path, fault)
	}
	w.shoot("flow-" + strings.NewReplacer("/", "_", "?", "_", "%2F", "_").Replace(path[1:]) + "-" + w.view)
}

// follow moves the focus with Tab to the control with a text, given by its key, and
// presses Enter.
func (w *walk) follow(key string) int {
	w.t.Helper()
	for range 30 {
		w.do(chromedp.KeyEvent(kb.Tab))
		if evaluate[string](w.tab, "document.activeElement.innerText") == w.texts[key] {
			return w.lead(chromedp.KeyEvent(kb.Enter))
		}
	}
	w.t.Fatalf("%s: the keyboard does not reach %q", w.at(), w.texts[key])
	return 0
}

// fill types values into the fields of the form, from the first to the last, and
// sends it with Enter. fields has alternating names and values.
func (w *walk) fill(fields ...string) int {
	w.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		if i > 0 {
			w.do(chromedp.KeyEvent(kb.Tab))
		}
		w.enter(fields[i], fields[i+1])
	}
	return w.lead(chromedp.KeyEvent(kb.Enter))
}

// mail returns the match of pattern in the last e-mail to an address. The dashboard
// prints its e-mails.
func (w *walk) mail(to, pattern string) string {
	w.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		lines := w.dashboard.Stdout()
		for i := len(lines) - 1; i >= 0; i-- {
			if strings.HasPrefix(lines[i], "e-mail to "+to+":") {
				if found := regexp.MustCompile(pattern).FindString(lines[i]); found != "" {
					return found
				}
			}
		}
	}
	w.t.Fatalf("there is no e-mail to %s with %s", to, pattern)
	return ""
}

// click opens a link of an e-mail, like a click in another program.
func (w *walk) click(link string) int {
	w.t.Helper()
	return w.lead(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.Navigate, page.NavigateParams{URL: link})
		return err
	}))
}

const anyLink = `http://\S+`

// walkRegistration registers in one browser, and opens the link there.
func walkRegistration(w, other *walk) {
	w.t.Helper()
	const email = "new@example.com"
	w.visit("/dashboard")
	w.on("/login?return_to=%2Fdashboard", "login.title")
	w.follow("login.register")
	w.on("/register?return_to=%2Fdashboard", "register.title")
	// The service rejects the password, and the form still has the address.
	if status := w.fill("email", email, "password", "x"); status != 422 {
		w.t.Errorf("a short password: status %d", status)
	}
	w.on("/register?return_to=%2Fdashboard", "register.title")
	if typed := evaluate[string](w.tab, "document.getElementById('email').value"); typed != email {
		w.t.Errorf("the form has the address %q", typed)
	}
	w.fill("password", password)
	w.on("/register?return_to=%2Fdashboard", "mail.title")
	w.shows(email)
	// The page for an address that is taken is the same.
	other.visit("/register")
	other.fill("email", "viewer@example.com", "password", password)
	other.on("/register", "mail.title")

	w.click(w.mail(email, anyLink))
	w.is("/dashboard", w.dashboardTitle())
}

func (w *walk) dashboardTitle() string {
	return map[string]string{"en": "Dashboard", "de": "Übersicht"}[w.language]
}

// walkMagicLink requests a link in one browser. In another browser the link leads to a
// page with a button.
func walkMagicLink(w, other *walk) {
	w.t.Helper()
	const email = "analyst@example.com"
	requestLink := func() string {
		w.t.Helper()
		before := len(w.dashboard.Stdout())
		w.visit("/login")
		w.follow("login.magic")
		w.on("/magic-link", "magic-link.title")
		w.fill("email", email)
		w.on("/magic-link", "mail.title")
		for end := time.Now().Add(patience); len(w.dashboard.Stdout()) == before && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		return w.mail(email, anyLink)
	}
	other.click(requestLink())
	other.is(other.at(), w.texts["callback.title"])
	for _, fault := range other.faults(w.language) {
		w.t.Errorf("/callback: %s", fault)
	}
	other.shoot("flow-callback-" + w.view)
	other.follow("callback.button")
	other.visit("/dashboard")
	other.is("/dashboard", w.dashboardTitle())

	link := requestLink()
	w.click(link)
	w.visit("/dashboard")
	w.is("/dashboard", w.dashboardTitle())
	// A link works once.
	if status := other.click(link); status == 200 {
		w.t.Errorf("a used link: status %d", status)
	}
	if status := w.visit("/callback"); status != 400 {
		w.t.Errorf("a link without a token: status %d", status)
	}
	w.on("/callback", "title.invalid_request")
}

// walkPasswords resets a lost password with the code of an e-mail, signs in with the
// new one, and changes it again.
func walkPasswords(w *walk) {
	w.t.Helper()
	const email, second, third = "viewer@example.com", "a second password", "and a third one"
	w.visit("/login")
	w.follow("login.lost")
	w.on("/password/lost", "lost.title")
	w.fill("email", email)
	w.on("/password/lost", "mail.title")
	w.follow("mail.reset")
	w.on("/password/reset", "reset.title")
	if status := w.fill("ticket", "00000000-0000-4000-8000-000000000000", "new_password", second); status != 401 {
		w.t.Errorf("a wrong code: status %d", status)
	}
	w.on("/password/reset", "reset.title")
	w.shows(w.texts["error.invalid_ticket"])
	w.fill("ticket", w.mail(email, `[0-9a-f-]{36}`), "new_password", second)
	w.on("/login?done=password_reset", "login.title")
	w.shows(w.texts["notice.password_reset"])
	w.fill("email", email, "password", second)

	w.visit("/dashboard")
	w.follow("password.title")
	w.on("/password", "password.title")
	if status := w.fill("old_password", "not it", "new_password", third); status != 403 {
		w.t.Errorf("a wrong password: status %d", status)
	}
	w.on("/password", "password.title")
	w.shows(w.texts["error.wrong_password"])
	w.fill("old_password", second, "new_password", third)
	w.on("/password?done=1", "done.password.title")
	w.follow("page.home")
	w.is("/", map[string]string{"en": "Welcome back", "de": "Willkommen zurück"}[w.language])
}

// walkProfile turns the second factor on and off, changes the e-mail address, and
// deletes the account.
func walkProfile(w *walk) {
	w.t.Helper()
	const email, newEmail = "admin@example.com", "new-admin@example.com"
	w.visit("/login")
	w.fill("email", email, "password", password)
	open := func(path, key string) {
		w.t.Helper()
		w.visit("/dashboard")
		w.follow(key)
		w.on(path, key)
	}
	code := func() string {
		w.t.Helper()
		code, err := totp.GenerateCode(w.key, time.Now())
		if err != nil {
			w.t.Fatal(err)
		}
		return code
	}
	home := func() {
		w.t.Helper()
		w.follow("page.home")
		w.is("/", map[string]string{"en": "Welcome back", "de": "Willkommen zurück"}[w.language])
	}

	open("/mfa/setup", "mfa-start.title")
	if status := w.fill("password", "wrong"); status != 403 {
		w.t.Errorf("a wrong password: status %d", status)
	}
	w.on("/mfa/setup", "mfa-start.title")
	w.fill("password", password)
	w.on("/mfa/setup", "mfa-setup.title")
	w.key = evaluate[string](w.tab, "document.querySelector('.key code').innerText")
	if size := evaluate[int](w.tab, "document.querySelector('.qr').naturalWidth"); size < 100 {
		w.t.Errorf("the QR code is %d pixels wide", size)
	}
	if status := w.fill("code", "000000"); status != 403 {
		w.t.Errorf("a wrong code: status %d", status)
	}
	w.on("/mfa/enable", "mfa-setup.title")
	w.fill("code", code())
	w.on("/mfa/enable?done=1", "done.mfa_on.title")
	home()

	open("/mfa/remove", "mfa-remove.title")
	w.do(chromedp.Focus(chromedp.CSS("[name=code]")))
	w.fill("code", code())
	w.on("/mfa/remove?done=1", "done.mfa_off.title")
	home()

	open("/email", "email.title")
	w.fill("new_email", newEmail, "password", password)
	w.on("/email", "mail.title")
	w.follow("mail.reset")
	w.on("/email/confirm", "email-confirm.title")
	w.fill("ticket", w.mail(newEmail, `[0-9a-f-]{36}`))
	w.on("/email/confirm?done=1", "done.email.title")
	home()

	open("/account/delete", "delete.title")
	w.do(chromedp.Focus(chromedp.CSS("[name=password]")))
	w.fill("password", password)
	w.on("/login?done=account_deleted", "login.title")
	w.shows(w.texts["notice.account_deleted"])
}
