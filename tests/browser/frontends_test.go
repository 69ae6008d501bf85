package browser_test

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// The functions of docs/frontends.md. TestFrontEndsPage compares them with the page.

func sameOrigin(m *session.Manager, files http.Handler) http.Handler {
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /api/me", middleware.Me)
	mux.Handle("GET /api/watch", middleware.Passive(http.HandlerFunc(middleware.Me)))
	mux.Handle("GET /api/orders", middleware.RequireUser(http.HandlerFunc(orders)))
	mux.Handle("/", files)
	return middleware.Sessions(m, middleware.WithAPI("/api/"))(mux)
}

func orders(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `["tea"]`)
}

func withCORS(origin string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if r.Header.Get("Origin") == origin {
			h.Set("Access-Control-Allow-Origin", origin) // "*" is not allowed with cookies
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if r.Method == "OPTIONS" && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE")
			h.Set("Access-Control-Allow-Headers", "Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func whereTo(m *session.Manager, mux *http.ServeMux) http.Handler {
	return middleware.Sessions(m,
		middleware.WithHome("/reports"),
		middleware.WithSignedOutHome("/goodbye"),
		middleware.WithLanding(func(s *session.Session) string {
			if s.HasRole("admin") {
				return "/admin"
			}
			return "" // the page of WithHome
		}),
	)(mux)
}

func frontEndsPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/frontends.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// examples returns the fenced blocks of the page in a language.
func examples(t *testing.T, language string) []string {
	t.Helper()
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(frontEndsPage(t), -1) {
		found = append(found, m[1])
	}
	if len(found) == 0 {
		t.Fatalf("the page has no block in %s", language)
	}
	return found
}

// The tests run the functions of the page, and no others.
func TestFrontEndsPage(t *testing.T) {
	const file = "frontends_test.go"
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]string{}
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			functions[f.Name.Name] = string(source[fset.Position(f.Pos()).Offset:fset.Position(f.End()).Offset])
		}
	}
	shown := strings.Join(examples(t, "go"), "\n")
	for _, m := range regexp.MustCompile(`(?m)^func (\w+)`).FindAllStringSubmatch(shown, -1) {
		if f := functions[m[1]]; f == "" || !strings.Contains(shown, f) {
			t.Errorf("the page shows another function %s than the tests run", m[1])
		}
	}
}

// api is the app of a test, in one of the modes.
type api struct {
	t *testing.T
	m *session.Manager
}

func newAPI(t *testing.T, stored bool, trusted ...string) *api {
	t.Helper()
	auth, err := authtest.Start(authtest.Options{PasswordCost: -1, Accounts: []authtest.Account{
		{Email: "user@example.com", Password: password},
		{Email: "admin@example.com", Password: password, Roles: []string{"user", "admin"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auth.Close)
	cfg := session.Config{
		Auth: synmetrix.NewClient(auth.URL), Keys: []session.SecretKey{session.GenerateKey()},
		TrustedOrigins: trusted, Logger: slog.New(slog.DiscardHandler),
	}
	if stored {
		cfg.Store = memstore.New()
	}
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &api{t, m}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// document serves a page with a body and a script.
func document(body, script string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>Shop</title><link rel=icon href=data:,><h1>Shop</h1>%s<script>%s</script>", body, script)
	})
}

// scripts returns the scripts of the page, and the settings of the development server.
func scripts(t *testing.T) (code, settings string) {
	t.Helper()
	for _, block := range examples(t, "js") {
		if _, config, ok := strings.Cut(block, "export default "); ok {
			settings = strings.TrimSuffix(strings.TrimSpace(config), ";")
			continue
		}
		code += block
	}
	return code, settings
}

// reach waits until a script's value is true. The browser may load another page
// meanwhile.
func (b *tab) reach(script string) {
	b.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(25 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		done, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && ("+script+")"))
		cancel()
		if err == nil && done {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s: not reached: %s (%v)", b.at(), script, err)
		}
	}
}

// signInAndReturn reaches the login page and signs in. The login page leads to a path.
func (b *tab) signInAndReturn(path string) {
	b.t.Helper()
	login := "/login?return_to=" + url.QueryEscape(path)
	b.reach(fmt.Sprintf("location.pathname + location.search === %q", login))
	b.is(login, "Sign in")
	b.signIn("user@example.com", password)
	b.is(path, "Shop")
}

func (b *tab) press(id string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS("#" + id)))
}

// wait evaluates a script whose result is a promise.
func wait[T any](b *tab, script string) T {
	b.t.Helper()
	return evaluate[T](b, script, chromedp.EvalAwaitPromise)
}

// shop is a page with the scripts of docs/frontends.md.
func shop(code string) http.Handler {
	return document(`<button id=orders onclick="call('GET', '/api/orders').then(o => out.textContent = o, () => {})">Orders</button><p id=out>`, code)
}

// useShop opens the shop like a user whose session has ended, and then calls its scripts.
func useShop(b *tab) {
	const here = "/shop?x=1&y=a%20b"
	b.visit(here)
	if me := wait[any](b, "me()"); me != nil {
		b.t.Errorf("a visitor is %v", me)
	}
	b.press("orders")
	b.signInAndReturn(here)
	b.press("orders")
	b.reach("out.textContent === 'tea'")
	if !wait[bool](b, `fetch("/api/watch?optional=true").then(r => r.json()).then(u => u.signed_in)`) {
		b.t.Error("the watch says that no user is signed in")
	}
	const left = "me().then(u => u.lifetime_expires_in > u.session_expires_in && u.session_expires_in > 86000)"
	if !wait[bool](b, left) {
		b.t.Errorf("seconds left: %v", wait[any](b, "me()"))
	}
	wait[any](b, "signOut()")
	if me := wait[any](b, "me()"); me != nil {
		b.t.Errorf("after the sign-out: %v", me)
	}
	if code := wait[string](b, `signIn("user@example.com", "wrong").catch(e => e.message)`); code != "invalid_credentials" {
		b.t.Errorf("a wrong password: %q", code)
	}
	b.is(here, "Shop") // no login page for a wrong password
	if !wait[bool](b, fmt.Sprintf(`signIn("user@example.com", %q).then(u => u.allowed_roles.includes("user"))`, password)) {
		b.t.Error("no user after the sign-in")
	}
}

func TestSinglePageApp(t *testing.T) {
	t.Parallel()
	code, _ := scripts(t)
	for i, stored := range []bool{false, true} {
		if !scale.Turn(i, 2) {
			continue
		}
		a := newAPI(t, stored)
		b := open(t, serve(t, sameOrigin(a.m, shop(code))))
		useShop(b)
		const warned = "new Promise(r => warn({session_expires_in: 100, lifetime_expires_in: %d}, r))"
		if !wait[bool](b, fmt.Sprintf(warned, 101)) || wait[bool](b, fmt.Sprintf(warned, 100)) {
			t.Error("the warning is wrong about whether the session can be extended")
		}
		// If a timer is too long, browsers call its function at once.
		const timer = `(() => {
			const original = setTimeout;
			let ms = 0;
			setTimeout = (show, wait) => { ms = wait; };
			warn({session_expires_in: %d, lifetime_expires_in: %[1]d}, () => {});
			setTimeout = original;
			return ms;
		})()`
		for seconds, ms := range map[int]float64{86_400: 86_280_000, 2_592_000: 0} {
			if got := evaluate[float64](b, fmt.Sprintf(timer, seconds)); got != ms {
				t.Errorf("a session of %d s: the timer is set to %v ms, want %v", seconds, got, ms)
			}
		}
	}
}

// A development server forwards the paths in its settings. Some servers change the Host
// field, as Vite does by default.
func TestDevelopmentServer(t *testing.T) {
	t.Parallel()
	code, settings := scripts(t)
	for _, changeHost := range []bool{true, false} {
		a := newAPI(t, false)
		app, err := url.Parse(serve(t, sameOrigin(a.m, http.NotFoundHandler())))
		if err != nil {
			t.Fatal(err)
		}
		var proxied map[string]string
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(app)
			if !changeHost {
				r.Out.Host = r.In.Host
			}
		}}
		files := shop(code)
		b := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for prefix := range proxied {
				if strings.HasPrefix(r.URL.Path, prefix) {
					proxy.ServeHTTP(w, r)
					return
				}
			}
			files.ServeHTTP(w, r)
		})))
		b.visit("/")
		proxied = evaluate[map[string]string](b, "("+settings+").server.proxy")
		if len(proxied) < 3 {
			t.Fatalf("settings %v", proxied)
		}
		useShop(b)
	}
}

func TestOtherOrigin(t *testing.T) {
	t.Parallel()
	code, _ := scripts(t)
	origin := serve(t, shop(code))
	trusting, strict := newAPI(t, true, origin), newAPI(t, false)
	const reason = `e => e instanceof TypeError ? "not readable" : e.message`
	signIn := func(b *tab, api string) string {
		b.visit("/")
		post := fmt.Sprintf(`callOther(%q, "POST", "/login", {email: "user@example.com", password: %q}).then(u => u.email, %s)`, api, password, reason)
		return wait[string](b, post)
	}
	b := open(t, origin)
	get := func(api, path string) string {
		return wait[string](b, fmt.Sprintf(`callOther(%q, "GET", %q).then(JSON.stringify, %s)`, api, path, reason))
	}
	api := serve(t, withCORS(origin, sameOrigin(trusting.m, http.NotFoundHandler())))
	b.visit("/")
	if got := get(api, "/api/me?optional=true"); got != `{"signed_in":false,"login_url":"/login"}` {
		t.Errorf("a visitor: %s", got)
	}
	if got := get(api, "/api/orders"); got != "unauthenticated" {
		t.Errorf("orders of a visitor: %s", got)
	}
	if got := signIn(b, api); got != "user@example.com" {
		t.Errorf("sign-in: %s", got)
	}
	if got := get(api, "/api/orders"); got != `["tea"]` {
		t.Errorf("orders: %s", got)
	}
	if got := wait[any](b, fmt.Sprintf(`callOther(%q, "POST", "/logout", {})`, api)); got != nil {
		t.Errorf("sign-out: %v", got)
	}
	if got := get(api, "/api/orders"); got != "unauthenticated" {
		t.Errorf("orders after the sign-out: %s", got)
	}
	// Without TrustedOrigins the sign-in is refused, and pages of other origins cannot
	// read the responses.
	if got := signIn(b, serve(t, withCORS(origin, sameOrigin(strict.m, http.NotFoundHandler())))); got != "cross_site" {
		t.Errorf("without TrustedOrigins: %s", got)
	}
	other := b.another(serve(t, shop(code)))
	if got := signIn(other, api); got != "not readable" {
		t.Errorf("from another origin: %s", got)
	}
	other.mu.Lock()
	other.complaints = nil // about CORS
	other.mu.Unlock()
}

// htmxRules handles the element of docs/frontends.md as htmx does: it sends the same
// header fields, and obeys HX-Redirect.
const htmxRules = `
for (const e of document.querySelectorAll("[hx-get]")) e.addEventListener("click", async () => {
	const response = await fetch(e.getAttribute("hx-get"), {headers: {"HX-Request": "true", "HX-Current-URL": location.href, "Accept": "*/*"}});
	const to = response.headers.get("HX-Redirect");
	if (to) { location.href = to; return }
	document.querySelector(e.getAttribute("hx-target")).innerHTML = await response.text();
});`

// turboRules handles the element of docs/frontends.md as Turbo does.
const turboRules = `
for (const frame of document.querySelectorAll("turbo-frame[src]")) (async () => {
	const response = await fetch(frame.getAttribute("src"), {headers: {"Turbo-Frame": frame.id, "X-Turbo-Request-Id": crypto.randomUUID(), "Accept": "text/html, application/xhtml+xml"}});
	const page = new DOMParser().parseFromString(await response.text(), "text/html");
	if (page.querySelector("meta[name=turbo-visit-control][content=reload]")) {
		if (response.ok) location.href = response.url; else document.body.replaceWith(page.body);
		return;
	}
	const content = page.getElementById(frame.id);
	frame.replaceChildren(...(content ? content.childNodes : ["Content missing"]));
})();`

// rows is a part of a page.
func rows(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<turbo-frame id="%s"><p>Rows</p></turbo-frame>`, html.EscapeString(r.Header.Get("Turbo-Frame")))
}

// serveParts serves a page with a body and a script, whose part needs a user, and one
// whose part needs an admin.
func serveParts(t *testing.T, a *api, body, script string) string {
	mux := http.NewServeMux()
	middleware.Mount(mux, a.m)
	mux.Handle("/rows", middleware.RequireUser(http.HandlerFunc(rows)))
	mux.Handle("/secret", middleware.RequireRole("admin")(http.HandlerFunc(rows)))
	mux.Handle("/list", document(body, script))
	mux.Handle("/admin", document(strings.Replace(body, "/rows", "/secret", 1), script))
	return serve(t, middleware.Sessions(a.m)(mux))
}

func TestHTMX(t *testing.T) {
	t.Parallel()
	body := examples(t, "html")[0]
	b := open(t, serveParts(t, newAPI(t, false), body, htmxRules))
	b.visit("/list?page=1")
	more := func() { t.Helper(); b.do(chromedp.Click(chromedp.CSS("[hx-get]"))) }
	more()
	b.signInAndReturn("/list?page=1")
	more()
	b.reach("document.querySelector('#rows').innerText.includes('Rows')")
	b.visit("/admin")
	more()
	b.reach("document.querySelector('#rows').innerText.includes('This page is for accounts with the role admin')")
	b.is("/admin", "Shop")
}

func TestTurboFrame(t *testing.T) {
	t.Parallel()
	body := examples(t, "html")[1]
	b := open(t, serveParts(t, newAPI(t, true), body, turboRules))
	b.visit("/list?page=1")
	b.signInAndReturn("/list?page=1")
	b.reach("document.querySelector('turbo-frame').innerText.includes('Rows')")
	b.visit("/admin")
	b.reach("document.querySelector('turbo-frame').innerText.includes('This page is for accounts with the role admin')")
	b.is("/admin", "Shop")
}

// secure serves h over TLS, and returns a client that keeps cookies, as a native app does.
func secure(t *testing.T, h http.Handler) (address string, client *http.Client) {
	t.Helper()
	srv := httptest.NewTLSServer(h)
	t.Cleanup(srv.Close)
	client = srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var err error
	if client.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	return srv.URL, client
}

// expect fails the test unless the response has the status, and the text in its body or
// in Location.
func expect(t *testing.T, response *http.Response, err error, status int, text string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(body) + response.Header.Get("Location"); response.StatusCode != status || !strings.Contains(got, text) {
		t.Errorf("%s %s: %d %.300s, want %d with %q", response.Request.Method, response.Request.URL.Path, response.StatusCode, got, status, text)
	}
}

func TestNativeApp(t *testing.T) {
	t.Parallel()
	address, client := secure(t, sameOrigin(newAPI(t, false).m, http.NotFoundHandler()))
	get := func(status int, text string) {
		t.Helper()
		response, err := client.Get(address + "/api/orders")
		expect(t, response, err, status, text)
	}
	post := func(path, body string, status int, text string) {
		t.Helper()
		response, err := client.Post(address+path, "application/json", strings.NewReader(body))
		expect(t, response, err, status, text)
	}
	get(401, `"login_url":"/login"`)
	post("/login", fmt.Sprintf(`{"email":"user@example.com","password":%q}`, password), 200, `"user_id"`)
	get(200, "tea")
	post("/logout", "{}", 204, "")
	get(401, "unauthenticated")
}

func TestWhereTo(t *testing.T) {
	t.Parallel()
	a, mux := newAPI(t, false), http.NewServeMux()
	middleware.Mount(mux, a.m)
	address, client := secure(t, whereTo(a.m, mux))
	post := func(path, to string, fields ...string) {
		t.Helper()
		form := url.Values{"password": {password}}
		for i := 0; i < len(fields); i += 2 {
			form.Set(fields[i], fields[i+1])
		}
		response, err := client.PostForm(address+path, form)
		expect(t, response, err, 303, to)
		if got := response.Header.Get("Location"); got != to {
			t.Errorf("%s leads to %q, want %q", path, got, to)
		}
	}
	post("/login", "/admin", "email", "admin@example.com")
	post("/login", "/news", "email", "admin@example.com", "return_to", "/news")
	post("/login", "/reports", "email", "user@example.com")
	post("/logout", "/goodbye", "return_to", "//evil.example")
	post("/logout", "/shop", "return_to", "/shop")
}
