package benchmarks_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session/auth"
)

// library is a way to sign users in with one of the libraries. Each makes the same
// app, with these routes:
//
//	GET  /       a public page that shows whether a user is signed in
//	GET  /admin  for users with the role admin; 403 for other users
//	POST /login  e-mail address and password; 303 and a cookie, or 401
type library struct {
	name string

	// open returns a new app. It accepts the cookies of earlier apps, unless it
	// has a store. If tokens is true, the session also holds the tokens of the
	// auth service.
	open func(tokens bool) http.Handler

	// unseen means that an app must not receive the same cookie twice.
	unseen bool

	// cannotKeep means that the library could store the auth service's tokens
	// only where the browser can read them.
	cannotKeep bool

	// bare means that there is no login, and the page is public.
	bare bool
}

var libraries = []library{
	{name: "session-cookie", open: sessionInCookies},
	{name: "session-cookie-first", open: sessionInCookies, unseen: true},
	{name: "session-memstore", open: sessionInMemory},
	{name: "session-cookie-echo", open: sessionEcho},
	{name: "session-cookie-gin", open: sessionGin},
	{name: "scs-memstore", open: scsInMemory},
	{name: "gorilla-signed", open: gorillaSigned},
	{name: "gorilla-sealed", open: gorillaSealed},
	{name: "gin-contrib-sealed", open: ginContribSealed},
	{name: "echo-contrib-sealed", open: echoContribSealed},
	{name: "echo-jwt", open: echoJWT, cannotKeep: true},
	{name: "gin-jwt", open: ginJWT, cannotKeep: true},
	{name: "jwtauth", open: chiJWTAuth, cannotKeep: true},
}

// routers are the routers without a library: the same pages without a guard.
var routers = []library{
	{name: "none-http", open: bareHTTP, bare: true},
	{name: "none-echo", open: bareEcho, bare: true},
	{name: "none-gin", open: bareGin, bare: true},
}

const (
	adminPage     = "This is for admins.\n"
	frontSignedIn = "Hello again.\n"
	frontUnknown  = "Hello, visitor.\n"

	admin    = "ada@example.com"
	member   = "grace@example.com"
	password = "correct horse"
)

func write(w http.ResponseWriter, page string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(page))
}

func front(w http.ResponseWriter, signedIn bool) {
	if signedIn {
		write(w, frontSignedIn)
	} else {
		write(w, frontUnknown)
	}
}

func adminOnly(w http.ResponseWriter, _ *http.Request) { write(w, adminPage) }

func signedIn(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func refuse(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// guard writes the page for users with the role admin, and refuses other requests.
func guard(w http.ResponseWriter, r *http.Request, signedIn bool, roles []string) {
	switch {
	case !signedIn:
		refuse(w, http.StatusUnauthorized)
	case !slices.Contains(roles, "admin"):
		refuse(w, http.StatusForbidden)
	default:
		adminOnly(w, r)
	}
}

// account is a user of the auth service. The tokens are prepared, because making
// them is the work of the service and not of the app.
type account struct {
	userID string
	roles  []string
	tokens auth.Tokens
}

var accounts = map[string]account{
	admin:  newAccount("6f8b3f2e-6d6a-4f0e-9a3b-0c9a55b7a2d1", "user", "admin"),
	member: newAccount("0d7d7c0e-51f2-4d67-8f0f-3f2b3d2f6a10", "user"),
}

func newAccount(userID string, roles ...string) account {
	now := time.Now()
	access, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": userID,
		"iss": "auth.example.com",
		"iat": now.Unix(),
		"exp": now.Add(24 * time.Hour).Unix(),
		"hasura": map[string]any{
			"x-hasura-user-id":       userID,
			"x-hasura-allowed-roles": roles,
			"x-hasura-default-role":  roles[0],
		},
	}).SignedString([]byte("the auth service's own secret, of 32 bytes or more"))
	if err != nil {
		panic(err)
	}
	return account{userID, roles, auth.Tokens{AccessToken: access, RefreshToken: "b7e1c0de-3c5c-4b8e-8f0a-7f4b0d0b9d3c"}}
}

// lookUp compares the password without hashing, because hashing takes much
// longer than all other work.
func lookUp(email, pass string) (account, bool) {
	a, ok := accounts[email]
	return a, ok && pass == password
}

// claimedBy returns the account of a login request.
func claimedBy(r *http.Request) (account, bool) {
	return lookUp(r.PostFormValue("email"), r.PostFormValue("password"))
}

// visitor sends requests to a handler and reads the responses. It is fast and does
// not allocate.
type visitor struct {
	request http.Request
	form    form

	header http.Header
	status int
	body   []byte
}

func newVisitor() *visitor { return &visitor{header: http.Header{}} }

// form is the body of a request.
type form struct{ strings.Reader }

func (*form) Close() error { return nil }

func (v *visitor) Header() http.Header { return v.header }

func (v *visitor) WriteHeader(status int) {
	if v.status == 0 {
		v.status = status
	}
}

func (v *visitor) Write(p []byte) (int, error) {
	v.WriteHeader(http.StatusOK)
	v.body = append(v.body, p...)
	return len(p), nil
}

// send sends a copy of r. Some libraries store their session in the request, and a
// request parses its form only once.
func (v *visitor) send(h http.Handler, r *http.Request, body string) {
	clear(v.header)
	v.status, v.body = 0, v.body[:0]
	v.request = *r
	if body != "" {
		v.form.Reset(body)
		v.request.Body = &v.form
		v.request.ContentLength = int64(len(body))
	}
	h.ServeHTTP(v, &v.request)
}

func (v *visitor) got(page string) bool {
	return v.status == http.StatusOK && string(v.body) == page
}

func (v *visitor) signedIn() bool {
	return v.status == http.StatusSeeOther && len(v.header["Set-Cookie"]) > 0
}

// newRequest returns a request with the header fields of a browser. Its context
// can be canceled, as in a server.
func newRequest(tb testing.TB, method, path string) *http.Request {
	r := httptest.NewRequestWithContext(tb.Context(), method, "https://app.example.com"+path, nil)
	r.Header = http.Header{
		"Accept":          {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Accept-Encoding": {"gzip, deflate, br"},
		"Accept-Language": {"en-US,en;q=0.5"},
		"Sec-Fetch-Dest":  {"document"},
		"Sec-Fetch-Mode":  {"navigate"},
		"Sec-Fetch-Site":  {"same-origin"},
		"User-Agent":      {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	}
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", "https://app.example.com")
	}
	return r
}

func loginForm(email, pass string) string {
	return "email=" + strings.ReplaceAll(email, "@", "%40") + "&password=" + strings.ReplaceAll(pass, " ", "+")
}

// signIn signs a user in and returns the browser's Cookie field.
func signIn(tb testing.TB, h http.Handler, email string) string {
	tb.Helper()
	v := newVisitor()
	v.send(h, newRequest(tb, "POST", "/login"), loginForm(email, password))
	if !v.signedIn() {
		tb.Fatalf("login: status %d, %q", v.status, v.body)
	}
	var pairs []string
	for _, c := range (&http.Response{Header: v.header}).Cookies() {
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

// signedInRequest signs a user in and returns a GET request by the user.
func signedInRequest(tb testing.TB, h http.Handler, path, email string) *http.Request {
	tb.Helper()
	r := newRequest(tb, "GET", path)
	r.Header.Set("Cookie", signIn(tb, h, email))
	return r
}
