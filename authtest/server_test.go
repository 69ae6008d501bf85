package authtest_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
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
		t.Error("it listens on port 99999")
	}
}

// tb is a test that can be seen to fail.
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
			t.Errorf("NewServer took %+v", opts)
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
		t.Errorf("URL is %s, but it does not listen", srv.URL)
	}
	_, token := srv.SignIn("ada@example.com")

	// On a listener of one's own, with TLS and HTTP/2.
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
		t.Errorf("answer is %d over HTTP/%d", res.StatusCode, res.ProtoMajor)
	}
	srv.Inject(authtest.Healthz, authtest.Fault{Deliver: authtest.Reset, Times: 1})
	if res, err := ts.Client().Get(ts.URL + "/healthz"); err == nil {
		t.Errorf("answer is %d, want a reset", res.StatusCode)
	}
}

func TestShutdown(t *testing.T) {
	t.Run("waits", func(t *testing.T) {
		c := serve(t)
		var gate authtest.Gate
		c.srv.Inject(authtest.Healthz, authtest.Fault{Before: &gate})
		answered := make(chan error, 1)
		go func() { _, err := c.try("GET", "/healthz", ""); answered <- err }()
		<-gate.Arrived(1)
		down := make(chan error, 1)
		go func() { down <- c.srv.Shutdown(context.Background()) }()
		eventually(t, func() bool { // it does not listen any more
			conn, err := net.Dial("tcp", strings.TrimPrefix(c.srv.URL, "http://"))
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		gate.Open()
		if err := <-answered; err != nil {
			t.Errorf("the request in progress: %v", err)
		}
		if err := <-down; err != nil {
			t.Error(err)
		}
	})
	t.Run("not for those who have left", func(t *testing.T) {
		c := serve(t)
		c.srv.Inject(authtest.Login, authtest.Fault{Deliver: authtest.Hang})
		c.leave("POST", "/auth/login", `{}`)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("not for ever", func(t *testing.T) {
		c := serve(t)
		c.srv.Inject(authtest.Healthz, authtest.Fault{Deliver: authtest.Hang})
		answered := make(chan error, 1)
		go func() { _, err := c.try("GET", "/healthz", ""); answered <- err }()
		eventually(t, func() bool { return c.srv.Requests(authtest.Healthz) == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := c.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error is %v", err)
		}
		if <-answered == nil {
			t.Error("the hanging request was answered")
		}
	})
}

func TestClock(t *testing.T) {
	c := serve(t, authtest.Options{AccessLife: 2 * time.Second})
	for _, off := range []time.Duration{time.Hour, -2 * time.Hour} {
		c.srv.Advance(off)
		a := c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`","cookie":false}`)
		_, payload := decode(t, a.session().JWT)
		iat := c.srv.Now().Unix()
		if !containsAll(payload, `"iat":`+strconv.FormatInt(iat, 10)) && !containsAll(payload, `"iat":`+strconv.FormatInt(iat-1, 10)) {
			t.Errorf("payload is %s, want iat about %d", payload, iat)
		}
		date, err := http.ParseTime(a.header.Get("Date"))
		if d := c.srv.Now().Sub(date); err != nil || d < 0 || d > 5*time.Second {
			t.Errorf("Date is %s (%v)", a.header.Get("Date"), err)
		}
	}
	// A second is enough of a life, and over when the clock says so.
	access, _ := c.login("ada@example.com")
	c.post("/auth/token/revoke", "", bearer(access)).is(204)
	c.srv.Advance(3 * time.Second)
	c.post("/auth/token/revoke", "", bearer(access)).says(401, "Not logged in")
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
	c.post("/auth/login", `{"email":"eva@example.com","password":"x"}`).says(400, "Account does not exist.")

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
	c.login("ada@example.com") // nothing is locked or changed after a panic
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
	c.refresh(first).says(401, refused)
	state(first, authtest.TokenUsed, 2)
	state(second, authtest.TokenEnded, 0)
	c.refresh(second).says(401, refused)
	if n := c.srv.Reuses(); n != 1 {
		t.Errorf("Reuses is %d: a token that was ended has not been used", n)
	}
	_, third := c.srv.SignIn("ada@example.com")
	c.srv.Advance(31 * 24 * time.Hour)
	state(third, authtest.TokenExpired, 0)
	c.live("ada@example.com", 0)
	if _, ok := c.srv.Token(uuid4); ok {
		t.Error("an unknown token is known")
	}
	if n := c.srv.Refreshes(); n != 1 {
		t.Errorf("Refreshes is %d, want 1", n)
	}
}

func TestSignedCookies(t *testing.T) {
	c := serve(t, authtest.Options{CookieSecret: "a secret", CookieSecure: true, CookieSameSite: http.SameSiteNoneMode})
	a := c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`)
	for _, line := range a.header["Set-Cookie"] {
		if !containsAll(line, "=s%3A", "; HttpOnly; Secure; SameSite=None") {
			t.Errorf("Set-Cookie is %s", line)
		}
	}
	cookies := a.cookies()
	identity := "permission_variables=" + cookies["permission_variables"]
	c.post("/auth/token/revoke", "", "Cookie: "+identity).is(204)

	cookies = c.post("/auth/login", `{"email":"ada@example.com","password":"`+password+`"}`).cookies()
	good := "Cookie: refresh_token=" + cookies["refresh_token"]
	_, adas := c.srv.SignIn("ada@example.com")
	// A wrong signature is an empty cookie, and wins over the query as well.
	c.get("/auth/token/refresh?refresh_token="+adas, good+"0").says(401, refused)
	c.get("/auth/token/refresh", good).cookieSession()

	// One without a signature is no cookie at all.
	bob, _ := c.srv.Account("bob@example.com")
	c.post("/auth/token/revoke", "", `Cookie: permission_variables={"user-id":"`+bob.ID+`"}`).says(401, "Not logged in")
	_, token := c.login("bob@example.com")
	c.get("/auth/token/refresh?refresh_token="+token, "Cookie: refresh_token="+uuid4).session()
}

func TestRateLimit(t *testing.T) {
	c := serve(t, authtest.Options{RateLimit: 3})
	begun := c.srv.Now()
	for left := 2; left >= 0; left-- {
		a := c.get("/auth/token/refresh").says(401, refused)
		if got := a.header.Get("X-RateLimit-Remaining"); got != strconv.Itoa(left) {
			t.Errorf("X-RateLimit-Remaining is %s, want %d", got, left)
		}
	}
	c.srv.Advance(10 * time.Minute)
	for range 2 {
		a := c.get("/nothing").says(429, "You are being rate limited.")
		reset, _ := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64)
		if d := time.Unix(reset, 0).Sub(begun); d < 15*time.Minute || d > 15*time.Minute+5*time.Second {
			t.Errorf("X-RateLimit-Reset is %v after the first request", d)
		}
		// The whole window, not what is left of it.
		if a.header.Get("Retry-After") != "900" || a.header.Get("X-RateLimit-Limit") != "3" || a.header.Get("X-RateLimit-Remaining") != "0" {
			t.Errorf("header is %v", a.header)
		}
	}
	if a := c.get("/healthz"); a.status != 200 || a.header.Get("X-RateLimit-Limit") != "" {
		t.Errorf("/healthz is %d with %v", a.status, a.header)
	}
	c.get("/nothing", "X-Forwarded-For: 192.0.2.1, 192.0.2.7").says(404, "Not Found")
	c.get("/nothing", "X-Forwarded-For: 192.0.2.7").says(404, "Not Found")
	if got := c.get("/nothing", "X-Forwarded-For: 192.0.2.7").header.Get("X-RateLimit-Remaining"); got != "0" {
		t.Errorf("X-RateLimit-Remaining of another client is %s", got)
	}
	c.srv.Advance(5*time.Minute + time.Second)
	c.get("/nothing").says(404, "Not Found")
}

// Many users at once: each one's tokens are their own, and the counts add up.
func TestLoad(t *testing.T) {
	const users, rounds = 50, 10
	c := serve(t)
	var wg sync.WaitGroup
	for i := range users {
		email := fmt.Sprintf("user%d@example.com", i)
		id := c.srv.AddAccount(authtest.Account{Email: email, Password: password}).ID
		wg.Go(func() {
			a, err := c.try("POST", "/auth/login", fmt.Sprintf(`{"email":%q,"password":%q,"cookie":false}`, email, password))
			for range rounds {
				if err != nil || a.status != 200 {
					t.Errorf("%s: %v %+v", email, err, a)
					return
				}
				s := a.session()
				if s.User.ID != id {
					t.Errorf("%s got the tokens of %s", email, s.User.Email)
				}
				a, err = c.try("GET", "/auth/token/refresh?refresh_token="+s.RefreshToken, "")
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
