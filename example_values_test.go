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

// basket is a value that the app keeps in the sessions of its users and visitors. The key
// has the type of the value.
var basket = session.NewKey[[]string]("basket")

// putIntoBasket is a handler that changes a value. It works for visitors who are not
// signed in, too.
func putIntoBasket(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	items, _ := basket.Get(s) // the zero value if there is none
	err := basket.Set(s, append(items, r.PostFormValue("item")))
	switch {
	case errors.Is(err, session.ErrTooLarge): // the cookies are full
		http.Error(w, "the basket is full", http.StatusUnprocessableEntity)
	case err != nil:
		middleware.Refuse(w, r, err)
	default:
		w.WriteHeader(http.StatusNoContent) // saves the change
	}
}

func ExampleKey() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("POST /basket", putIntoBasket)
	mux.HandleFunc("GET /basket", func(w http.ResponseWriter, r *http.Request) {
		s := session.FromContext(r.Context())
		items, _ := basket.Get(s)
		fmt.Fprintln(w, items)
	})
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada := newGuest(app)
	fmt.Println(ada.post("/basket", "item", "tea"))
	ada.signIn("ada@example.com") // keeps the values
	fmt.Println(ada.post("/basket", "item", "milk"))
	fmt.Println(ada.get("/basket"))
	// Output:
	// 204 No Content
	// 204 No Content
	// 200 [tea milk]
}
