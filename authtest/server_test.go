package authtest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

func TestOptions(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		want string // in the error
		opts authtest.Options
	}{
		{"AccessLife", authtest.Options{AccessLife: time.Millisecond}},
		{"AccessLife", authtest.Options{AccessLife: -time.Second}},
		{"RefreshLife", authtest.Options{RefreshLife: -1}},
		{"PasswordCost", authtest.Options{PasswordCost: 3}},
		{"PasswordCost", authtest.Options{PasswordCost: 32}},
		{"Secret", authtest.Options{Secret: []byte{}}},
		{"RSAKey", authtest.Options{Secret: []byte("x"), RSAKey: key}},
		{"JWKSWithout", authtest.Options{RSAKey: key, JWKSWithout: []string{"kid"}}},
		{"RateLimit", authtest.Options{RateLimit: -1}},
		{"RateWindow", authtest.Options{RateWindow: -1}},
		{"e-mail", authtest.Options{Accounts: []authtest.Account{{}}}},
		{"taken", authtest.Options{Accounts: []authtest.Account{{Email: "a@example.com"}, {Email: "A@example.com"}}}},
		{"UUID", authtest.Options{Accounts: []authtest.Account{{Email: "a@example.com", ID: "1"}}}},
		{"TOTPSecret", authtest.Options{Accounts: []authtest.Account{{Email: "a@example.com", TOTPSecret: "1"}}}},
	}
	for _, tt := range tests {
		if _, err := authtest.New(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error is %v, want one that names %s", err, tt.want)
		}
	}
	if _, err := authtest.Start(authtest.Options{Addr: "127.0.0.1:99999"}); err == nil {
		t.Error("Start accepts port 99999")
	}
}

// Changing the options after New has no effect.
func TestOptionsAreCopied(t *testing.T) {
	secret, roles := []byte("0123456789abcdef"), []string{"user"}
	srv, err := authtest.New(authtest.Options{Secret: secret, RegisterRoles: roles, PasswordCost: -1})
	if err != nil {
		t.Fatal(err)
	}
	secret[0], roles[0] = 'x', "root"
	if got := srv.Secret(); string(got) != "0123456789abcdef" {
		t.Errorf("the secret is %s", got)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/auth/register", strings.NewReader(`{"email":"eve@example.com","password":"`+password+`"}`))
	r.Header.Set("Content-Type", "application/json")
	if srv.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("register: %d %s", w.Code, w.Body)
	}
}

// tb is a TB that records a failure.
type tb struct {
	testing.TB
	failed string
}

func (t *tb) Fatalf(format string, args ...any) {
	t.failed = fmt.Sprintf(format, args...)
	panic(t)
}

func TestNewServerFailsTheTest(t *testing.T) {
	for _, opts := range [][]authtest.Options{{{AccessLife: 1}}, {{}, {}}} {
		f := &tb{TB: t}
		func() {
			defer func() { _ = recover() }()
			authtest.NewServer(f, opts...)
		}()
		if f.failed == "" {
			t.Errorf("NewServer accepts %+v", opts)
		}
	}
}

func TestHandler(t *testing.T) {
	srv, err := authtest.New(authtest.Options{Accounts: []authtest.Account{{Email: "ada@example.com"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	if srv.URL != "" {
		t.Errorf("URL is %s, but the server does not listen", srv.URL)
	}
	_, token := srv.SignIn("ada@example.com")

	// On another listener, with TLS and HTTP/2.
	ts := httptest.NewUnstartedServer(srv)
	ts.EnableHTTP2 = true
	ts.StartTLS()
	defer ts.Close()
	res, err := ts.Client().Get(ts.URL + "/auth/token/refresh?refresh_token=" + token)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || res.ProtoMajor != 2 {
		t.Errorf("response is %d over HTTP/%d", res.StatusCode, res.ProtoMajor)
	}
	srv.Inject(authtest.Healthz, authtest.Fault{Deliver: authtest.Reset, Times: 1})
	if res, err := ts.Client().Get(ts.URL + "/healthz"); err == nil {
		t.Errorf("response is %d, want a reset", res.StatusCode)
	}
}

// A request that was not read from a connection may have a nil Body.
func TestHandlerWithoutBody(t *testing.T) {
	srv, err := authtest.New(authtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest("POST", "/auth/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if srv.ServeHTTP(w, r); w.Code != 400 || !strings.Contains(w.Body.String(), `\"email\" is required`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestShutdown(t *testing.T) {
	t.Run("waits", func(t *testing.T) {
		c := serve(t)
		var gate authtest.Gate
		c.srv.Inject(authtest.Healthz, authtest.Fault{Before: &gate})
		done := make(chan error, 1)
		go func() { _, err := c.try("GET", "/healthz", ""); done <- err }()
		<-gate.Arrived(1)
		down := make(chan error, 1)
		go func() { down <- c.srv.Shutdown(context.Background()) }()
		eventually(t, func() bool { // the server does not listen any more
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.srv.URL, "http://"))
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		gate.Open()
		if err := <-done; err != nil {
			t.Errorf("the request in progress: %v", err)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
	t.Run("does not wait for clients that have disconnected", func(t *testing.T) {
		c := serve(t)
		c.srv.Inject(authtest.Login, authtest.Fault{Deliver: authtest.Hang})
		c.leave("POST", "/auth/login", `{}`)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("waits until the context is done", func(t *testing.T) {
		c := serve(t)
		c.srv.Inject(authtest.Healthz, authtest.Fault{Deliver: authtest.Hang})
		done := make(chan error, 1)
		go func() { _, err := c.try("GET", "/healthz", ""); done <- err }()
		eventually(t, func() bool { return c.srv.Requests(authtest.Healthz) == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := c.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if <-done == nil {
			t.Error("the hanging request got a response")
		}
	})
}

func TestClock(t *testing.T) {
	c := serve(t, authtest.Options{AccessLife: 2 * time.Second})
	for _, off := range []time.Duration{time.Hour, -2 * time.Hour} {
		c.srv.Advance(off)
		resp := c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`","cookie":false}`)
		_, payload := decode(t, resp.session().JWT)
		if iat := c.srv.Now().Unix(); !containsAll(payload, `"iat":`+strconv.FormatInt(iat, 10)+",") {
			t.Errorf("payload is %s, want iat %d", payload, iat)
		}
		if got, want := resp.header.Get("Date"), c.srv.Now().UTC().Format(http.TimeFormat); got != want {
			t.Errorf("Date is %s, want %s", got, want)
		}
	}
	// Tokens expire by the clock of the service.
	access, _ := c.login("ada@example.com")
	c.post("/auth/token/revoke", "", bearer(access)).wantEmpty(204)
	c.srv.Advance(2 * time.Second)
	c.post("/auth/token/revoke", "", bearer(access)).wantError(401, "Not logged in")
}

// By default the clock is the real one.
func TestRealClock(t *testing.T) {
	srv := authtest.NewServer(t)
	before := time.Now()
	if now := srv.Now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("it is %v at the service, %v here", now, before)
	}
}

// Printing or logging a server reveals no password, token or key.
func TestFormat(t *testing.T) {
	c := serve(t, authtest.Options{Secret: []byte("the secret key"), CookieSecret: "cookie secret", AdminSecret: "admin secret"})
	_, token := c.srv.SignIn("ada@example.com")
	c.post("/auth/login", `{"email":"ada@example.com","cookie":false}`)
	want := fmt.Sprintf("authtest.Server{%s, 5 accounts}", c.srv.URL)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, c.srv); got != want {
			t.Errorf("%s prints %s, want %s", verb, got, want)
		}
	}
	if got := fmt.Sprint(struct{ Auth *authtest.Server }{c.srv}); got != "{"+want+"}" {
		t.Errorf("in a struct it prints %s", got)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "server", c.srv)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "server", c.srv)
	if got := log.String(); !containsAll(got, want, `"server":{"URL":"`+c.srv.URL+`"}`) {
		t.Errorf("log is %s", got)
	}
	for _, hidden := range []string{password, secret, token, c.mail().Token, "ada@example.com", "the secret key"} {
		if strings.Contains(log.String(), hidden) {
			t.Errorf("the log contains %q: %s", hidden, &log)
		}
	}
	if srv, err := authtest.New(authtest.Options{}); err != nil || fmt.Sprint(srv) != "authtest.Server{not listening, 0 accounts}" {
		t.Errorf("a server that does not listen prints %v (%v)", srv, err)
	}
}

func TestAccounts(t *testing.T) {
	c := serve(t)
	roles := []string{"user"}
	added := c.srv.AddAccount(authtest.Account{Email: "Eve@example.com", Roles: roles})
	roles[0] = "changed by the caller"
	if added.ID == "" || added.DefaultRole != "user" || added.DisplayName != "Eve@example.com" || added.Roles[0] != "user" {
		t.Errorf("added is %+v", added)
	}
	byID, _ := c.srv.Account(added.ID)
	byEmail, ok := c.srv.Account("eve@EXAMPLE.com")
	if !ok || byID.ID != added.ID || byEmail.ID != added.ID {
		t.Errorf("found %+v and %+v", byID, byEmail)
	}
	c.srv.UpdateAccount(added.ID, func(a *authtest.Account) {
		a.ID = "ignored"
		a.Email = "eva@example.com"
		a.Password = password
		a.DisplayName = "Eva"
	})
	s := c.post("/auth/login", `{"email":"eva@example.com","password":"`+password+`","cookie":false}`).session()
	if s.User.ID != added.ID || s.User.DisplayName != "Eva" {
		t.Errorf("user is %+v", s.User)
	}
	c.srv.DeleteAccount("eva@example.com")
	c.srv.DeleteAccount("eva@example.com")
	if _, ok := c.srv.Account(added.ID); ok {
		t.Error("the account is still there")
	}
	if info, _ := c.srv.Token(s.RefreshToken); info.State != authtest.TokenEnded {
		t.Errorf("its token is %s", info.State)
	}
	c.post("/auth/login", `{"email":"eva@example.com","password":"x"}`).wantError(400, "Account does not exist.")

	panics := map[string]func(){
		"taken": func() { c.srv.AddAccount(authtest.Account{Email: "ADA@example.com"}) },
		"taken by bob": func() {
			c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Email = "bob@example.com" })
		},
		"nobody changed": func() { c.srv.UpdateAccount("nobody@example.com", func(*authtest.Account) {}) },
		"bad secret":     func() { c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.TOTPSecret = "!" }) },
		"nobody":         func() { c.srv.SignIn("nobody@example.com") },
	}
	for name, f := range panics {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	c.login("ada@example.com") // after a panic nothing is locked or changed
}

func TestTokenStates(t *testing.T) {
	c := serve(t)
	_, first := c.srv.SignIn("ada@example.com")
	state := func(token string, want authtest.TokenState, uses int) {
		t.Helper()
		info, ok := c.srv.Token(token)
		if !ok || info.State != want || info.Uses != uses {
			t.Errorf("token is %+v, want %s after %d uses", info, want, uses)
		}
	}
	state(first, authtest.TokenLive, 0)
	second := c.refresh(first).session().RefreshToken
	state(first, authtest.TokenUsed, 1)
	c.refresh(first).wantError(401, refused)
	state(first, authtest.TokenUsed, 2)
	state(second, authtest.TokenEnded, 0)
	c.refresh(second).wantError(401, refused)
	if n := c.srv.Reuses(); n != 1 {
		t.Errorf("Reuses is %d: a revoked token is not a used one", n)
	}
	_, third := c.srv.SignIn("ada@example.com")
	if info, _ := c.srv.Token(third); !info.IssuedAt.Equal(c.srv.Now()) || info.ExpiresAt.Sub(info.IssuedAt) != 30*24*time.Hour {
		t.Errorf("token is %+v, want issued now and valid for 30 days", info)
	}
	c.live("ada@example.com", 1)
	c.live("nobody@example.com", 0)
	c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = true })
	c.live("ada@example.com", 0) // an inactive account has no usable tokens
	c.srv.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = false })
	c.srv.Advance(31 * 24 * time.Hour)
	state(first, authtest.TokenUsed, 2)
	state(second, authtest.TokenEnded, 1)
	state(third, authtest.TokenExpired, 0)
	c.live("ada@example.com", 0)
	access, fourth := c.srv.SignIn("ada@example.com")
	c.post("/auth/token/revoke", "", bearer(access)).wantEmpty(204)
	state(first, authtest.TokenUsed, 2) // a used token keeps its state
	state(fourth, authtest.TokenEnded, 0)
	if _, ok := c.srv.Token(uuid4); ok {
		t.Error("an unknown token is known")
	}
	if n := c.srv.Refreshes(); n != 1 {
		t.Errorf("Refreshes is %d, want 1", n)
	}
}

// Many users at once get their own tokens, and the counts are right.
func TestManyUsers(t *testing.T) {
	const users, rounds = 50, 10
	c := serve(t)
	var wg sync.WaitGroup
	for i := range users {
		email := fmt.Sprintf("user%d@example.com", i)
		id := c.srv.AddAccount(authtest.Account{Email: email, Password: password}).ID
		wg.Go(func() {
			resp, err := c.try("POST", "/auth/login", fmt.Sprintf(`{"email":%q,"password":%q,"cookie":false}`, email, password))
			for range rounds {
				if err != nil || resp.status != 200 {
					t.Errorf("%s: %v %+v", email, err, resp)
					return
				}
				s := resp.session()
				if s.User.ID != id {
					t.Errorf("%s got the tokens of %s", email, s.User.Email)
				}
				resp, err = c.try("GET", "/auth/token/refresh?refresh_token="+s.RefreshToken, "")
			}
		})
	}
	wg.Wait()
	if n := c.srv.Refreshes(); n != users*rounds {
		t.Errorf("Refreshes is %d, want %d", n, users*rounds)
	}
	if n := c.srv.Reuses(); n != 0 {
		t.Errorf("Reuses is %d", n)
	}
}
