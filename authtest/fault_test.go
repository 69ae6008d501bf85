package authtest_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

func TestFaults(t *testing.T) {
	const path = "/auth/token/refresh?refresh_token="
	tests := []struct {
		name  string
		fault authtest.Fault
		// the response as the client receives it
		status  int
		body    string // the whole body, if set
		err     error  // of the connection
		leaves  bool   // no response until the client disconnects
		rotated bool
		check   func(*testing.T, *response)
	}{
		{name: "no fault", status: 200, rotated: true},
		{name: "status", fault: authtest.Fault{Status: 503}, status: 503},
		{name: "status, carried out", fault: authtest.Fault{Status: 500, CarryOut: true}, status: 500, rotated: true},
		{
			name:   "header and body",
			fault:  authtest.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}, Body: `{"a":1}`},
			status: 429, body: `{"a":1}`,
			check: func(t *testing.T, resp *response) {
				if resp.header.Get("Retry-After") != "7" || !strings.HasPrefix(resp.header.Get("Content-Type"), "application/json") {
					t.Errorf("header is %v", resp.header)
				}
			},
		},
		{
			name: "HTML", fault: authtest.Fault{Status: 200, Body: "<html>"}, status: 200, body: "<html>",
			check: func(t *testing.T, resp *response) {
				if ct := resp.header.Get("Content-Type"); !strings.HasPrefix(ct, "text/html") {
					t.Errorf("Content-Type is %s", ct)
				}
			},
		},
		{
			name:   "redirect",
			fault:  authtest.Fault{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}},
			status: 302,
			check: func(t *testing.T, resp *response) {
				if resp.header.Get("Location") != "/elsewhere" {
					t.Errorf("header is %v", resp.header)
				}
			},
		},
		{name: "reset before", fault: authtest.Fault{Deliver: authtest.Reset}, err: syscall.ECONNRESET},
		{name: "reset after", fault: authtest.Fault{Deliver: authtest.Reset, CarryOut: true}, err: syscall.ECONNRESET, rotated: true},
		{name: "reset within", fault: authtest.Fault{Deliver: authtest.HalfThenReset}, status: 200, err: syscall.ECONNRESET, rotated: true},
		{name: "closed before", fault: authtest.Fault{Deliver: authtest.Close}, err: io.EOF},
		{name: "rotated, then lost", fault: authtest.Fault{Deliver: authtest.Close, CarryOut: true}, err: io.EOF, rotated: true},
		{name: "closed within", fault: authtest.Fault{Deliver: authtest.HalfThenClose}, status: 200, err: io.ErrUnexpectedEOF, rotated: true},
		{name: "hang", fault: authtest.Fault{Deliver: authtest.Hang}, leaves: true},
		{name: "hang after", fault: authtest.Fault{Deliver: authtest.Hang, CarryOut: true}, leaves: true, rotated: true},
		{
			name: "without tokens", fault: authtest.Fault{Edit: authtest.DropTokens}, status: 200, rotated: true,
			check: func(t *testing.T, resp *response) {
				var body map[string]any
				if err := json.Unmarshal([]byte(resp.body), &body); err != nil || body["user"] == nil || body["jwt_token"] != nil || body["refresh_token"] != nil {
					t.Errorf("body is %s (%v)", resp.body, err)
				}
			},
		},
		{
			name: "unusable JWT", fault: authtest.Fault{Edit: authtest.SpoilAccessToken}, status: 200, rotated: true,
			check: func(t *testing.T, resp *response) {
				if s := resp.session(); s.JWT != "unusable" || len(s.RefreshToken) != 36 {
					t.Errorf("body is %s", resp.body)
				}
			},
		},
		{
			name: "cut", fault: authtest.Fault{Edit: authtest.Truncate}, status: 200, rotated: true,
			check: func(t *testing.T, resp *response) {
				if json.Valid([]byte(resp.body)) || !strings.HasPrefix(resp.body, `{"jwt_token"`) {
					t.Errorf("body is %s", resp.body)
				}
			},
		},
		{
			name: "too large", fault: authtest.Fault{Edit: authtest.Enlarge}, status: 200, rotated: true,
			check: func(t *testing.T, resp *response) {
				if len(resp.body) < 2<<20 {
					t.Errorf("body has %d bytes", len(resp.body))
				}
				resp.session()
			},
		},
		{name: "drip", fault: authtest.Fault{Drip: 100 * time.Millisecond}, status: 200, rotated: true,
			check: func(t *testing.T, resp *response) { resp.session() }},
		{name: "edit function", fault: authtest.Fault{Edit: func(a *authtest.Response) { a.Status = 418 }}, status: 418, rotated: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t)
			_, token := c.login("ada@example.com")
			c.get("/healthz") // the connection is reused
			tt.fault.Times = 1
			c.srv.Inject(authtest.Refresh, tt.fault)

			if tt.leaves {
				c.leave("GET", path+token, "")
			} else if resp, err := c.whole(path + token); !errors.Is(err, tt.err) || resp.status != tt.status {
				t.Fatalf("response is %d (%v), want %d (%v)", resp.status, err, tt.status, tt.err)
			} else if err == nil {
				if tt.body != "" && resp.body != tt.body {
					t.Errorf("body is %q, want %q", resp.body, tt.body)
				}
				if tt.check != nil {
					tt.check(t, resp)
				}
			}

			want, state := 0, authtest.TokenLive
			if tt.rotated {
				want, state = 1, authtest.TokenUsed
			}
			eventually(t, func() bool { return c.srv.Refreshes() == want })
			info, ok := c.srv.Token(token)
			if !ok || info.State != state || info.Uses != want {
				t.Errorf("token is %+v, want %s after %d uses", info, state, want)
			}
			if n := c.srv.Requests(authtest.Refresh); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
			if !tt.rotated {
				c.refresh(token).session() // the fault is over
			}
		})
	}
}

// whole sends a GET at most once: net/http would repeat a GET without a body if a
// reused connection is reset. If there is an error, the response holds the part
// before it.
func (c *conn) whole(path string) (*response, error) {
	req, err := http.NewRequest("GET", c.srv.URL+path, struct{ io.Reader }{strings.NewReader("")})
	if err != nil {
		c.Fatal(err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return &response{T: c.T}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return &response{c.T, res.StatusCode, res.Header, string(text)}, err
}

func TestInjectInvalidStatus(t *testing.T) {
	c := serve(t)
	for _, status := range []int{-1, 42, 100, 199, 600} {
		func() {
			defer func() {
				if s, _ := recover().(string); !strings.Contains(s, "Status") {
					t.Errorf("%d: recovered %q, want it to name the Status", status, s)
				}
			}()
			c.srv.Inject(authtest.Login, authtest.Fault{Status: status})
		}()
	}
}

// The responses of the service while its database is down.
func TestBackendDown(t *testing.T) {
	const (
		bare  = ""
		leaks = "request to http://hasura:8080/v1/graphql failed, reason: connect ECONNREFUSED"
	)
	tests := []struct {
		name    string
		request string
		body    string
		opts    authtest.Options
		status  int
		message string
	}{
		{"login", "POST /auth/login", `{"email":"ada@example.com","password":"` + password + `"}`, authtest.Options{}, 400, "Account does not exist."},
		{"login, anonymous users on", "POST /auth/login", `{"email":"ada@example.com","password":"` + password + `"}`, authtest.Options{AnonymousUsers: true}, 400, "Account does not exist."},
		{"login by link", "POST /auth/login", `{"email":"ada@example.com"}`, authtest.Options{}, 400, "Account does not exist."},
		{"login, anonymous", "POST /auth/login", `{"anonymous":true}`, authtest.Options{AnonymousUsers: true}, 500, "An internal server error occurred"},
		{"register", "POST /auth/register", `{"email":"eve@example.com","password":"` + password + `"}`, authtest.Options{}, 500, "An internal server error occurred"},
		{"refresh", "GET /auth/token/refresh?refresh_token=" + uuid4, "", authtest.Options{}, 400, bare},
		{"refresh, lax", "GET /auth/token/refresh?refresh_token=" + uuid4, "", authtest.Options{Lax: true}, 400, bare},
		{"revoke", "POST /auth/token/revoke", "", authtest.Options{}, 400, bare},
		{"change-email", "POST /auth/change-email", `{"new_email":"eve@example.com"}`, authtest.Options{}, 400, bare},
		{"change-email request", "POST /auth/change-email/request", `{"new_email":"eve@example.com"}`, authtest.Options{VerifyEmails: true}, 500, "An internal server error occurred"},
		{"change-email change", "POST /auth/change-email/change", `{"ticket":"` + uuid4 + `"}`, authtest.Options{VerifyEmails: true}, 400, leaks},
		{"mfa/generate", "POST /auth/mfa/generate", "", authtest.Options{}, 400, bare},
		{"magic-link log-in", "GET /auth/magic-link?action=log-in&token=" + uuid4, "", authtest.Options{}, 400, bare},
		{"delete", "POST /auth/delete", "", authtest.Options{SelfDelete: true}, 400, bare},
		{"lost-password change", "POST /auth/change-password/change", `{"ticket":"` + uuid4 + `","new_password":"` + password + `"}`, authtest.Options{LostPassword: true}, 400, bare},
		{"mfa/totp", "POST /auth/mfa/totp", `{"ticket":"` + uuid4 + `","code":"123456"}`, authtest.Options{}, 401, "Invalid or expired ticket."},
		{"change-password", "POST /auth/change-password", `{"old_password":"` + password + `","new_password":"` + password + `"}`, authtest.Options{}, 400, leaks},
		{"mfa/enable", "POST /auth/mfa/enable", `{"code":"123456"}`, authtest.Options{}, 400, leaks},
		{"mfa/disable", "POST /auth/mfa/disable", `{"code":"123456"}`, authtest.Options{}, 400, leaks},
		{"lost-password request", "POST /auth/change-password/request", `{"email":"ada@example.com"}`, authtest.Options{LostPassword: true}, 400, leaks},
		{"logout", "POST /auth/logout?refresh_token=" + uuid4, "", authtest.Options{}, 204, ""},
		{"activate", "GET /auth/activate?ticket=" + uuid4, "", authtest.Options{}, 302, ""},
		{"magic-link register", "GET /auth/magic-link?action=register&token=" + uuid4, "", authtest.Options{}, 302, ""},
		{"jwks", "GET /auth/jwks", "", authtest.Options{}, 501, "JWKS is not implemented on this server."},
		// Requests that are rejected before the first query.
		{"login without an address", "POST /auth/login", `{}`, authtest.Options{}, 400, `"email" is required`},
		{"refresh without a token", "GET /auth/token/refresh", "", authtest.Options{}, 401, "Invalid or expired refresh token."},
		{"delete, off", "POST /auth/delete", "", authtest.Options{}, 500, "An internal server error occurred"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, tt.opts)
			access, _ := c.srv.SignIn("ada@example.com")
			c.srv.SetRedirects(callback, "https://app.example.com/failed")
			c.srv.Inject(authtest.Any, authtest.Fault{BackendDown: true})
			method, path, _ := strings.Cut(tt.request, " ")
			resp := c.do(method, path, tt.body, bearer(access)).noCookies()
			switch tt.status {
			case 204:
				resp.wantEmpty(204)
			case 302:
				resp.redirectsWithoutToken("https://app.example.com/failed")
			default:
				resp.wantError(tt.status, tt.message)
			}
			c.live("ada@example.com", 1)
		})
	}
	t.Run("refresh, token untouched", func(t *testing.T) {
		c := serve(t)
		_, token := c.login("ada@example.com")
		c.srv.Inject(authtest.Any, authtest.Fault{BackendDown: true})
		c.refresh(token).wantBadRequest()
		c.post("/auth/logout?refresh_token="+token, `{"all":true}`).wantEmpty(204)
		c.srv.Clear()
		c.refresh(token).session()
	})
	t.Run("healthz and version", func(t *testing.T) {
		c := serve(t)
		c.srv.Inject(authtest.Any, authtest.Fault{BackendDown: true})
		for path, want := range map[string]string{"/healthz": "OK", "/version": `{"version":"v2.3.0"}`} {
			if resp := c.get(path); resp.status != 200 || resp.body != want {
				t.Errorf("%s is %d %s", path, resp.status, resp.body)
			}
		}
		c.get("/nothing").wantError(404, "Not Found")
	})
	t.Run("links without REDIRECT_URL_ERROR", func(t *testing.T) {
		c := serve(t)
		c.srv.SetRedirects(callback, "")
		c.srv.Inject(authtest.Any, authtest.Fault{BackendDown: true})
		c.get("/auth/activate?ticket=" + uuid4).wantBadRequest()
		c.get("/auth/magic-link?action=register&token=" + uuid4).wantBadRequest()
	})
	t.Run("accepts but never responds", func(t *testing.T) {
		c := serve(t)
		c.srv.Inject(authtest.Any, authtest.Fault{Deliver: authtest.Hang})
		c.leave("GET", "/auth/token/refresh?refresh_token="+uuid4, "")
	})
}

// The responses of the service if it cannot store a new token.
func TestNoToken(t *testing.T) {
	fault := authtest.Fault{NoToken: true, Times: 1}
	setup := func(t *testing.T, e authtest.Endpoint, opts ...authtest.Options) *conn {
		c := serve(t, opts...)
		c.srv.Inject(e, fault)
		return c
	}
	const login = `{"email":"ada@example.com","password":"` + password + `"}`

	t.Run("login, after the password check", func(t *testing.T) {
		c := setup(t, authtest.Login)
		c.post("/auth/login", login).noCookies().wantBadRequest()
		c.live("ada@example.com", 0)
		c.srv.Inject(authtest.Login, fault)
		c.post("/auth/login", `{"email":"ada@example.com","password":"x"}`).wantError(401, "Username and password do not match")
	})
	t.Run("login without a password", func(t *testing.T) {
		c := setup(t, authtest.Login)
		c.post("/auth/login", `{"email":"ada@example.com"}`).noCookies().wantBadRequest()
		c.noMail()
	})
	t.Run("anonymous login", func(t *testing.T) {
		c := setup(t, authtest.Login, authtest.Options{AnonymousUsers: true})
		c.post("/auth/login", `{"anonymous":true}`).noCookies().wantBadRequest()
	})
	t.Run("MFA, and the ticket stays valid", func(t *testing.T) {
		c := setup(t, authtest.TOTP)
		body := `{"ticket":"` + c.ticket() + `","code":"` + c.code(0) + `","cookie":false}`
		c.post("/auth/mfa/totp", body).noCookies().wantBadRequest()
		c.post("/auth/mfa/totp", body).session()
	})
	t.Run("register, and the account exists", func(t *testing.T) {
		c := setup(t, authtest.Register)
		const body = `{"email":"new@example.com","password":"secret","cookie":false}`
		c.post(registerPath, body).noCookies().wantBadRequest()
		c.post(registerPath, body).wantError(400, "Account already exists.")
		c.post("/auth/login", body).session()
	})
	for name, body := range map[string]string{
		"activate":            `{"email":"new@example.com","password":"secret"}`,
		"magic-link register": `{"email":"new@example.com"}`,
	} {
		t.Run(name+", and the account is active", func(t *testing.T) {
			c := serve(t, authtest.Options{NoActivation: true, VerifyEmails: true})
			c.pending(c.post(registerPath, body), "new@example.com")
			c.srv.Inject(authtest.Any, fault)
			link := path(t, c.mail().Link)
			c.get(link).noCookies().wantBadRequest()
			if a, _ := c.srv.Account("new@example.com"); a.Inactive {
				t.Error("the account is inactive")
			}
			c.get(link).redirects(callback) // it is used up
		})
	}
	for name, opts := range map[string]authtest.Options{"strict": {}, "lax": {Lax: true}} {
		t.Run("refresh, rolled back, token still valid, "+name, func(t *testing.T) {
			c := setup(t, authtest.Refresh, opts)
			_, token := c.login("ada@example.com")
			c.refresh(token).serverError()
			c.live("ada@example.com", 1)
			c.refresh(token).session()
			if n := c.srv.Reuses(); n != 0 {
				t.Errorf("Reuses is %d", n)
			}
		})
	}
}

func TestInject(t *testing.T) {
	c := serve(t)
	status := func(path string) int { return c.get(path).status }

	c.srv.Inject(authtest.Version, authtest.Fault{Status: 500, Times: 2})
	c.srv.Inject(authtest.Version, authtest.Fault{Status: 502})
	c.srv.Inject(authtest.Any, authtest.Fault{Status: 503})
	for i, want := range []int{500, 500, 502, 502} {
		if got := status("/version"); got != want {
			t.Errorf("request %d: %d, want %d", i, got, want)
		}
	}
	for _, path := range []string{"/healthz", "/nothing"} {
		if got := status(path); got != 503 {
			t.Errorf("%s: %d, want the fault of Any", path, got)
		}
	}
	c.srv.Clear(authtest.Version)
	if got := status("/version"); got != 503 {
		t.Errorf("/version: %d, want the fault of Any", got)
	}
	c.srv.Clear()
	if got := status("/version"); got != 200 {
		t.Errorf("/version: %d, want no fault", got)
	}
	if n := c.srv.Requests(authtest.Version); n != 6 {
		t.Errorf("%d requests to /version, want 6", n)
	}
	if n := c.srv.Requests(authtest.Any); n != 8 {
		t.Errorf("%d requests, want 8", n)
	}
}

func TestDelay(t *testing.T) {
	c := serve(t)
	c.srv.Inject(authtest.Healthz, authtest.Fault{Delay: 100 * time.Millisecond, Times: 1})
	begun := time.Now()
	c.get("/healthz")
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}

	c.srv.Inject(authtest.JWKS, authtest.Fault{Drip: 100 * time.Millisecond, Times: 1})
	begun = time.Now()
	res, err := c.http.Get(c.srv.URL + "/auth/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	headers := time.Since(begun)
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took < 90*time.Millisecond || headers >= took {
		t.Errorf("it took %v, the header alone %v", took, headers)
	}
}

func TestGate(t *testing.T) {
	c := serve(t)
	var gate authtest.Gate
	c.srv.Inject(authtest.Healthz, authtest.Fault{Before: &gate})
	done := make(chan int, 3)
	for i := range 3 {
		go func() { c.try("GET", "/healthz", ""); done <- i }()
		<-gate.Arrived(i + 1)
	}
	gate.Step()
	if first := <-done; first != 0 {
		t.Errorf("request %d passed first", first)
	}
	gate.Step()
	if second := <-done; second != 1 {
		t.Errorf("request %d passed second", second)
	}
	gate.Open()
	<-done
	gate.Step() // no request waits
	c.get("/healthz")
	select {
	case <-gate.Arrived(4):
	default:
		t.Error("a request that passed the open gate did not count")
	}
	select {
	case <-gate.Arrived(5):
		t.Error("a fifth request arrived")
	default:
	}
}

func TestCloseAbortsHeldRequests(t *testing.T) {
	c := serve(t, authtest.Options{Lax: true})
	_, token := c.login("ada@example.com")
	var before, between, after authtest.Gate
	faults := map[string]authtest.Fault{
		"/healthz": {Before: &before},
		"/version": {After: &after},
		"/auth/token/refresh?refresh_token=" + token: {Between: &between},
		"/auth/jwks":    {Deliver: authtest.Hang},
		"/auth/nothing": {Delay: time.Hour},
	}
	failed := make(chan error, len(faults))
	for path, f := range faults {
		endpoint, _, _ := strings.Cut(path, "?")
		if endpoint == "/auth/nothing" {
			endpoint = ""
		}
		c.srv.Inject(authtest.Endpoint(endpoint), f)
	}
	for path := range faults {
		go func() { _, err := c.try("GET", path, ""); failed <- err }()
	}
	<-before.Arrived(1)
	<-between.Arrived(1)
	<-after.Arrived(1)
	eventually(t, func() bool { return c.srv.Requests(authtest.Any) == len(faults)+1 })
	closed := make(chan struct{})
	go func() { c.srv.Close(); c.srv.Close(); close(closed) }()
	for range faults {
		if err := <-failed; err == nil {
			t.Error("a closed server sent a response")
		}
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close did not return")
	}
}
