// Package sessiontest signs users in, for tests of what asks who is signed in:
// in one line, without a password and without an auth service.
//
//	req = sessiontest.SignedIn(req, "user-1", "admin")
//
// That is enough for a handler or a guard on its own, which takes the session
// from the request's context. An app that is tested whole has
// middleware.Sessions around it, and that takes sessions from the cookies of
// the app's own session.Manager and nowhere else. For it there are
//
//	req = sessiontest.As("user-1", "admin").SignedInTo(manager, req)
//	client := sessiontest.As("user-1", "admin").Client(manager, server)
//
// a request with such cookies, and a client of a server that has them, as a
// browser would.
//
// The access tokens are made up here. No auth service knows them: they are good
// for a day and, in a session of the app's own Manager, not renewed after it.
// Where the test is about tokens it runs an auth service of package authtest,
// and has the session begin with tokens of that; see [User.Tokens].
//
// The functions panic if they can't do what they are asked for, as those of
// net/http/httptest do: there is no error that a test could handle. A program
// that is no test has no use for this package.
package sessiontest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// User is who is to be signed in, and what the access token says of them.
type User struct {
	// ID is the user's ID. It must not be empty.
	ID string

	// Roles are the user's allowed roles. Default: none.
	Roles []string

	// DefaultRole is the role that the user acts in. Default: the first of
	// Roles.
	DefaultRole string

	// Claims are further claims of the namespace "hasura", by the names that
	// auth.Claims.Get takes, such as "x-hasura-org". They win over what the
	// other fields say, and encoding/json writes them. Default: none.
	Claims map[string]any

	// Tokens are what the session begins with: those of an auth service, or
	// of the test's own making. The other fields are ignored then. Default:
	// tokens that say what the other fields do.
	Tokens auth.Tokens
}

// As returns the User with this ID and these roles.
func As(userID string, roles ...string) User { return User{ID: userID, Roles: roles} }

// SignedIn returns a copy of r in whose context the user is signed in; see
// [User.SignedIn].
func SignedIn(r *http.Request, userID string, roles ...string) *http.Request {
	return As(userID, roles...).SignedIn(r)
}

// SignedIn returns a copy of r in whose context the user is signed in: for
// handlers and guards that are called without middleware.Sessions around them.
// What a handler sets in the session can be read afterwards, by
// session.FromContext(r.Context()).
//
// The session is of a Manager that nobody else has, whose auth service is this
// package. So handlers that sign in or out, or call an API by
// session.Manager.Transport, are tested inside middleware.Sessions.
func (u User) SignedIn(r *http.Request) *http.Request {
	m, err := session.New(session.Config{
		Auth:   service{u},
		Keys:   []session.SecretKey{session.GenerateKey()},
		Cookie: session.Cookie{MaxChunks: 10}, // nothing travels in them; the more fits, the better
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic("sessiontest: " + err.Error())
	}
	r, _ = m.Begin(r)
	u.start(r.Context(), m)
	return r
}

// SignedInTo returns a copy of r with the cookies of a new session of m, in
// which the user is signed in: for handlers inside middleware.Sessions(m). A
// store that m keeps its sessions in gets this one, too.
func (u User) SignedInTo(m *session.Manager, r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	for _, c := range u.cookies(r.Context(), m) {
		r.AddCookie(c)
	}
	return r
}

// Client returns a client of srv with the cookies of a new session of m, in
// which the user is signed in. From then on it keeps cookies as a browser
// does, Secure ones over plain HTTP, too, as browsers do on the machine that
// they run on. It is srv.Client() otherwise, and the caller's to change.
func (u User) Client(m *session.Manager, srv *httptest.Server) *http.Client {
	address, err := url.Parse(srv.URL)
	if err != nil || address.Host == "" {
		panic(fmt.Sprintf("sessiontest: the server has not been started, its URL is %q", srv.URL))
	}
	inner, err := cookiejar.New(nil)
	if err != nil {
		panic("sessiontest: " + err.Error())
	}
	cookies := u.cookies(context.Background(), m)
	kept := jar{inner}
	kept.SetCookies(address, cookies)
	if len(kept.Cookies(address)) != len(cookies) {
		panic(fmt.Sprintf("sessiontest: cookies of this Manager are not sent to %s; see session.Cookie.Domain", srv.URL))
	}
	client := *srv.Client()
	client.Jar = kept
	return &client
}

// cookies returns those of a new session of m.
func (u User) cookies(ctx context.Context, m *session.Manager) []*http.Cookie {
	r, x := m.Begin((&http.Request{Header: http.Header{}}).WithContext(ctx))
	u.start(r.Context(), m)
	answer := http.Response{Header: http.Header{}}
	if err := x.Commit(answer.Header); err != nil {
		panic("sessiontest: " + err.Error())
	}
	return answer.Cookies()
}

func (u User) start(ctx context.Context, m *session.Manager) {
	if err := m.Start(ctx, auth.Grant{Tokens: u.tokens()}); err != nil {
		panic("sessiontest: " + err.Error())
	}
}

// life is how long the access tokens are good for.
const life = 24 * time.Hour

// tokens returns u.Tokens, or tokens that look as if the auth service had
// issued them to the user just now.
func (u User) tokens() auth.Tokens {
	if u.Tokens != (auth.Tokens{}) {
		return u.Tokens
	}
	if u.ID == "" {
		panic("sessiontest: the user has no ID")
	}
	role := u.DefaultRole
	if role == "" && len(u.Roles) > 0 {
		role = u.Roles[0]
	}
	claims := map[string]any{
		"x-hasura-user-id":       u.ID,
		"x-hasura-allowed-roles": slices.Concat([]string{}, u.Roles),
		"x-hasura-default-role":  role,
	}
	maps.Copy(claims, u.Claims)
	now := time.Now()
	access, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"iat": now.Unix(), "exp": now.Add(life).Unix(), "hasura": claims,
	}).SignedString(random(32))
	if err != nil {
		panic("sessiontest: claims: " + err.Error())
	}
	return auth.Tokens{AccessToken: access, RefreshToken: newUUID()}
}

// newUUID returns a version 4 UUID (RFC 9562), which is what the refresh
// tokens of Hasura's auth services look like.
func newUUID() string {
	b := random(16)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// service is the auth service of a session that has no other: it renews the
// user's tokens for as long as a test moves time on.
type service struct{ user User }

func (s service) Refresh(context.Context, auth.Tokens) (auth.Grant, error) {
	return auth.Grant{Tokens: s.user.tokens()}, nil
}

func (service) Login(context.Context, string, string) (auth.Grant, error) {
	return auth.Grant{}, fmt.Errorf("sessiontest: there is nobody to sign in to: %w", auth.ErrRefused)
}

func (service) Logout(context.Context, auth.Tokens, bool) error { return nil }

// jar takes every address for a secure one.
type jar struct{ http.CookieJar }

func (j jar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.CookieJar.SetCookies(secure(u), cookies)
}

func (j jar) Cookies(u *url.URL) []*http.Cookie { return j.CookieJar.Cookies(secure(u)) }

func secure(u *url.URL) *url.URL {
	c := *u
	c.Scheme = "https"
	return &c
}
