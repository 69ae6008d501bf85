package session_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"net/url"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// The default cookies are the safest. The second cookies are sent to all hosts
// of a domain, and are deleted when the browser is closed.
func ExampleConfig_cookie() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	for _, cookie := range []session.Cookie{
		{},
		{Name: "acme", Domain: "example.com", NonPersistent: true},
	} {
		m, err := session.New(session.Config{
			Auth:   synmetrix.NewClient(auth.URL),
			Keys:   []session.SecretKey{session.GenerateKey()},
			Cookie: cookie,
		})
		if err != nil {
			log.Fatal(err)
		}
		app := httptest.NewTLSServer(guarded(m))
		res, err := newGuest(app).client.PostForm(app.URL+"/login", url.Values{"email": {"ada@example.com"}, "password": {"correct horse"}})
		if err != nil {
			log.Fatal(err)
		}
		_ = res.Body.Close()
		for _, c := range res.Cookies() {
			c.Value = ""
			fmt.Println(c)
		}
		app.Close()
	}
	// Output:
	// __Host-session=; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax
	// __Host-session-state=; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax
	// __Host-session-device=; Path=/; Max-Age=34560000; HttpOnly; Secure; SameSite=Lax
	// __Secure-acme=; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax
	// __Secure-acme-state=; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax
	// __Secure-acme-device=; Path=/; Domain=example.com; HttpOnly; Secure; SameSite=Lax
}
