package dashboard_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/authtest"
)

func testEmailChange(t *testing.T, tt target) {
	s := startAccounts(t, tt, verifies)
	b := s.signedIn(t, viewer)
	s.browser(t).page("/email").leadsTo("/login?return_to=%2Femail")
	b.page("/email").isPage(200)
	b.postJSON("/email", `{"new_email":"`+fresh+`","password":"wrong one"}`).problem(403, "wrong_password")
	b.postJSON("/email", `{"new_email":"x","password":"`+password+`"}`).problem(422, "invalid_request")
	b.postJSON("/email", `{"new_email":"`+admin+`","password":"`+password+`"}`).is(202)
	b.postJSON("/email", `{"new_email":"`+fresh+`","password":"`+password+`"}`).is(202)
	ticket := s.mail().Ticket
	s.browser(t).page("/email/confirm?ticket=" + ticket).isPage(200)
	s.browser(t).postJSON("/email/confirm", `{"ticket":"`+ticket+`"}`).is(204)
	s.browser(t).postJSON("/email/confirm", `{"ticket":"`+ticket+`"}`).problem(401, "invalid_ticket")
	s.browser(t).postJSON("/login", `{"email":"`+fresh+`","password":"`+password+`"}`).is(200)
}

func testSecondFactorSetup(t *testing.T, tt target) {
	s := startAccounts(t, tt, authtest.Options{})
	b := s.signedIn(t, viewer)
	b.page("/mfa/setup").isPage(200)
	b.postJSON("/mfa/setup", `{"password":"wrong one"}`).problem(403, "wrong_password")
	secret, _ := b.postJSON("/mfa/setup", `{"password":"`+password+`"}`).is(200).object()["secret"].(string)
	s.secrets.Add("key of the second factor", secret)
	right, err := totp.GenerateCode(secret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.postJSON("/mfa/enable", `{"code":"12345"}`).problem(403, "wrong_code")
	b.postJSON("/mfa/enable", `{"code":"`+right+`"}`).is(204)
	s.browser(t).postJSON("/login", `{"email":"`+viewer+`","password":"`+password+`"}`).is(202)
	b.postJSON("/mfa/setup", `{"password":"`+password+`"}`).problem(409, "second_factor")
	b.postForm("/mfa/remove", "code", right).leadsTo("/mfa/remove?done=1")
	b.page("/mfa/remove?done=1").isPage(200)
}

func testAccountDeletion(t *testing.T, tt target) {
	s := startAccounts(t, tt, authtest.Options{SelfDelete: true})
	b, other := s.signedIn(t, viewer), s.signedIn(t, viewer)
	b.page("/account/delete").isPage(200)
	b.postForm("/account/delete", "password", "wrong one").isPage(403)
	b.postJSON("/account/delete", `{"password":"`+password+`"}`).is(204)
	b.visitor()
	eventually(t, "the other session ends", func() bool { return other.get("/api/me").status == 401 })
	b.postJSON("/login", `{"email":"`+viewer+`","password":"`+password+`"}`).problem(401, "invalid_credentials")
}

// The limits of guesses and e-mails apply. A trusted proxy sets the addresses, so that
// the test can use many.
func testLimits(t *testing.T, tt target) {
	s := startAccounts(t, tt, authtest.Options{}, "TRUSTED_PROXIES=127.0.0.0/8")
	post := func(b *browser, addr int, path, body string) *response {
		return b.do("POST", path, body, "Content-Type", typeJSON, "Accept", acceptJSON, "X-Forwarded-For", "203.0.113."+strconv.Itoa(addr))
	}
	wrong, right := `{"email":"`+viewer+`","password":"wrong one"}`, `{"email":"`+viewer+`","password":"`+password+`"}`
	// The attempts are concurrent, because each refusal takes 300 ms.
	statuses := make(chan int, 40)
	for range cap(statuses) {
		go func() { statuses <- post(s.browser(t), 1, "/login", wrong).status }()
	}
	got := map[int]int{}
	for range cap(statuses) {
		got[<-statuses]++
	}
	if got[401] != 10 || got[429] != 30 {
		t.Errorf("statuses %v, want 401 for 10 and 429 for 30", got)
	}
	post(s.browser(t), 1, "/login", right).problem(429, "too_many_attempts")
	owner := s.browser(t)
	post(owner, 2, "/login", right).is(200)
	post(owner, 1, "/login", right).problem(429, "too_many_attempts")
	for i := range 6 {
		a := post(s.browser(t), 10+i, "/magic-link", `{"email":"`+viewer+`"}`)
		if i < 5 {
			a.is(202)
		} else {
			a.problem(429, "too_many_attempts")
		}
	}
}
