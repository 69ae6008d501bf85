package synmetrix_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

func TestNewClientAddress(t *testing.T) {
	t.Parallel()
	const hidden = "pa:ss/wo%rd"
	tests := map[string]string{ // address -> part of the error, or "" if valid
		"http://auth.example":                   "",
		"https://auth.example:8443/base/":       "",
		"HTTP://auth.example":                   "",
		"http://[::1]:3000":                     "",
		"":                                      "http",
		"auth.example":                          "http",
		"ftp://auth.example":                    "http",
		"//auth.example":                        "http",
		"http://":                               "host",
		"http://:3000":                          "host",
		"http://auth.example?x=1":               "query",
		"http://auth.example?":                  "query",
		"https://auth.example/?key=pw":          "query",
		"http://auth.example#x":                 "fragment",
		"http://auth.example:port":              "not a URL",
		"http://auth .example":                  "not a URL",
		"http://[fe80::1%25\x96]":               "not a URL", // url.Parse does not accept the output of URL.String
		"http://user:" + "pw" + "@auth.example": "user",
		"http://user:" + hidden + "@host":       "not a URL",
	}
	for address, want := range tests {
		c := synmetrix.NewClient(address)
		err := c.Validate()
		if want == "" {
			if err != nil {
				t.Errorf("%q: %v", address, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", address, err, want)
			continue
		}
		_, callErr := c.Refresh(t.Context(), auth.Tokens{RefreshToken: oldRefresh})
		wantError(t, callErr, "refresh", synmetrix.CodeInvalidAddress, 0, "", "unavailable")
		for _, text := range []string{err.Error(), callErr.Error(), fmt.Sprintf("%+v %#v", c, *c)} {
			if address != "" && strings.Contains(text, address) {
				t.Errorf("the text contains the address: %s", text)
			}
			for _, part := range []string{"pw", "pa:", "ss/", "wo%"} {
				if strings.Contains(text, part) {
					t.Errorf("%q: the text contains the secret: %s", address, text)
				}
			}
		}
	}
}

func TestZeroClient(t *testing.T) {
	t.Parallel()
	var c synmetrix.Client
	if c.Validate() == nil {
		t.Error("the zero Client validates")
	}
	wantError(t, c.Ping(t.Context()), "ping", synmetrix.CodeInvalidAddress, 0, "", "unavailable")
	c.CloseIdleConnections()
}

// Options with a zero value restore the defaults, even after other options.
func TestEmptyOptions(t *testing.T) {
	t.Parallel()
	t.Run("timeout", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			srv, transport := servePipe(t, func(x *received) bool { _, _ = io.Copy(io.Discard, x); return false })
			for name, opts := range map[string][]synmetrix.Option{
				"none":        nil,
				"zero":        {synmetrix.WithTimeout(0)},
				"negative":    {synmetrix.WithTimeout(-time.Second)},
				"zero, later": {synmetrix.WithTimeout(time.Second), synmetrix.WithTimeout(0)},
			} {
				c := newClient(t, srv.URL, append(opts, synmetrix.WithTransport(transport))...)
				start := time.Now()
				err := c.Ping(t.Context())
				if took := time.Since(start); took != synmetrix.DefaultTimeout || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: error %v after %v, want DeadlineExceeded after %v", name, err, took, synmetrix.DefaultTimeout)
				}
			}
		})
	})
	t.Run("logger and transport", func(t *testing.T) {
		t.Parallel()
		srv := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
		var out bytes.Buffer
		for name, opts := range map[string][]synmetrix.Option{
			"nil": {synmetrix.WithLogger(nil), synmetrix.WithTransport(nil)},
			"nil, later": {
				synmetrix.WithLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))),
				synmetrix.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
					t.Error("the replaced transport was used")
					return nil, io.ErrUnexpectedEOF
				})),
				synmetrix.WithLogger(nil), synmetrix.WithTransport(nil),
			},
		} {
			if _, err := newClient(t, srv.URL, opts...).Login(testContext(t), email, password); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if out.Len() != 0 {
			t.Errorf("logged %s", &out)
		}
	})
}

func TestBasePath(t *testing.T) {
	t.Parallel()
	for base, want := range map[string]string{
		"":            "/auth/login",
		"/":           "/auth/login",
		"/synmetrix":  "/synmetrix/auth/login",
		"/synmetrix/": "/synmetrix/auth/login",
		"/a/b//":      "/a/b/auth/login",
		"/a%2Fb":      "/a%2Fb/auth/login",
	} {
		srv := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
		if _, err := newClient(t, srv.URL+base).Login(testContext(t), email, password); err != nil {
			t.Fatal(err)
		}
		if got := srv.requests()[0].req.RequestURI; got != want {
			t.Errorf("base %q: requested %q, want %q", base, got, want)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(ok(tokensBody(validAccess, newRefresh))))
	c := newClient(t, srv.URL)
	for _, password := range []string{"plain", "", "  spaces \t\r\n", `"quotes" \ & <tags>`, "naïve 日本語 👩‍👩‍👧", "e\u0301 \u00e9", "a\x00b", "\u2028", strings.Repeat("x", 200)} {
		grant, err := c.Login(testContext(t), " "+email, password)
		if err != nil {
			t.Fatal(err)
		}
		if want := (auth.Tokens{AccessToken: validAccess, RefreshToken: newRefresh}); grant.Tokens != want {
			t.Error("the tokens are not those of the response")
		}
		if want := (auth.User{ID: "u1", Email: email, Name: email}); grant.User != want {
			t.Errorf("user %+v, want %+v", grant.User, want)
		}
		seen := srv.requests()
		x := seen[len(seen)-1]
		if x.req.Method != http.MethodPost || x.req.RequestURI != "/auth/login" || x.req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("sent %s %s %v", x.req.Method, x.req.RequestURI, x.req.Header)
		}
		var got map[string]any
		if err := json.Unmarshal([]byte(x.body), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != 3 || got["email"] != " "+email || got["password"] != password || got["cookie"] != false {
			t.Errorf("sent %q", x.body)
		}
	}

	// Bytes that JSON cannot represent are an error, and are not replaced.
	n := len(srv.requests())
	_, err := c.Login(testContext(t), email, "\xff")
	wantError(t, err, "login", synmetrix.CodeInvalidPassword, 0, "", "refused")
	_, err = c.Login(testContext(t), "\xff@example.com", password)
	wantError(t, err, "login", synmetrix.CodeInvalidEmail, 0, "", "refused")
	if len(srv.requests()) != n {
		t.Error("a request was sent")
	}
}

func TestSecondFactor(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(x *received) bool {
		if x.req.URL.Path == "/auth/login" {
			x.respond(ok(`{"mfa":true,"ticket":"` + ticket + `"}`))
		} else {
			x.respond(ok(tokensBody(validAccess, newRefresh)))
		}
		return true
	})
	c := newClient(t, srv.URL)
	grant, err := c.Login(testContext(t), email, password)
	var second *auth.SecondFactorError
	if !errors.As(err, &second) || !errors.Is(err, auth.ErrSecondFactor) || grant.Tokens != (auth.Tokens{}) {
		t.Fatalf("error = %v, want a second factor", err)
	}
	noSecrets(t, err)
	grant, err = c.LoginTOTP(testContext(t), second.Ticket, "012345")
	if err != nil || grant.Tokens != (auth.Tokens{AccessToken: validAccess, RefreshToken: newRefresh}) {
		t.Fatalf("error = %v", err)
	}
	x := srv.requests()[1]
	if x.req.Method != http.MethodPost || x.req.RequestURI != "/auth/mfa/totp" {
		t.Errorf("sent %s %s", x.req.Method, x.req.RequestURI)
	}
	if want := `{"code":"012345","cookie":false,"ticket":"` + ticket + `"}`; x.body != want {
		t.Errorf("sent %s, want %s", x.body, want)
	}
}

func TestLogout(t *testing.T) {
	t.Parallel()
	const (
		logoutOne = `POST /auth/logout?refresh_token=` + oldRefresh + ` {"all":false}`
		revoke    = `POST /auth/token/revoke bearer`
	)
	notSignedIn := refusal(401, notLoggedIn)
	done := reply(204, "", "")
	tests := map[string]struct {
		tokens auth.Tokens
		all    bool
		revoke string // response to a revoke
		logout string // response to a logout
		want   []string
		code   string // of the error, or ""
		means  string
	}{
		"one session":                  {auth.Tokens{AccessToken: validAccess, RefreshToken: oldRefresh}, false, done, done, []string{logoutOne}, "", ""},
		"one session, no access token": {auth.Tokens{RefreshToken: oldRefresh}, false, done, done, []string{logoutOne}, "", ""},
		"all":                          {auth.Tokens{AccessToken: validAccess, RefreshToken: oldRefresh}, true, done, done, []string{revoke}, "", ""},
		"all, access token expired":    {auth.Tokens{AccessToken: expiredAccess, RefreshToken: oldRefresh}, true, notSignedIn, done, []string{revoke}, synmetrix.CodeNotSignedIn, "refused"},
		"all, access token unreadable": {auth.Tokens{AccessToken: "a.b.c", RefreshToken: oldRefresh}, true, notSignedIn, done, []string{revoke}, synmetrix.CodeNotSignedIn, "refused"},
		// The clock of the service may differ: only the service knows whether a token has expired.
		"all, expired by the local clock": {auth.Tokens{AccessToken: expiredAccess, RefreshToken: oldRefresh}, true, done, done, []string{revoke}, "", ""},
		"all, access token malformed":     {auth.Tokens{AccessToken: "a.b", RefreshToken: oldRefresh}, true, done, done, nil, synmetrix.CodeNotSignedIn, "refused"},
		"all, refresh token only":         {auth.Tokens{RefreshToken: oldRefresh}, true, done, done, nil, synmetrix.CodeNotSignedIn, "refused"},
		"all, access token only":          {auth.Tokens{AccessToken: validAccess}, true, done, done, []string{revoke}, "", ""},
		"all, access token not accepted":  {auth.Tokens{AccessToken: validAccess, RefreshToken: oldRefresh}, true, notSignedIn, done, []string{revoke}, synmetrix.CodeNotSignedIn, "refused"},
		"all, revoke fails":               {auth.Tokens{AccessToken: validAccess, RefreshToken: oldRefresh}, true, refusal(400, ""), done, []string{revoke}, synmetrix.CodeUnclear, "unavailable"},
		"malformed refresh token":         {auth.Tokens{RefreshToken: "garbage"}, false, done, done, nil, "", ""},
		"no tokens":                       {auth.Tokens{}, false, done, done, nil, synmetrix.CodeMissingToken, "refused"},
		"all, no tokens":                  {auth.Tokens{}, true, done, done, nil, synmetrix.CodeMissingToken, "refused"},
		"access token only":               {auth.Tokens{AccessToken: validAccess}, false, done, done, nil, synmetrix.CodeMissingToken, "refused"},
		"empty 200":                       {auth.Tokens{RefreshToken: oldRefresh}, false, done, ok(""), []string{logoutOne}, "", ""},
		"200 with JSON":                   {auth.Tokens{RefreshToken: oldRefresh}, false, done, ok("{}"), []string{logoutOne}, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, func(x *received) bool {
				if x.req.URL.Path == "/auth/logout" {
					x.respond(test.logout)
				} else {
					x.respond(test.revoke)
				}
				return true
			})
			err := newClient(t, srv.URL).Logout(testContext(t), test.tokens, test.all)
			if got := meanings(err); got != test.means || (err == nil) != (test.code == "") {
				t.Errorf("error = %v, want %q", err, test.means)
			}
			var e *auth.Error
			if errors.As(err, &e) && e.Code != test.code {
				t.Errorf("code = %q, want %q", e.Code, test.code)
			}
			var got []string
			for _, x := range srv.requests() {
				line := x.req.Method + " " + x.req.RequestURI
				if x.req.Header.Get("Authorization") == "Bearer "+test.tokens.AccessToken {
					line += " bearer"
				}
				got = append(got, strings.TrimSpace(line+" "+strings.TrimSpace(x.body)))
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("sent %q, want %q", got, test.want)
			}
		})
	}
}

func TestEmptyAndMalformedTokens(t *testing.T) {
	t.Parallel()
	srv := serve(t, responding(ok("{}")))
	c := newClient(t, srv.URL)
	ctx := testContext(t)
	refresh := func(s string) error { _, err := c.Refresh(ctx, auth.Tokens{RefreshToken: s}); return err }
	totp := func(s string) error { _, err := c.LoginTOTP(ctx, s, "123456"); return err }
	revoke := func(s string) error { return c.Revoke(ctx, s) }

	wantError(t, refresh(""), "refresh", synmetrix.CodeMissingToken, 0, "", "refused")
	wantError(t, totp(""), "login_totp", synmetrix.CodeMissingToken, 0, "", "refused, ticket refused")
	wantError(t, revoke(""), "revoke", synmetrix.CodeMissingToken, 0, "", "refused")
	for _, s := range []string{"x", oldRefresh + "0", oldRefresh[1:], strings.ReplaceAll(oldRefresh, "-", ""), "{" + oldRefresh + "}", " " + oldRefresh[:35], oldRefresh[:35] + "g", strings.Repeat("-", 36), strings.Repeat("a", 36)} {
		wantError(t, refresh(s), "refresh", synmetrix.CodeMalformedToken, 0, "", "refused")
		wantError(t, totp(s), "login_totp", synmetrix.CodeMalformedToken, 0, "", "refused, ticket refused")
	}
	for _, s := range []string{"x", "a.b", "a.b.c\r\nX: y", "a.b.ü", "..", "a.b.c\n"} {
		wantError(t, revoke(s), "revoke", synmetrix.CodeMalformedToken, 0, "", "refused")
	}
	_, err := c.LoginTOTP(ctx, ticket, "\xff")
	wantError(t, err, "login_totp", synmetrix.CodeWrongCode, 0, "", "refused")
	if n := len(srv.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
	if err := refresh(strings.ToUpper(oldRefresh)); errors.Is(err, auth.ErrRefused) {
		t.Error("a UUID in upper case was not sent")
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	for response, up := range map[string]bool{
		reply(200, "text/html", "OK"):                   true,
		reply(204, "", ""):                              true,
		reply(302, "", "", "Location: /login"):          true,
		reply(404, "text/html", html):                   true,
		reply(429, "", ""):                              true,
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nO": true,
		reply(500, "", ""):                              false,
		reply(503, "text/html", html):                   false,
		"nonsense\r\n\r\n":                              false,
	} {
		srv := serve(t, func(x *received) bool { x.respond(response); return false })
		err := newClient(t, srv.URL+"/base").Ping(testContext(t))
		if (err == nil) != up || err != nil && !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("response %q: error %v", response, err)
		}
		if uri := srv.requests()[0].req.RequestURI; uri != "/base/healthz" {
			t.Errorf("requested %s", uri)
		}
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(x *received) bool {
		switch x.n {
		case 1:
			x.respond(ok(tokensBody(validAccess, newRefresh)))
		case 2:
			x.respond(ok(`{"mfa":true,"ticket":"` + ticket + `"}`))
		case 3:
			x.respond(refusal(401, "quoted-by-the-service"))
		default:
			return false
		}
		return true
	})
	var out bytes.Buffer
	c := newClient(t, srv.URL, synmetrix.WithLogger(slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	ctx := testContext(t)
	_, _ = c.Login(ctx, email, password)
	_, _ = c.Login(ctx, email, password)
	_, _ = c.LoginTOTP(ctx, ticket, "123456")
	_, _ = c.Refresh(ctx, auth.Tokens{RefreshToken: oldRefresh})

	type line struct {
		Level, Op, Code string
		Status          int
		Duration        time.Duration
	}
	var lines []line
	for dec := json.NewDecoder(bytes.NewReader(out.Bytes())); dec.More(); {
		var l line
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Duration <= 0 {
			t.Errorf("duration %v", l.Duration)
		}
		l.Duration = 0
		lines = append(lines, l)
	}
	want := []line{
		{"DEBUG", "login", "ok", 200, 0},
		{"DEBUG", "login", "second_factor", 200, 0},
		{"DEBUG", "login_totp", synmetrix.CodeWrongCode, 401, 0},
		{"DEBUG", "refresh", synmetrix.CodeNoResponse, 0, 0},
	}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("logged %v, want %v", lines, want)
	}
	for _, secret := range secrets {
		if strings.Contains(out.String(), secret) {
			t.Errorf("the log contains %q:\n%s", secret, &out)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	srv := serve(t, func(x *received) bool {
		token := x.req.URL.Query().Get("refresh_token")
		x.respond(ok(tokensBody(validAccess, token[:35]+"f")))
		return true
	})
	c := newClient(t, srv.URL)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			token := fmt.Sprintf("%08d-0000-4000-8000-000000000000", i)
			for range 5 {
				grant, err := c.Refresh(testContext(t), auth.Tokens{RefreshToken: token})
				if err != nil || grant.RefreshToken[:35] != token[:35] {
					t.Errorf("error %v, or the response of another call", err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(srv.requests()); n != 250 {
		t.Errorf("%d requests arrived, want 250", n)
	}
}

func TestParseAccessToken(t *testing.T) {
	t.Parallel()
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	claims, err := synmetrix.ParseAccessToken(jwt(exp))
	if err != nil {
		t.Fatal(err)
	}
	if claims.UserID != "u1" || len(claims.AllowedRoles) != 1 || claims.AllowedRoles[0] != "user" || claims.DefaultRole != "user" || !claims.ExpiresAt.Equal(exp) {
		t.Errorf("claims = %+v", claims)
	}
	if _, err := synmetrix.ParseAccessToken("a.b.c"); !errors.Is(err, auth.ErrInvalidToken) {
		t.Errorf("error = %v, want ErrInvalidToken", err)
	}
}
