package browser_test

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// Whatever return_to a login has, and however often it is encoded, the browser stays on
// this host, and loads the address that middleware.ReturnTo returns.
func TestReturnTo(t *testing.T) {
	t.Parallel()
	auth, err := authtest.Start(authtest.Options{
		PasswordCost: -1, Accounts: []authtest.Account{{Email: "user@example.com", Password: password}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auth.Close)
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL), Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>A page</title><link rel=icon href=data:,>"))
	})
	// The mux is not used, because it would clean the path.
	app := httptest.NewServer(middleware.Sessions(m)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "POST /login" {
			mux.ServeHTTP(w, r)
			return
		}
		page(w, r)
	})))
	t.Cleanup(app.Close)

	b := open(t, app.URL)
	b.visit("/")
	hostile := hostileValues(t)
	control, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	led := evaluate[int](b, `(`+string(control)+`).filter(v => {
		try { return new URL(v, location.href).origin !== location.origin } catch { return true }
	}).length`)
	if led < len(hostile)/3 {
		t.Errorf("%d of %d values would lead a browser elsewhere: too few to show anything", led, len(hostile))
	}

	var bodies, want []string
	for i, value := range hostile {
		once := url.PathEscape(value)
		for j, v := range []string{value, "/" + once, "/" + url.PathEscape(once)} {
			if !scale.Turn(i+j, 6) {
				continue
			}
			form := url.Values{"email": {"user@example.com"}, "password": {password}, "return_to": {v}}
			bodies = append(bodies, form.Encode())
			want = append(want, app.URL+cmp.Or(middleware.ReturnTo(v), "/"))
		}
	}
	var got []string
	for some := range slices.Chunk(bodies, 50) {
		text, err := json.Marshal(some)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, evaluate[[]string](b, `Promise.all(`+string(text)+`.map(async body => {
			const headers = {"Content-Type": "application/x-www-form-urlencoded"}
			const response = await fetch("/login", {method: "POST", headers, body})
			return response.redirected ? response.url : response.status + ""
		}))`, chromedp.EvalAwaitPromise)...)
	}
	if len(got) != len(want) || len(got) < scale.Of(150, 300, 900) {
		t.Fatalf("%d ends of %d", len(got), len(want))
	}
	for i, w := range want {
		if got[i] != w {
			t.Errorf("%s leads to %s, want %s", bodies[i], got[i], w)
		}
	}
}

// hostileValues reads the values of the tests of package middleware.
func hostileValues(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../middleware/testdata/return_to.txt")
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		value, err := strconv.Unquote(line)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, value)
	}
	return values
}
