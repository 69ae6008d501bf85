package benchmarks_test

import (
	"net/http"
	"strings"
	"testing"
)

// Every app does the measured work: it distinguishes users from each other and
// from visitors, and rejects forged cookies.
func TestLibraries(t *testing.T) {
	for _, l := range libraries {
		for _, tokens := range []bool{false, true} {
			if tokens && l.cannotKeep {
				continue
			}
			name := l.name
			if tokens {
				name += "/tokens"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testLibrary(t, l.open(tokens))
			})
		}
	}
}

func testLibrary(t *testing.T, app http.Handler) {
	v := newVisitor()
	get := func(path, cookie string) *visitor {
		r := newRequest(t, "GET", path)
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		v.send(app, r, "")
		return v
	}
	refused := func(what string, cookie string) {
		t.Helper()
		get("/admin", cookie)
		if v.status != http.StatusUnauthorized && v.status != http.StatusSeeOther || strings.Contains(string(v.body), adminPage) {
			t.Errorf("%s: status %d, %q", what, v.status, v.body)
		}
		if !get("/", cookie).got(frontUnknown) {
			t.Errorf("front page, %s: status %d, %q", what, v.status, v.body)
		}
	}

	refused("without a cookie", "")
	if len(v.header["Set-Cookie"]) > 0 {
		t.Error("the response to a visitor sets a cookie")
	}

	v.send(app, newRequest(t, "POST", "/login"), loginForm(admin, "wrong"))
	if v.signedIn() || v.status != http.StatusUnauthorized {
		t.Errorf("wrong password: status %d, %q", v.status, v.body)
	}

	cookie := signIn(t, app, admin)
	if !get("/admin", cookie).got(adminPage) {
		t.Errorf("an admin: status %d, %q", v.status, v.body)
	}
	if !get("/", cookie).got(frontSignedIn) {
		t.Errorf("front page, an admin: status %d, %q", v.status, v.body)
	}
	if get("/admin", signIn(t, app, member)).status != http.StatusForbidden {
		t.Errorf("another user: status %d, %q", v.status, v.body)
	}

	// Change one character in the middle of the cookie.
	first, _, _ := strings.Cut(cookie, ";")
	at := (strings.Index(first, "=") + len(first)) / 2
	other := "A"
	if cookie[at:at+1] == other {
		other = "B"
	}
	refused("with a forged cookie", cookie[:at]+other+cookie[at+1:])
}

// A new app accepts the cookies of an earlier app, but not the ID of a session in
// the earlier app's store.
func TestOpenAgain(t *testing.T) {
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			r := signedInRequest(t, l.open(false), "/admin", admin)
			v := newVisitor()
			v.send(l.open(false), r, "")
			if stored := strings.HasSuffix(l.name, "-memstore"); v.got(adminPage) == stored {
				t.Errorf("status %d, %q", v.status, v.body)
			}
		})
	}
}

func TestRouters(t *testing.T) {
	for _, l := range routers {
		t.Run(l.name, func(t *testing.T) {
			v := newVisitor()
			for path, page := range map[string]string{"/admin": adminPage, "/": frontUnknown} {
				if v.send(l.open(false), newRequest(t, "GET", path), ""); !v.got(page) {
					t.Errorf("GET %s: status %d, %q", path, v.status, v.body)
				}
			}
		})
	}
}
