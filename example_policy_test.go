package session_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// owner accepts the owner of a document and every admin. It is called for
// signed-in users only.
func owner(userID string) session.Policy {
	return func(s *session.Session) bool {
		return s.UserID() == userID || s.HasRole("admin")
	}
}

// A policy that depends on the requested document. Use middleware.Require for a
// policy that does not depend on the request.
func ExampleSession_Authorize() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	ownerOf := map[string]string{
		"letter": "7c9e6679-7425-40de-944b-e07fc1f90ae7", // Bob
		"diary":  "16fd2706-8baf-433b-82eb-8c7fada847da", // Eve
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("GET /documents/{name}", func(w http.ResponseWriter, r *http.Request) {
		err := session.FromContext(r.Context()).Authorize(owner(ownerOf[r.PathValue("name")]))
		if errors.Is(err, session.ErrForbidden) {
			http.NotFound(w, r) // does not show other users that the document exists
			return
		}
		if err != nil { // not signed in, or the session cannot be determined
			middleware.Refuse(w, r, err)
			return
		}
		fmt.Fprintln(w, "the", r.PathValue("name"))
	})
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	for _, name := range []string{"ada", "bob"} {
		g := newGuest(app)
		fmt.Println(name, g.get("/documents/letter"))
		g.signIn(name + "@example.com")
		fmt.Println(name, g.get("/documents/letter"))
		fmt.Println(name, g.get("/documents/diary"))
	}
	// Output:
	// ada 303 to /login?return_to=%2Fdocuments%2Fletter
	// ada 200 the letter
	// ada 200 the diary
	// bob 303 to /login?return_to=%2Fdocuments%2Fletter
	// bob 200 the letter
	// bob 404 404 page not found
}
