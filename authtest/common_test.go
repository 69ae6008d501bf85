package authtest_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

// These tests are about all endpoints: how bodies are parsed, where tokens and
// identity come from, and which headers every response has.

// Bodies are parsed as JSON or as a form. Others are empty or an error.
func TestBodies(t *testing.T) {
	c := serve(t)
	good := `{"email":"ada@example.com","password":"` + password + `","cookie":false}`
	const empty = `"email" is required` // the error of a login with an empty body

	c.sub("only JSON and forms are parsed", func(c *conn) {
		for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "APPLICATION/JSON; charset=UTF-8"} {
			c.post("/auth/login", good, "Content-Type: "+contentType).session()
		}
		for _, contentType := range []string{"text/plain", "", "application/x-www-form-urlencoded", "application/vnd.api+json"} {
			c.post("/auth/login", good, "Content-Type: "+contentType).wantError(400, empty)
		}
	})
	c.sub("multipart/form-data", func(c *conn) {
		var form bytes.Buffer
		w := multipart.NewWriter(&form)
		_ = w.WriteField("email", "ada@example.com")
		_ = w.WriteField("password", password)
		_ = w.WriteField("cookie", "false")
		file, _ := w.CreateFormFile("extra", "extra.txt")
		_, _ = file.Write([]byte("no key of the body"))
		_ = w.Close()
		// The values of a form are strings, and the string "false" selects cookies.
		c.post("/auth/login", form.String(), "Content-Type: "+w.FormDataContentType()).cookieSession()
		c.post("/auth/login", "x", "Content-Type: "+w.FormDataContentType()).wantBadRequest()
	})
	c.sub("a logout with a body of another type has no options", func(c *conn) {
		_, first := c.login("bob@example.com")
		c.login("bob@example.com")
		c.post("/auth/logout?refresh_token="+first, `{"all":true}`, "Content-Type: text/plain").wantEmpty(204)
		c.live("bob@example.com", 1)
	})
	c.sub("malformed JSON, a scalar, null", func(c *conn) {
		for _, body := range []string{`{"email":`, `{"a":1} x`, `"text"`, `5`, `true`, `null`, ` `, `{'a':1}`} {
			c.post("/auth/login", body).wantBadRequest()
		}
		c.post("/healthz", `{`).wantBadRequest() // before any route
	})
	c.sub("array", func(c *conn) {
		c.post("/auth/login", `[]`).wantError(400, `"value" must be of type object`)
		c.post("/auth/login", `[{"email":1}]`).wantError(400, `"value" must be of type object`)
	})
	c.sub("over 100 KB", func(c *conn) {
		const most = 100 << 10
		pad := func(n int) string { return good + strings.Repeat(" ", n-len(good)) }
		c.post("/auth/login", pad(most)).session()
		c.post("/auth/login", pad(most+1)).wantBadRequest()
		c.post("/auth/login", pad(1<<20)).wantBadRequest()
	})
	c.sub("unknown charset or Content-Encoding", func(c *conn) {
		c.post("/auth/login", good, "Content-Type: application/json; charset=latin1").wantBadRequest()
		c.post("/auth/login", good, "Content-Encoding: br").wantBadRequest()
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write([]byte(good))
		_ = w.Close()
		c.post("/auth/login", packed.String(), "Content-Encoding: gzip").session()
		c.post("/auth/login", good, "Content-Encoding: gzip").wantBadRequest()
	})
	c.sub("a byte order mark", func(c *conn) {
		c.post("/auth/login", "\ufeff"+good).session()
		c.post("/auth/login", "\ufeff").wantError(400, empty)
		c.post("/auth/login", "\ufeff\ufeff"+good).wantBadRequest()
		c.post("/auth/login", " \ufeff"+good).wantBadRequest()
	})
	c.sub("a compressed empty body", func(c *conn) {
		var packed bytes.Buffer
		_ = gzip.NewWriter(&packed).Close()
		c.post("/auth/login", packed.String(), "Content-Encoding: gzip").wantError(400, empty)
	})
	c.sub("__proto__ is not a key", func(c *conn) {
		c.post("/auth/login", `{"__proto__":{"x":1},"email":"ada@example.com","password":"wrong"}`).wantError(401, "Username and password do not match")
		c.post("/auth/login", `{"__proto__":{"email":"ada@example.com","password":"`+password+`"}}`).wantError(400, empty)
		c.post("/auth/register", `{"email":"new@example.com","password":"secret","cookie":false,"user_data":{"__proto__":1},"register_options":{"__proto__":1}}`).session()
	})
	c.sub("unknown keys", func(c *conn) {
		c.post("/auth/login", `{"foo":1,"email":"ada@example.com","password":"x"}`).wantError(400, `"foo" is not allowed`)
		c.post("/auth/login", `{"zoo":1,"foo":1,"email":"ada@example.com","password":"x"}`).wantError(400, `"zoo" is not allowed`)
		c.post("/auth/login", `{"foo":1,"password":"x"}`).wantError(400, empty) // only the first fault
	})
}

// endpoints lists all endpoints and the method of each.
var endpoints = []struct{ method, path string }{
	{"POST", "/auth/register"},
	{"POST", "/auth/login"},
	{"GET", "/auth/magic-link"},
	{"GET", "/auth/activate"},
	{"GET", "/auth/token/refresh"},
	{"POST", "/auth/token/revoke"},
	{"POST", "/auth/logout"},
	{"POST", "/auth/change-password"},
	{"POST", "/auth/change-password/request"},
	{"POST", "/auth/change-password/change"},
	{"POST", "/auth/change-email"},
	{"POST", "/auth/change-email/request"},
	{"POST", "/auth/change-email/change"},
	{"POST", "/auth/delete"},
	{"POST", "/auth/mfa/generate"},
	{"POST", "/auth/mfa/enable"},
	{"POST", "/auth/mfa/totp"},
	{"POST", "/auth/mfa/disable"},
	{"GET", "/auth/jwks"},
	{"GET", "/healthz"},
	{"GET", "/version"},
	{"POST", "/change-env"},
}

// Methods, paths and their slashes.
func TestRoutes(t *testing.T) {
	// All features are on. The error of a feature that is off is not a 404, but could
	// be mistaken for the error of a wrong method.
	c := serve(t, authtest.Options{LostPassword: true, SelfDelete: true, AnonymousUsers: true})
	const nothing = "Not Found"
	for _, e := range endpoints {
		c.sub(e.method+" "+e.path, func(c *conn) {
			resp := c.do(e.method, e.path, "")
			if resp.status == 404 {
				c.Fatalf("response is %d %s", resp.status, resp.body)
			}
			// A trailing slash is accepted, and paths are not case-sensitive.
			for _, path := range []string{e.path + "/", strings.ToUpper(e.path)} {
				if same := c.do(e.method, path, ""); same.status != resp.status || same.body != resp.body && e.path != "/auth/mfa/generate" {
					c.Errorf("%s: response is %d %s, want %d %s", path, same.status, same.body, resp.status, resp.body)
				}
			}
			if e.path != "/auth/change-password" && e.path != "/auth/change-email" { // see TestSlashes
				c.do(e.method, e.path+"//", "").wantError(404, nothing)
			}
			c.do(e.method, e.path+"/nothing", "").wantError(404, nothing)
			// There is no 405.
			for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
				if method != e.method {
					c.do(method, e.path, "").wantError(404, nothing)
				}
			}
			// HEAD is routed like GET.
			if head := c.do("HEAD", e.path, ""); (head.status == 404) != (e.method != "GET") {
				c.Errorf("HEAD: %d", head.status)
			}
		})
	}
	for _, path := range []string{"/", "/nothing", "/auth", "/auth/", "/auth/nothing", "/auth/token", "/auth/mfa", "/auth/providers"} {
		for _, method := range []string{"GET", "POST"} {
			c.do(method, path, "").wantError(404, nothing)
		}
	}
}

// Express, the framework of the service, accepts an extra slash after the path of each
// router.
func TestSlashes(t *testing.T) {
	c := serve(t)
	const nothing = "Not Found"
	for path, message := range map[string]string{
		"/auth//login":                   `"email" is required`,
		"/AUTH//Login/":                  `"email" is required`,
		"/auth///login":                  "",
		"//auth/login":                   "",
		"/auth/login//":                  "",
		"/auth//mfa/totp":                `"code" is required`,
		"/auth//mfa//totp":               `"code" is required`,
		"/auth/mfa//totp/":               `"code" is required`,
		"/auth/mfa///totp":               "",
		"/auth/token//revoke":            "Not logged in",
		"/auth/change-email//":           "Not logged in",
		"/auth/change-password//":        "Not logged in",
		"/auth/change-password///":       "",
		"/auth/change-email//request":    "An internal server error occurred",
		"/auth/providers//github":        "An internal server error occurred",
		"/auth//providers/github//x":     "An internal server error occurred",
		"/auth/change-password//request": "An internal server error occurred",
		"/healthz//":                     "",
		// Paths are not decoded.
		"/auth/log%69n":   "",
		"/%61uth/login":   "",
		"/auth%2flogin":   "",
		"/auth/login%2f":  "",
		"/auth/%6cogin/":  "",
		"/auth/login%20":  "",
		"/auth/login;a=b": "",
	} {
		resp := c.post(path, "")
		if message == "" {
			resp.wantError(404, nothing)
			continue
		}
		if !strings.Contains(resp.body, strings.ReplaceAll(message, `"`, `\"`)) {
			t.Errorf("%s: response is %d %s, want %s", path, resp.status, resp.body, message)
		}
		if resp.header.Get("Pragma") != "no-cache" {
			t.Errorf("%s: Pragma is %q", path, resp.header.Get("Pragma"))
		}
	}
	if n := c.srv.Requests(authtest.Login); n != 2 {
		t.Errorf("%d requests at login, want 2", n)
	}
	c.get("/auth//token//refresh").wantError(401, "Invalid or expired refresh token.")
	serve(t, authtest.Options{NoMFA: true}).post("/auth//mfa//totp", "").serverError()
}

// GET /healthz, GET /version, POST /change-env and GET /auth/providers/….
func TestOtherEndpoints(t *testing.T) {
	c := serve(t)
	for path, body := range map[string]string{"/healthz": "OK", "/version": `{"version":"v2.3.0"}`} {
		resp := c.get(path)
		if ct := resp.header.Get("Content-Type"); resp.status != 200 || resp.body != body || ct != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %q %q", path, resp.status, resp.body, ct)
		}
	}
	// The endpoint requires no authentication. In this service it changes nothing.
	resp := c.post("/change-env", `{"AUTH_ENABLED":"false"}`)
	if resp.status != 200 || resp.body != `{"AUTH_ENABLED":"false"}` {
		t.Errorf("/change-env: %d %s", resp.status, resp.body)
	}
	c.login("ada@example.com")

	for _, provider := range []string{"apple", "facebook", "github", "google", "linkedin", "spotify", "twitter", "windowslive"} {
		// The provider and all paths below it are disabled.
		c.get("/auth/providers/" + provider).serverError()
		c.get("/auth/providers/" + provider + "/").serverError()
		c.get("/auth/providers/" + provider + "/callback").serverError()
		c.post("/auth/providers/"+provider+"/callback", "").serverError()
	}
	c.get("/auth/providers/nobody").wantError(404, "Not Found")
	c.get("/auth/providers/nobody/github").wantError(404, "Not Found")
}

// With AUTH_ENABLED=false all paths under /auth return 404, and no other paths.
func TestSwitchedOff(t *testing.T) {
	for name, opts := range map[string]authtest.Options{"alone": {NoAuth: true}, "MFA too": {NoAuth: true, NoMFA: true}} {
		c := serve(t, opts)
		access, token := c.srv.SignIn("ada@example.com")
		for _, e := range append(endpoints, []struct{ method, path string }{{"GET", "/auth/providers/github"}, {"GET", "/auth/nothing"}}...) {
			c.sub(name+", "+e.method+" "+e.path, func(c *conn) {
				resp := c.do(e.method, e.path+"?refresh_token="+token, "", bearer(access))
				if !strings.HasPrefix(e.path, "/auth/") {
					if resp.status != 200 {
						c.Errorf("response is %d %s", resp.status, resp.body)
					}
					return
				}
				resp.noCookies().wantError(404, "Not Found")
				c.do(e.method, e.path+"/", `{"email":"ada@example.com","password":"`+password+`"}`).noCookies().wantError(404, "Not Found")
			})
		}
		c.live("ada@example.com", 1)
		if n := c.srv.Refreshes(); n != 0 {
			t.Errorf("%d refreshes, want none", n)
		}
	}
}

// The headers of all responses, and those of responses under /auth.
func TestHeaders(t *testing.T) {
	c := serve(t)
	access, token := c.login("ada@example.com")
	always := map[string]string{
		"X-DNS-Prefetch-Control":           "off",
		"X-Frame-Options":                  "SAMEORIGIN",
		"Strict-Transport-Security":        "max-age=15552000; includeSubDomains",
		"X-Download-Options":               "noopen",
		"X-Content-Type-Options":           "nosniff",
		"X-XSS-Protection":                 "1; mode=block",
		"Access-Control-Allow-Credentials": "true",
		"Connection":                       "keep-alive",
		"Keep-Alive":                       "timeout=5",
	}
	auth := map[string]string{
		"Cache-Control":     "no-store, no-cache, must-revalidate, proxy-revalidate",
		"Surrogate-Control": "no-store",
		"Pragma":            "no-cache",
		"Expires":           "0",
	}
	for _, r := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/healthz", "", 200},
		{"GET", "/version", "", 200},
		{"GET", "/nothing", "", 404},
		{"GET", "/auth", "", 404},
		{"GET", "/authentic", "", 404},
		{"GET", "/auth/nothing", "", 404},
		{"GET", "/AUTH/jwks/", "", 501},
		{"GET", "/auth/jwks", "", 501},
		{"GET", "/auth/token/refresh", "", 401},
		{"GET", "/auth/activate", "", 400},
		{"GET", "/auth/activate?ticket=" + uuid4, "", 302},
		{"GET", "/auth/magic-link?action=log-in&token=" + token, "", 302},
		{"GET", "/auth/token/refresh?refresh_token=" + token, "", 200},
		{"POST", "/auth/login", `{"email":"ada@example.com","password":"x"}`, 401},
		{"POST", "/auth/login", `{"email":"ada@example.com","password":"` + password + `"}`, 200},
		{"POST", "/auth/register", `{"email":"new@example.com"}`, 200},
		{"POST", "/auth/delete", "", 500},
		{"POST", "/auth/logout?refresh_token=" + uuid4, "", 204},
		{"POST", "/auth/token/revoke", "", 204},
	} {
		resp := c.do(r.method, r.path, r.body, bearer(access))
		if resp.status != r.status {
			t.Errorf("%s: %d, want %d", r.path, resp.status, r.status)
		}
		for name, want := range always {
			if got := resp.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", r.path, name, got, want)
			}
		}
		for name, want := range auth {
			if path := strings.ToLower(r.path); path != "/auth" && !strings.HasPrefix(path, "/auth/") {
				want = ""
			}
			if got := resp.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", r.path, name, got, want)
			}
		}
		if tag := resp.header.Get("ETag"); strings.HasPrefix(tag, `W/"`) == (r.status == 204 || r.status == 302) {
			t.Errorf("%s: ETag is %q", r.path, tag)
		}
		// No header occurs twice.
		for name, values := range resp.header {
			if len(values) != 1 && name != "Set-Cookie" {
				t.Errorf("%s: %s is %q", r.path, name, values)
			}
		}
	}
	// The entity tag of Express for "OK".
	if tag := c.get("/healthz").header.Get("ETag"); tag != `W/"2-nOO9QiTIwXgNtWtBJezz8kv3SLc"` {
		t.Errorf("ETag of OK is %s", tag)
	}
}

func TestCORS(t *testing.T) {
	c := serve(t)
	resp := c.get("/auth/token/refresh", "Origin: https://evil.example").wantError(401, "Invalid or expired refresh token.")
	if got := resp.header.Get("Access-Control-Allow-Origin"); got != "https://evil.example" {
		t.Errorf("Access-Control-Allow-Origin is %q, want the origin reflected", got)
	}
	if got, given := c.get("/auth/jwks").header["Access-Control-Allow-Origin"]; given {
		t.Errorf("Access-Control-Allow-Origin is %q without an Origin", got)
	}
	if got := c.get("/auth/jwks").header.Get("Vary"); got != "Origin" {
		t.Errorf("Vary is %q", got)
	}
	resp = c.do("OPTIONS", "/auth/login", "", "Origin: https://evil.example",
		"Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type").wantEmpty(204)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":      "https://evil.example",
		"Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods":     "GET,HEAD,PUT,PATCH,POST,DELETE",
		"Access-Control-Allow-Headers":     "content-type",
		"Vary":                             "Origin, Access-Control-Request-Headers",
	} {
		if got := resp.header.Get(name); got != want {
			t.Errorf("preflight: %s is %q, want %q", name, got, want)
		}
	}
}

// The identity comes from the access token or from a cookie.
func TestIdentity(t *testing.T) {
	c := serve(t)
	bob, _ := c.srv.Account("bob@example.com")
	const revoke = "/auth/token/revoke"

	c.sub("bearer", func(c *conn) {
		access, _ := c.login("ada@example.com")
		c.post(revoke, "", bearer(access)).wantEmpty(204)
		c.post(revoke, "", "Authorization: "+access).wantEmpty(204) // without a scheme
		c.post(revoke, "", "Authorization: bearer "+access).wantError(401, "Not logged in")
		c.post(revoke, "").wantError(401, "Not logged in")
	})
	c.sub("a forged cookie is accepted and takes precedence over the bearer token", func(c *conn) {
		access, _ := c.login("ada@example.com")
		c.login("bob@example.com")
		forged := `Cookie: permission_variables={"user-id":"` + bob.ID + `"}`
		c.post(revoke, "", bearer(access), forged).wantEmpty(204)
		c.live("ada@example.com", 1)
		c.live("bob@example.com", 0)
		c.post("/auth/change-email", `{"new_email":"mallory@example.com"}`, forged).wantEmpty(204)
		if a, _ := c.srv.Account(bob.ID); a.Email != "mallory@example.com" {
			c.Errorf("address is %s", a.Email)
		}
	})
	c.sub("a broken cookie, on any endpoint", func(c *conn) {
		access, token := c.login("ada@example.com")
		for _, broken := range []string{"", "x", "%7B"} {
			cookie := "Cookie: permission_variables=" + broken
			c.post(revoke, "", bearer(access), cookie).wantBadRequest()
			c.get("/auth/token/refresh?refresh_token="+token, cookie).wantBadRequest()
			c.post("/auth/login", `{"email":"ada@example.com"}`, cookie).wantBadRequest()
			c.get("/healthz", cookie).wantBadRequest()
			c.get("/nothing", cookie).wantBadRequest()
		}
		c.refresh(token).session()
		c.post(revoke, "", `Cookie: permission_variables={"user-id":"me"}`).wantBadRequest()
		c.post(revoke, "", `Cookie: permission_variables={}`).wantBadRequest()
		c.post("/auth/change-email", `{"new_email":"eva@example.com"}`, `Cookie: permission_variables={"user-id":"me"}`).wantBadRequest()
		c.post(revoke, "", bearer(access), "Cookie: permission_variables=null").wantError(401, "Not logged in")
	})
	c.sub("the first of two cookies with one name counts, without quotes", func(c *conn) {
		_, token := c.login("ada@example.com")
		token = c.get("/auth/token/refresh", `Cookie: x; refresh_token="`+token+`"; refresh_token=`+uuid4).cookieSession()
		c.get("/auth/token/refresh?refresh_token="+token, "Cookie: refresh_token").session() // a cookie without a value is ignored
	})
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	c := serve(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.srv.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	_ = conn.SetDeadline(begun.Add(time.Minute))
	for buf := make([]byte, 4096); err == nil; {
		_, err = conn.Read(buf)
	}
	if took := time.Since(begun); took < 5*time.Second || err != io.EOF {
		t.Errorf("an idle connection was closed after %v (%v), want 5 s", took, err)
	}
}

func TestNoKeepAliveOnClose(t *testing.T) {
	c := serve(t)
	req, _ := http.NewRequest("GET", c.srv.URL+"/healthz", nil)
	req.Close = true
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := res.Header.Get("Keep-Alive"); got != "" {
		t.Errorf("Keep-Alive is %q on a connection that closes", got)
	}
}
