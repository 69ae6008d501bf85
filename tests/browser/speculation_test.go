package browser_test

import (
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// speculator is an app whose start page makes the browser prefetch or prerender another
// page before the user follows the link to it.
type speculator struct {
	*httptest.Server
	ahead chan string // the signed-in user when the page was prefetched
}

var startPage = template.Must(template.New("").Parse(`<!doctype html><title>Start</title><link rel=icon href=data:,>
<h1>Start</h1>
<a href="/page">The page</a>
<script type="speculationrules">{"{{.}}":[{"urls":["/page"],"eagerness":"immediate"}]}</script>`))

func newSpeculator(t *testing.T) *speculator {
	t.Helper()
	auth, err := authtest.Start(authtest.Options{
		PasswordCost: -1, Accounts: []authtest.Account{{Email: "user@example.com", Password: password}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auth.Close)
	cfg := session.Config{
		Auth: synmetrix.NewClient(auth.URL), Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler),
	}
	m, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &speculator{ahead: make(chan string, 10)}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /start/{kind}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = startPage.Execute(w, r.PathValue("kind"))
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, r *http.Request) {
		who := "Visitor"
		if session.FromContext(r.Context()).SignedIn() {
			who = "User"
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>Page</title><link rel=icon href=data:,><h1>%s</h1><form method=post action=/logout><button>Sign out</button></form>", who)
		if r.Header.Get("Sec-Purpose") != "" {
			s.ahead <- who
		}
	})
	s.Server = httptest.NewServer(middleware.Sessions(m)(mux))
	t.Cleanup(s.Close)
	return s
}

// A script of the page, or forms in another window, sign the user in and out.

func (b *tab) signInByScript() {
	b.t.Helper()
	const sent = `fetch("/login", {method: "POST", headers: {"Content-Type": "application/json"}, body: '{"email":"user@example.com","password":"` + password + `"}'})`
	if status := evaluate[int](b, sent+".then(r => r.status)", chromedp.EvalAwaitPromise); status != 200 {
		b.t.Fatalf("the response to the sign-in is %d", status)
	}
}

func (b *tab) signOutByScript() {
	b.t.Helper()
	if status := evaluate[int](b, `fetch("/logout", {method: "POST"}).then(r => r.status)`, chromedp.EvalAwaitPromise); status != 204 {
		b.t.Fatalf("the response to the sign-out is %d", status)
	}
}

func (b *tab) signInByForm() {
	b.t.Helper()
	b.visit("/login?return_to=/page")
	b.signIn("user@example.com", password)
	b.is("/page", "User")
}

func (b *tab) signOutByForm() {
	b.t.Helper()
	b.lead(chromedp.Click(chromedp.CSS("button")))
}

// A prefetched page shows the user who was signed in at that time. The browser does not
// show the page if the user has changed, in the same window or in another one.
func TestPrefetchedPages(t *testing.T) {
	t.Parallel()
	for i, kind := range []string{"prefetch", "prerender"} {
		for j, elsewhere := range []bool{false, true} {
			if !scale.Turn(i+j, 2) {
				continue
			}
			t.Run(fmt.Sprintf("%s, in another window: %v", kind, elsewhere), func(t *testing.T) {
				t.Parallel()
				s := newSpeculator(t)
				b := openWindow(t, s.URL)
				signIn, signOut := b.signInByScript, b.signOutByScript
				if elsewhere {
					other := b.another(b.site)
					signIn, signOut = other.signInByForm, other.signOutByForm
				}
				s.follow(b, kind, "Visitor", signIn, "User")
				s.follow(b, kind, "User", signOut, "Visitor")
			})
		}
	}
}

// follow checks that the browser shows the page of the signed-in user after a change,
// although it has prefetched the page before.
func (s *speculator) follow(b *tab, kind, before string, change func(), after string) {
	b.t.Helper()
	b.visit("/start/" + kind)
	select {
	case who := <-s.ahead:
		if who != before {
			b.t.Fatalf("fetched ahead was the page for %s, want %s", who, before)
		}
	case <-time.After(patience):
		b.t.Fatal("the page is not fetched ahead")
	}
	change()
	b.lead(chromedp.Click(chromedp.CSS("a")))
	b.is("/page", after)
	for len(s.ahead) > 0 {
		<-s.ahead // prefetched once more
	}
}
