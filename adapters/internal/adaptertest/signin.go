package adaptertest

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/middleware"
)

// fresh tests that users who have signed in too long ago sign in again and keep their
// session, the box "keep me signed in", and passive requests.
func fresh(a *trial) []*webapp.Response {
	visitor, b, _ := a.serve(Spec{
		Options: []middleware.Option{middleware.WithRememberMe(true, 10*time.Hour)},
		Routes: []Route{
			{"GET", "/pay", Guard{Fresh: 10 * time.Minute}, show},
			{"POST", "/pay", Guard{Fresh: 10 * time.Minute}, show},
			{"GET", "/set", Guard{}, set("cart", "tea")},
			{"GET", "/poll", Guard{Passive: true}, Whoami},
			{"GET", "/user", Guard{User: true}, Whoami},
		},
	})
	visitor.Open("/pay").Is(303)
	visitor.Get("/pay").Says(401, "unauthenticated")
	visitor.Open("/login").Says(200, `type="checkbox" value="true" checked`)
	b.Submit("/login", "email", Viewer, "password", Password, "remember", "true").Is(303)
	b.Get("/set").Is(200)
	b.Open("/pay").Says(200, "cart=tea")
	a.Expire()
	b.Get("/pay").Says(401, "reauthentication_required")
	b.Submit("/pay", "amount", "7").Says(401, "sign in again")
	const again = "/login?return_to=%2Fpay&again=1"
	if to := b.Open("/pay").Is(303).Header.Get("Location"); to != again {
		a.T.Errorf("Location: %q", to)
	}
	if page := b.Open(again).Says(200, `value="`+Viewer+`"`); strings.Contains(page.Body, "checkbox") {
		a.T.Error("the page has the box to stay signed in")
	}
	b.Submit(again, "email", Viewer, "password", "wrong", "return_to", "/pay").Says(401, "please sign in again")
	b.Submit(again, "email", Viewer, "password", Password, "return_to", "/pay").Is(303)
	b.Open("/pay").Says(200, "cart=tea")

	json := []string{"Content-Type", "application/json"}
	for _, c := range []struct {
		body     string // of a login
		remember bool
	}{{`"remember":true`, true}, {`"remember":false`, false}, {`"x":1`, true}} {
		res := visitor.Do("POST", "/login", `{"email":"`+Viewer+`","password":"`+Password+`",`+c.body+`}`, json...).Is(200)
		if got := keeps(res); got != c.remember {
			a.T.Errorf("%s: remembered: %v", c.body, got)
		}
		visitor.Submit("/logout").Is(303)
	}
	visitor.Do("POST", "/login", `{"email":"`+Viewer+`","password":"`+Password+`","remember":"yes"}`, json...).Is(422)
	if !keeps(visitor.Submit("/login", "email", Viewer, "password", Password, "remember", "true").Is(303)) {
		a.T.Error("a box that is checked: not remembered")
	}
	visitor.Submit("/logout").Is(303)
	if keeps(visitor.Submit("/login", "email", Viewer, "password", Password).Is(303)) {
		a.T.Error("a box that is not checked: remembered")
	}
	for range 2 {
		a.Advance(5 * time.Hour)
		b.Get("/poll").Says(200, "0000000b")
		visitor.Get("/user")
	}
	visitor.Get("/user").Is(401) // the lifetime of a session that is not remembered
	a.Advance(15 * time.Hour)
	b.Get("/user").Is(401) // nothing but polls
	return responsesOf(visitor, b)
}

// acting tests that a user acts as another user.
func acting(a *trial) []*webapp.Response {
	_, viewer, admin := a.serve(Spec{Routes: []Route{
		{"GET", "/me", Guard{}, middleware.Me},
		{"GET", "/admin", Guard{Roles: []string{"admin"}}, Whoami},
		{"POST", "/act", Guard{Roles: []string{"admin"}}, func(w http.ResponseWriter, r *http.Request) {
			var tokens auth.Tokens
			tokens.AccessToken, tokens.RefreshToken = a.Auth.SignIn(Viewer)
			if err := a.Manager.ActAs(r.Context(), auth.Grant{Tokens: tokens}); err != nil {
				middleware.Refuse(w, r, err)
			}
		}},
		{"POST", "/others", Guard{User: true}, func(w http.ResponseWriter, r *http.Request) {
			if err := a.Manager.LogoutOthers(r.Context()); err != nil {
				middleware.Refuse(w, r, err)
			}
		}},
	}})
	viewer.Submit("/act").Is(403)
	admin.Submit("/act").Is(200)
	for range 2 {
		admin.Get("/me").Says(200, `-00000000000a"`)
		admin.Get("/admin").Is(403)
		a.Expire() // both sessions refresh their tokens
	}
	admin.Submit("/others").Says(403, "acting as another user")
	admin.Do("POST", "/others", "").Says(403, `"code":"acting"`)
	admin.Do("POST", "/logout", `{"all":true}`, "Content-Type", "application/json").Is(204)
	admin.Get("/admin").Says(200, "0000000a")
	viewer.Get("/me").Is(401) // signed out everywhere
	admin.Submit("/logout").Is(303)
	admin.Get("/admin").Is(401)
	return responsesOf(viewer, admin)
}

// keeps reports whether the cookies of a session outlive the browser.
func keeps(r *webapp.Response) bool {
	for _, c := range r.Cookies() {
		if c.Name == "__Host-session" {
			return c.MaxAge > 0
		}
	}
	return false
}

// set returns a handler that sets a value.
func set(name, value string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := session.NewKey[string](name).Set(session.FromContext(r.Context()), value); err != nil {
			middleware.Refuse(w, r, err)
		}
	}
}

// show responds with the values of the session, and removes the message.
func show(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	for _, name := range s.ValueNames() {
		v, _ := session.NewKey[string](name).Get(s)
		fmt.Fprintf(w, "%s=%s ", name, v)
	}
}

// visitors tests the values of visitors who are not signed in.
func visitors(a *trial) []*webapp.Response {
	message := session.NewKey[string]("message")
	b, _, _ := a.serve(Spec{Routes: []Route{
		{"GET", "/", Guard{}, show},
		{"GET", "/set", Guard{}, set("cart", "tea")},
		{"GET", "/note", Guard{}, set("message", "hello")},
		{"GET", "/next", Guard{}, func(w http.ResponseWriter, r *http.Request) {
			v, ok := message.Pop(session.FromContext(r.Context()))
			fmt.Fprintf(w, "%q %v", v, ok)
		}},
		{"POST", "/leave", Guard{}, func(w http.ResponseWriter, r *http.Request) {
			if err := a.Manager.Logout(r.Context()); err != nil {
				middleware.Refuse(w, r, err)
				return
			}
			set("message", "good bye")(w, r)
		}},
	}})
	if b.Get("/").Is(200).SetsCookie() {
		a.T.Error("a mere visit sets a cookie")
	}
	b.Get("/set").Is(200)
	b.Get("/").Says(200, "cart=tea")
	b.Get("/note").Is(200)
	b.Get("/next").Says(200, `"hello" true`)
	b.Get("/next").Says(200, `"" false`)
	b.Do("POST", "/", "", "Sec-Fetch-Site", "cross-site").Is(403)
	b.Submit("/login", "email", Viewer, "password", "wrong").Is(401)
	b.Submit("/login", "email", Viewer, "password", Password).Is(303)
	b.Get("/").Says(200, "cart=tea")
	b.Submit("/leave").Is(200)
	b.Get("/next").Says(200, `"good bye" true`)
	if body := b.Get("/").Is(200).Body; body != "" {
		a.T.Errorf("values %q after a sign-out", body)
	}
	return responsesOf(b)
}
