package session_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// ownLogin has pages of its own for signing in, in place of those that
// middleware.Mount adds.
type ownLogin struct{ m *session.Manager }

func (l ownLogin) password(w http.ResponseWriter, r *http.Request) {
	// Nobody is to be signed in by the page of another site, as somebody else.
	// Sessions sees to it where there is a session already; here there is none.
	if err := l.m.CheckOrigin(r); err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	err := l.m.Login(r.Context(), r.PostFormValue("email"), r.PostFormValue("password"))
	if errors.Is(err, auth.ErrSecondFactor) {
		// Whose code is asked for is in a sealed cookie.
		http.Redirect(w, r, "/sign-in/code", http.StatusSeeOther)
		return
	}
	l.answer(w, r, err)
}

func (l ownLogin) code(w http.ResponseWriter, r *http.Request) {
	if err := l.m.CheckOrigin(r); err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	l.answer(w, r, l.m.LoginTOTP(r.Context(), r.PostFormValue("code")))
}

func (l ownLogin) answer(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case err == nil:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case errors.Is(err, auth.ErrTicketRefused), errors.Is(err, session.ErrNoPendingLogin):
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther) // from the start
	case errors.Is(err, auth.ErrRefused):
		http.Error(w, "That is not right.", http.StatusUnauthorized) // one text, whatever was wrong
	default:
		middleware.Refuse(w, r, err) // an outage, most likely
	}
}

func ExampleManager_Login() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth:      synmetrix.NewClient(auth.URL),
		Keys:      []session.SecretKey{session.GenerateKey()},
		LoginPath: "/sign-in", // where guards send visitors
	})
	if err != nil {
		log.Fatal(err)
	}
	login := ownLogin{m}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sign-in", login.password)
	mux.HandleFunc("POST /sign-in/code", login.code)
	mux.Handle("GET /{$}", middleware.RequireUser(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "Hello")
	})))
	app := httptest.NewTLSServer(middleware.Sessions(m)(mux))
	defer app.Close()

	ada, eve := newGuest(app), newGuest(app)
	fmt.Println("Ada:", ada.get("/"))
	fmt.Println("Ada:", ada.post("/sign-in", "email", "ada@example.com", "password", "wrong horse"))
	fmt.Println("Ada:", ada.post("/sign-in", "email", "ada@example.com", "password", "correct horse"))
	fmt.Println("Ada:", ada.get("/"))
	fmt.Println("Eve:", eve.post("/sign-in", "email", "eve@example.com", "password", "correct horse"))
	fmt.Println("Eve:", eve.get("/")) // not signed in yet
	fmt.Println("Eve:", eve.post("/sign-in/code", "code", codeOf(time.Now())))
	fmt.Println("Eve:", eve.get("/"))
	// Output:
	// Ada: 303 to /sign-in?return_to=%2F
	// Ada: 401 That is not right.
	// Ada: 303 to /
	// Ada: 200 Hello
	// Eve: 303 to /sign-in/code
	// Eve: 303 to /sign-in?return_to=%2F
	// Eve: 303 to /
	// Eve: 200 Hello
}
