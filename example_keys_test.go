package session_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// Load keys from the environment or from a file of secrets. Their format is
// that of Encode and of "openssl rand -base64 32", separated by commas.
func ExampleParseKeys() {
	secrets := session.GenerateKey().Encode() + "," + session.GenerateKey().Encode() // os.Getenv("SESSION_KEYS")
	keys, err := session.ParseKeys(secrets)
	fmt.Println(keys, err) // a key prints without its secret

	_, err = session.ParseKeys("c2VjcmV0")
	fmt.Println(err)
	// Output:
	// [session.SecretKey[redacted] session.SecretKey[redacted]] <nil>
	// session: key 1 has 6 bytes, at least 32 are needed; make one with: openssl rand -base64 32
}

// A key is replaced, and no user is signed out. The first key seals, and every key opens.
// First add the new key at the end of the list, in every process. Then move it to the
// front. Remove the old key after Config.Lifetime.
func ExampleConfig_keys() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()

	var running atomic.Value // the app with its current keys
	deploy := func(keys ...session.SecretKey) {
		m, err := session.New(session.Config{Auth: synmetrix.NewClient(auth.URL), Keys: keys})
		if err != nil {
			log.Fatal(err)
		}
		mux := http.NewServeMux()
		middleware.Mount(mux, m)
		mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintln(w, "signed in:", session.FromContext(r.Context()).SignedIn())
		})
		running.Store(middleware.Sessions(m)(mux))
	}
	app := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Load().(http.Handler).ServeHTTP(w, r)
	}))
	defer app.Close()

	older, newer := session.GenerateKey(), session.GenerateKey()
	ada, bob := newGuest(app), newGuest(app)
	deploy(older)
	ada.signIn("ada@example.com")
	bob.signIn("bob@example.com")

	deploy(older, newer)
	fmt.Println("Ada:", ada.get("/"))
	deploy(newer, older)
	fmt.Println("Ada:", ada.get("/")) // with new cookies
	deploy(newer)
	fmt.Println("Ada:", ada.get("/"))
	fmt.Println("Bob:", bob.get("/")) // sent no request in the meantime
	// Output:
	// Ada: 200 signed in: true
	// Ada: 200 signed in: true
	// Ada: 200 signed in: true
	// Bob: 200 signed in: false
}
