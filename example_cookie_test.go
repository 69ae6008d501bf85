package session_test

import (
	"fmt"
	"log"
	"net/http"
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

// Another site shows the app in a frame. Browsers keep separate cookies there, and only
// that site may show the app.
func ExampleConfig_embedders() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth:      synmetrix.NewClient(auth.URL),
		Keys:      []session.SecretKey{session.GenerateKey()},
		Embedders: []string{"https://shop.example.com"},
		Cookie:    session.Cookie{SameSite: http.SameSiteNoneMode, Partitioned: true},
	})
	if err != nil {
		log.Fatal(err)
	}
	app := httptest.NewTLSServer(guarded(m))
	defer app.Close()
	res, err := newGuest(app).client.PostForm(app.URL+"/login", url.Values{"email": {"ada@example.com"}, "password": {"correct horse"}})
	if err != nil {
		log.Fatal(err)
	}
	_ = res.Body.Close()
	c := res.Cookies()[0]
	c.Value = ""
	fmt.Println(c)
	fmt.Println(res.Header.Get("Content-Security-Policy"))
	// Output:
	// __Host-session=; Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=None; Partitioned
	// frame-ancestors 'self' https://shop.example.com
}

// Two apps are on one host. Each has its own cookies.
func ExampleCookie_path() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	mux := http.NewServeMux()
	for _, path := range []string{"/sales", "/stock"} {
		m, err := session.New(session.Config{
			Auth:      synmetrix.NewClient(auth.URL),
			Keys:      []session.SecretKey{session.GenerateKey()},
			LoginPath: path + "/login",
			Cookie:    session.Cookie{Path: path},
		})
		if err != nil {
			log.Fatal(err)
		}
		mux.Handle(path+"/", http.StripPrefix(path, guarded(m)))
	}
	host := httptest.NewTLSServer(mux)
	defer host.Close()
	user := newGuest(host)
	fmt.Println(user.post("/sales/login", "email", "ada@example.com", "password", "correct horse", "return_to", "/sales/"))
	fmt.Println(user.post("/stock/login", "email", "bob@example.com", "password", "correct horse", "return_to", "/stock/"))
	fmt.Println(user.post("/stock/logout"))
	fmt.Println(user.get("/sales/"))
	fmt.Println(user.get("/stock/"))
	// Output:
	// 303 to /sales/
	// 303 to /stock/
	// 303 to /
	// 200 Hello
	// 303 to /stock/login?return_to=%2Fstock%2F
}
