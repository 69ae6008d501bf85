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

// ownLogin has the app's own login pages, in place of those that middleware.Mount
// adds.
type ownLogin struct{ m *session.Manager }

func (l ownLogin) password(w http.ResponseWriter, r *http.Request) {
	// A page of another site must not sign the user in with another account.
	// Sessions only checks requests that carry a session cookie.
	if err := l.m.CheckOrigin(r); err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	err := l.m.Login(r.Context(), r.PostFormValue("email"), r.PostFormValue("password"))
	if errors.Is(err, auth.ErrSecondFactor) {
		// A sealed cookie holds the pending login.
		http.Redirect(w, r, "/sign-in/code", http.StatusSeeOther)
		return
	}
	l.respond(w, r, err)
}

func (l ownLogin) code(w http.ResponseWriter, r *http.Request) {
	if err := l.m.CheckOrigin(r); err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	l.respond(w, r, l.m.LoginTOTP(r.Context(), r.PostFormValue("code")))
}

func (l ownLogin) respond(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case err == nil:
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case errors.Is(err, auth.ErrTicketRefused), errors.Is(err, session.ErrNoPendingLogin):
		http.Redirect(w, r, "/sign-in", http.StatusSeeOther) // from the start
	case errors.Is(err, auth.ErrRefused):
		http.Error(w, "The credentials are wrong.", http.StatusUnauthorized) // the same text for every reason
	default:
		middleware.Refuse(w, r, err) // usually an outage
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
	// Ada: 401 The credentials are wrong.
	// Ada: 303 to /
	// Ada: 200 Hello
	// Eve: 303 to /sign-in/code
	// Eve: 303 to /sign-in?return_to=%2F
	// Eve: 303 to /
	// Eve: 200 Hello
}
