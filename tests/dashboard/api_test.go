package dashboard_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

func testPrefs(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	if a := b.get("/api/prefs").is(200); strings.TrimSpace(a.body) != "{}" {
		t.Errorf("without any there is %s", a.body)
	}
	values := map[string]string{
		"theme":  `"dark"`,
		"null":   `null`,
		"yes":    `true`,
		"number": `12345678901234567890.5e1`,
		"list":   `[1,"two",{"three":[]}]`,
		"object": `{"a":{"b":"c"}}`,
		"text":   `"<b>&amp; \u00e9 é 😀 \" \\ \n"`,
		"spaces": " \n\t7 ",
		"a-z_09": `""`,
	}
	for key, value := range values {
		if a := b.put(key, value).is(204); a.body != "" {
			t.Errorf("a 204 has the body %q", a.body)
		}
	}
	got := map[string]json.RawMessage{}
	b.get("/api/prefs").is(200).json(&got)
	if len(got) != len(values) {
		t.Errorf("%d values, want %d", len(got), len(values))
	}
	for key, value := range values {
		if !sameJSON(got[key], []byte(value)) {
			t.Errorf("%s is %s, want %s", key, got[key], value)
		}
	}
	b.put("theme", `"light"`).is(204)
	if now := b.get("/api/prefs").object()["theme"]; now != "light" {
		t.Errorf("theme is %v after a change", now)
	}
	if a := b.page("/api/prefs").is(200); a.header.Get("Content-Type") != typeJSON {
		t.Error("/api/prefs is a page")
	}

	// Values belong to the session.
	if a := s.signedIn(t, viewer).get("/api/prefs").is(200); strings.TrimSpace(a.body) != "{}" {
		t.Errorf("another session of the user has the values %s", a.body)
	}
	b.postForm("/logout").is(303)
	b.postForm("/login", "email", viewer, "password", password).is(303)
	if a := b.get("/api/prefs").is(200); strings.TrimSpace(a.body) != "{}" {
		t.Errorf("a new session has the values %s", a.body)
	}
}

func sameJSON(a, b []byte) bool {
	decode := func(text []byte) (v any, ok bool) {
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		err := d.Decode(&v)
		return v, err == nil
	}
	x, xok := decode(a)
	y, yok := decode(b)
	return xok && yok && fmt.Sprintf("%#v", x) == fmt.Sprintf("%#v", y)
}

func testPrefLimits(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	text := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }

	b.put("edge", text(1024)).is(204)
	b.put("edge", strings.Repeat(" ", 1000)+text(1024)).is(204)
	for _, wide := range []string{"<", "&", "\u2028", "\u00e9", "\U0001F600"} { // which some write in six bytes
		value := `"` + strings.Repeat(wide, 1022/len(wide)) + `"`
		b.put("edge", value).is(204)
		if got := b.get("/api/prefs").is(200).object()["edge"]; `"`+got.(string)+`"` != value {
			t.Errorf("%q has become %.40q", wide, got)
		}
	}
	b.put("over", text(1025)).problem(422, "invalid_request")
	b.put("over", text(64<<10)).problem(422, "invalid_request")
	b.put("over", text(64<<10+1)).problem(413, "invalid_request")
	b.put(strings.Repeat("k", 64), `1`).is(204)
	for _, key := range []string{strings.Repeat("k", 65), "Theme", "a.b", "a%20b", "a%2Fb", "%C3%A9", "a~", "%00", "..%2f"} {
		b.put(key, `1`).problem(422, "invalid_request")
	}
	for _, body := range []string{"", "{", "tru", `"a" "b"`, `{"a":1,}`, "\"\xff\"", "NaN", "'a'"} {
		b.put("theme", body).problem(400, "invalid_request")
	}
	for _, typ := range []string{"text/plain", typeForm, "application/json; charset=latin1", "nonsense/"} {
		b.do("PUT", "/api/prefs/theme", `1`, "Content-Type", typ).problem(415, "invalid_request")
	}
	b.do("PUT", "/api/prefs/theme", `1`, "Content-Type", "application/json; charset=UTF-8").is(204)
	b.do("PUT", "/api/prefs/theme", `1`).is(204) // what else should it be
	b.do("PUT", "/api/prefs/", `1`).is(404)
	b.do("PUT", "/api/prefs/a/b", `1`).is(404)

	b = s.signedIn(t, viewer)
	for i := range 100 {
		b.put(fmt.Sprintf("key-%d", i), `1`).is(204)
	}
	b.put("one-more", `1`).problem(422, "invalid_request")
	b.put("key-99", `2`).is(204)
	if all := b.get("/api/prefs").object(); len(all) != 100 || all["key-99"] != 2.0 {
		t.Errorf("%d values, the last is %v", len(all), all["key-99"])
	}
}

// A value that does not fit into cookies is rejected, and no value changes. A store
// accepts it.
func testPrefsTooLarge(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	kept := 0
	for i := range 100 {
		a := b.put(fmt.Sprintf("key-%d", i), `"`+strings.Repeat("x", 1022)+`"`)
		if tt.inCookies() && i > 3 && a.status != 204 {
			a.problem(413, "session_too_large")
			break
		}
		a.is(204)
		kept++
	}
	if tt.inCookies() == (kept == 100) {
		t.Errorf("%d values of 1 KiB were kept", kept)
	}
	if all := b.get("/api/prefs").object(); len(all) != kept {
		t.Errorf("%d values, want %d", len(all), kept)
	}
	for _, c := range b.cookies() {
		if len(c.Name)+len(c.Value) > 4096 {
			t.Errorf("%s has %d bytes", c.Name, len(c.Value))
		}
	}
	b.page("/dashboard").isPage(200)
}

// upstream is an API that records the tokens of its calls.
type upstream struct {
	*httptest.Server
	mu     sync.Mutex
	tokens []string
}

func newUpstream(t *testing.T, handler http.HandlerFunc) *upstream {
	u := &upstream{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.tokens = append(u.tokens, r.Header.Get("Authorization"))
		u.mu.Unlock()
		handler(w, r)
	}))
	t.Cleanup(u.Close)
	return u
}

// called returns the tokens of the calls since the last call.
func (u *upstream) called() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	tokens := u.tokens
	u.tokens = nil
	return tokens
}

func testUpstream(t *testing.T, tt target) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	var mode atomic.Value
	api := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.RequestURI() != "/v1/x?y=z" || r.Header.Get("Cookie") != "" {
			t.Errorf("it received %s %s with the cookies %q", r.Method, r.URL, r.Header.Get("Cookie"))
		}
		w.Header().Set("Set-Cookie", "theirs=1")
		w.Header().Set("Location", other.URL)
		switch mode.Load() {
		case "teapot":
			w.Header().Set("Content-Type", "application/vnd.tea+json")
			w.WriteHeader(418)
			io.WriteString(w, `{"short":"stout"}`)
		case "redirect":
			w.WriteHeader(302)
		case "refuses":
			w.WriteHeader(401)
		case "html":
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `<script>alert(1)</script>`)
		case "untyped":
			w.Header()["Content-Type"] = nil
			io.WriteString(w, "<html>hi")
		case "compressed":
			w.Header().Set("Content-Encoding", "br")
			io.WriteString(w, "\x0b\x02\x80hi\x03")
		case "empty":
			w.WriteHeader(204)
		case "cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
		}
	})
	s := start(t, tt, authtest.Options{}, "UPSTREAM_URL="+api.URL+"/v1/x?y=z")
	b := s.signedIn(t, viewer)
	get := func(what string) *response { t.Helper(); mode.Store(what); return b.get("/api/upstream") }

	a := get("teapot").is(418)
	if a.body != `{"short":"stout"}` || a.header.Get("Content-Type") != "application/vnd.tea+json" {
		t.Errorf("got %q, %s", a.header.Get("Content-Type"), a.body)
	}
	if _, ok := setCookies(a)["theirs"]; ok {
		t.Error("the API has set a cookie here")
	}
	if a := get("redirect").is(302); a.header.Get("Location") != "" || elsewhere.Load() > 0 {
		t.Error("the redirect was followed or passed on")
	}
	get("refuses").is(401)
	b.get("/api/me").is(200)
	if a := get("html").is(200); !strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") {
		t.Error("a page from elsewhere could run here")
	}
	if a := get("untyped").is(200); a.header["Content-Type"] != nil || a.body != "<html>hi" {
		t.Errorf("a response without a type has become %q: %s", a.header["Content-Type"], a.body)
	}
	if a := get("compressed").is(200); a.header.Get("Content-Encoding") != "br" || len(a.body) != 6 {
		t.Errorf("a compressed response has become %q: %q", a.header.Get("Content-Encoding"), a.body)
	}
	if a := get("empty").is(204); a.body != "" {
		t.Errorf("no content has become %q", a.body)
	}
	if a := b.do("HEAD", "/api/upstream", "").is(204); a.body != "" {
		t.Errorf("HEAD has the body %q", a.body)
	}
	mode.Store("cut")
	if a, err := b.try(b.request("GET", "/api/upstream", nil)); err == nil {
		t.Errorf("half a response was passed on as a whole one: %d %q", a.status, a.body)
	}
	tokens := api.called()
	for _, token := range tokens {
		if !strings.HasPrefix(token, "Bearer eyJ") {
			t.Errorf("it was called with %.12q", token)
		}
	}

	api.Close()
	b.get("/api/upstream").problem(502, "upstream_unavailable")
	b.page("/api/upstream").problem(502, "upstream_unavailable")

	start(t, tt, authtest.Options{}).signedIn(t, viewer).get("/api/upstream").problem(404, "not_found")
}

// Each event is sent at once, and the token is refreshed during the stream.
func testEvents(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{AccessLife: 2 * time.Second})
	b := s.signedIn(t, viewer)

	// The second event follows a minute later, and the first must not wait for it.
	res, err := b.client.Do(b.request("GET", "/api/events?n=2&every=1m", nil))
	if err != nil {
		t.Fatal(err)
	}
	if typ := res.Header.Get("Content-Type"); res.StatusCode != 200 || typ != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, typ)
	}
	if _, err := events(res.Body)(); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()

	// The stream is longer than the life of a token.
	before := b.copy()
	refreshes := s.auth.Refreshes()
	res, err = b.client.Do(b.request("GET", "/api/events?n=12&every=500ms", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	next := events(res.Body)
	for i := range 12 {
		text, err := next()
		if err != nil {
			t.Fatalf("event %d: %v", i+1, err)
		}
		var event struct {
			ExpiresIn float64 `json:"access_token_expires_in"`
		}
		if err := json.Unmarshal([]byte(text), &event); err != nil || event.ExpiresIn <= 0 || event.ExpiresIn > 2 {
			t.Errorf("event %d is %s (%v)", i+1, text, err)
		}
	}
	if text, err := next(); err != io.EOF {
		t.Errorf("after the last event there is %q (%v)", text, err)
	}
	if n := s.auth.Refreshes() - refreshes; n < 2 {
		t.Errorf("the token was refreshed %d times in 6 s", n)
	}
	// The browser has not received the new tokens, and is still served.
	before.get("/api/me").is(200)
	if s.auth.Reuses() > 0 {
		t.Errorf("%d refresh tokens were used twice", s.auth.Reuses())
	}

	for _, query := range []string{"n=0", "n=-1", "n=x", "n=1001", "every=1", "every=-1s", "every=2m", "n=1&every=x", "n=1&x=" + strings.Repeat("x", 256)} {
		b.get("/api/events?"+query).problem(422, "invalid_request")
	}
	if a := b.get("/api/events?n=3&every=0s").is(200); strings.Count(a.body, "data:") != 3 {
		t.Errorf("got %q", a.body)
	}
}

// A stream ends with its session.
func testEventsAfterLogout(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	res, err := b.client.Do(b.request("GET", "/api/events?n=2&every=1m", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	next := events(res.Body)
	if _, err := next(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	b.copy().postForm("/logout").is(303)
	if text, err := next(); err != io.EOF || time.Since(began) > 30*time.Second {
		t.Errorf("after %v: %q (%v), want the end", time.Since(began), text, err)
	}
}

// An open stream does not delay the end of the program.
func testEventsAtTheStop(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	res, err := b.client.Do(b.request("GET", "/api/events?n=2&every=1m", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	next := events(res.Body)
	if _, err := next(); err != nil {
		t.Fatal(err)
	}
	s.Signal(syscall.SIGTERM)
	if text, err := next(); err != io.EOF {
		t.Errorf("%q (%v), want the end of the response", text, err)
	}
	if status := s.Wait(); status != 0 || strings.Contains(s.Stderr(), "aborted") || strings.Contains(s.Stderr(), "session_ended") {
		t.Errorf("exit status %d\n%s", status, s.Stderr())
	}
}
