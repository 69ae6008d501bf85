package middleware_test

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/middleware"
)

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// The languages have the same texts, with the same values in them.
func TestTextsAreComplete(t *testing.T) {
	english := middleware.Texts("en")
	for _, language := range []string{"en", "de"} {
		texts := middleware.Texts(language)
		for key, text := range texts {
			want, ok := english[key]
			if !ok {
				t.Errorf("%s: the key %s is not in English", language, key)
			}
			if strings.TrimSpace(text) != text || text == "" {
				t.Errorf("%s: %s is %q", language, key, text)
			}
			got, need := placeholder.FindAllString(text, -1), placeholder.FindAllString(want, -1)
			if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(need))) {
				t.Errorf("%s: %s has the values %q, want %q", language, key, got, need)
			}
		}
		for key := range english {
			if texts[key] == "" {
				t.Errorf("%s: there is no text for %s", language, key)
			}
		}
	}
	if middleware.Texts("xx") != nil {
		t.Error("there are texts in an unknown language")
	}
	// A copy, so that a change does not affect other callers.
	middleware.Texts("en")["login.title"] = "changed"
	if middleware.Texts("en")["login.title"] != "Sign in" {
		t.Error("Texts is not a copy")
	}
}

func TestAcceptLanguage(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil, middleware.WithTexts("fr", map[string]string{"login.title": "Se connecter"}),
		middleware.WithTexts("pt-BR", map[string]string{"login.title": "Entrar"}))
	b := a.browser()
	for _, c := range []struct{ accept, lang, title string }{
		{"", "en", "Sign in"},
		{"de", "de", "Anmelden"},
		{"de-AT", "de", "Anmelden"},
		{"DE_at", "de", "Anmelden"},
		{"de-CH-1996, en;q=0.5", "de", "Anmelden"},
		{"en-US,en;q=0.9,de;q=0.8", "en", "Sign in"},
		{"en;q=0.5, de;q=0.6", "de", "Anmelden"},
		{"de;q=0", "en", "Sign in"},
		{"de;q=2, fr", "fr", "Se connecter"},
		{"de;x=1, fr;q=0.1", "fr", "Se connecter"},
		{"xx, *", "en", "Sign in"},
		{"nl, fr-CA;q=0.3", "fr", "Se connecter"},
		{"pt-br", "pt-BR", "Entrar"},
		{"pt", "en", "Sign in"},
		{";;,,=;q", "en", "Sign in"},
		{strings.Repeat("x,", 600) + "de", "en", "Sign in"},
	} {
		page := b.get("/login", "Accept", asPage, "Accept-Language", c.accept)
		page.has(t, "Content-Language", c.lang).has(t, "Vary", "Cookie, Accept-Language")
		if !strings.Contains(page.body, `<html lang="`+c.lang+`">`) || !strings.Contains(page.body, "<title>"+c.title+"</title>") {
			t.Errorf("%.40q: the page is not in %s: %s", c.accept, c.lang, visible(page.body))
		}
	}
	// Texts that are missing in French are in English.
	page := b.get("/login", "Accept", asPage, "Accept-Language", "fr").isPage(t, 200, "E-mail address")
	if strings.Contains(page.body, "login.") {
		t.Error("the page shows a key")
	}
	// Responses to programs are in English, because programs compare codes.
	problem := b.postJSON("/login", `{"email":"a@example.com","password":"x"}`, "Accept-Language", "de").is(t, 401, "invalid_credentials").problem(t)
	if problem["detail"] != middleware.Texts("en")["error.invalid_credentials"] {
		t.Errorf("detail %q", problem["detail"])
	}
}

// The app may choose the language. If it does not, Accept-Language determines it.
func TestWithLanguage(t *testing.T) {
	a := newApp(t, nil, middleware.WithLanguage(func(r *http.Request) string { return r.URL.Query().Get("lang") }))
	b := a.browser()
	for query, lang := range map[string]string{"?lang=de": "de", "?lang=de-DE": "de", "?lang=xx": "en", "": "en"} {
		b.get("/login"+query, "Accept", asPage, "Accept-Language", "en").has(t, "Content-Language", lang)
	}
	b.get("/login", "Accept", asPage, "Accept-Language", "de").has(t, "Content-Language", "de")
}

// Errors are in the language of the page, including errors of the app.
func TestErrorsAreTranslated(t *testing.T) {
	t.Parallel()
	const empty = "The order is empty."
	a := newBareApp(t, nil)
	middleware.Mount(a.mux, a.m)
	a.mux.HandleFunc("/order", func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, &middleware.Problem{Status: 409, Code: "order_empty", Detail: empty})
	})
	a.start(middleware.Sessions(a.m,
		middleware.WithTexts("de", map[string]string{empty: "Die Bestellung ist leer.", "title.order_empty": "Nichts bestellt"}),
		middleware.WithTexts("en", map[string]string{"login.title": "Log in", "error.wrong_code": "Wrong."}),
		middleware.WithTexts("de", map[string]string{"login.button": "Los"}))(a.mux))
	b := a.browser()
	form := []string{"Content-Type", "application/x-www-form-urlencoded", "Accept", asPage}
	german := append(slices.Clone(form), "Accept-Language", "de")
	for _, c := range []struct {
		path, body string
		header     []string
		texts      []string
	}{
		{"/order", "x=y", german, []string{"Die Bestellung ist leer.", "<h1>Nichts bestellt</h1>"}},
		{"/order", "x=y", form, []string{empty, "<h1>Conflict</h1>"}},
		{"/login", "email=a%40example.com&password=x", german, []string{"Fehler: Anmelden", "E-Mail-Adresse oder Passwort ist falsch", "Los</button>"}},
		{"/login", "email=a%40example.com&password=x", form, []string{"Error: Log in", "The e-mail address or the password is wrong"}},
		{"/login", "email=&password=x", german, []string{"Geben Sie Ihre E-Mail-Adresse ein."}},
		{"/login", "email=a&email=b&password=x", german, []string{"Diese Eingabe ist nicht gültig."}},
		{"/logout", "all=perhaps", german, []string{"Das Feld all fehlt oder ist nicht gültig.", "Das hat nicht geklappt"}},
		{"/nowhere", "x=y", german, nil},
	} {
		page := b.do("POST", c.path, c.body, c.header...)
		for _, text := range c.texts {
			if !strings.Contains(page.body, text) {
				t.Errorf("%s %s: no %q: %s", c.path, c.body, text, visible(page.body))
			}
		}
	}
	// A text of the app replaces the built-in one, whichever language it came from.
	c := a.browser()
	c.submit("/login", "email", "mfa@example.com", "password", password).is(t, 303, "")
	c.submit("/login/mfa", "code", wrongCode(t, a)).isPage(t, 401, "Wrong.")
}

// Two codes have the same English text, and may have different ones in other languages.
func TestCodesWithTheSameEnglishText(t *testing.T) {
	a := newBareApp(t, nil)
	a.mux.HandleFunc("/{code}", func(w http.ResponseWriter, r *http.Request) {
		middleware.Refuse(w, r, &middleware.Problem{Status: 503, Code: r.PathValue("code"), Detail: middleware.Texts("en")["error.auth_unavailable"]})
	})
	a.start(middleware.Sessions(a.m, middleware.WithTexts("fr", map[string]string{
		"error.auth_unavailable": "Service en panne.", "error.auth_invalid_answer": "Réponse non valide.",
	}))(a.mux))
	for code, want := range map[string]string{
		"auth_unavailable": "Service en panne.", "auth_invalid_answer": "Réponse non valide.",
		"session_unavailable": "Service en panne.", // as at a sign-in during an outage of the store
	} {
		a.browser().get("/"+code, "Accept", asPage, "Accept-Language", "fr").isPage(t, 503, want)
	}
}

// The page of a refusal says how long the user has to wait.
func TestTooManyAttempts(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0: "Please wait a moment", 30 * time.Second: "Please wait a moment", 12 * time.Minute: "You can try again in 12 minutes.",
	} {
		a := refusing(t, &middleware.Problem{Status: 429, RetryAfter: wait})
		a.browser().submit("/x/", "a", "b").isPage(t, 429, want)
	}
}

// No page of a refusal mixes two languages.
func TestRefusalsAreInOneLanguage(t *testing.T) {
	t.Parallel()
	a := newApp(t, nil)
	b := a.browser()
	const form, multi = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
	english := regexp.MustCompile(`\b([Tt]he|[Rr]equest|is|not|your)\b`)
	for _, c := range []struct {
		path, typ, body string
		status          int
	}{
		{"/login", form, "%", 400},
		{"/login", multi, "--y", 400},
		{"/login", form, strings.Repeat("x", 64<<10+1), 413},
		{"/login", form + "; charset=latin1", "x", 415},
		{"/login", form, "email=a", 422},
		{"/login", form, "email=a&password=%ff", 422},
		{"/login", form, "email=a&password=x", 401},
		{"/login/mfa", form, "code=1", 303},
		{"/logout", form, "all=x", 422},
		{"/login", form, "", 422},
	} {
		page := b.do("POST", c.path, c.body, "Content-Type", c.typ, "Accept", asPage, "Accept-Language", "de")
		if page.StatusCode != c.status {
			t.Errorf("%s %.30q: status %d, want %d", c.path, c.body, page.StatusCode, c.status)
		}
		_, text, _ := strings.Cut(visible(page.body), "<h1>")
		text = regexp.MustCompile(`<[^>]*>|application/[a-z/-]+`).ReplaceAllString(text, "")
		if found := english.FindString(text); found != "" {
			t.Errorf("%s %.30q: the page has %q in it: %s", c.path, c.body, found, text)
		}
	}
}

// Pages show only texts of the catalog.
func TestPagesShowNoKeys(t *testing.T) {
	key := regexp.MustCompile(`\b(page|login|mfa|register|mail|field|error|title|missing|done|notice|time|sessions)\.[a-z_]+\b`)
	for name, page := range gallery(t) {
		if found := key.FindString(visible(page.body)); found != "" {
			t.Errorf("%s shows the key %s", name, found)
		}
	}
	if len(slices.Collect(maps.Keys(middleware.Texts("de")))) < 100 {
		t.Error("there are too few texts")
	}
}
