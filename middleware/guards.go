package middleware

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/synmetrix/session"
)

// RequireUser is a guard that calls next for signed-in users and refuses all other
// requests; see [Refuse]. A guard around a subtree of paths does not protect the files of
// other handlers; see "Guards on paths" in the package documentation.
func RequireUser(next http.Handler) http.Handler { return Require(nil)(next) }

// RequireRole returns a guard that accepts users with at least one of the named
// roles. Roles are compared byte by byte.
//
// Without a role, the guard refuses all requests, and RequireRole logs an error
// to slog.Default. A list that is empty by mistake must not open the handler to
// all users.
func RequireRole(roles ...string) func(http.Handler) http.Handler {
	return guard(RoleCheck(roles...))
}

// RequireFresh returns a guard that accepts signed-in users who entered their credentials
// within maxAge. It is for actions that need more certainty, such as a payment or a change
// of the password. Other users are redirected to the login page, enter the password again,
// and return: the session continues with its values, under a new ID. As JSON the refusal is
// 401 reauthentication_required.
//
// If a form is posted too late, its input is lost. Give the guard of the page with the form
// a shorter age than the guard of the route that it posts to.
func RequireFresh(maxAge time.Duration) func(http.Handler) http.Handler {
	return guard(func(s *session.Session) error { return s.AuthorizeFresh(maxAge) })
}

// Passive is middleware for requests that a page sends by itself, such as polls. They do
// not count as use of the session; see session.MarkPassive.
func Passive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session.MarkPassive(r.Context())
		next.ServeHTTP(w, r)
	})
}

// Require returns a guard that accepts signed-in users for whom policy returns true. A nil
// policy accepts all signed-in users. Like [RequireUser], the guard does not protect the
// files of other handlers.
func Require(policy session.Policy) func(http.Handler) http.Handler {
	return guard(func(s *session.Session) error { return s.Authorize(policy) })
}

// guard returns a guard that refuses a request if check returns an error.
func guard(check func(*session.Session) error) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := check(session.FromContext(r.Context())); err != nil {
				Refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// RoleCheck returns the decision of [RequireRole] without the response, for adapters and
// for handlers that call [Refuse] themselves. The function returns nil for a user with at
// least one of the roles, and otherwise an error of session.Session.Authorize. If that is
// session.ErrForbidden, the error also has the roles: the page of Refuse names them.
//
// Without a role, RoleCheck logs an error, and the function accepts no user.
func RoleCheck(roles ...string) func(*session.Session) error {
	if len(roles) == 0 {
		slog.Error("RequireRole was called without a role: the guard refuses all requests")
	}
	roles = slices.Clone(roles) // a later change by the caller must not change the guard
	policy := func(s *session.Session) bool { return s.HasRole(roles...) }
	return func(s *session.Session) error {
		err := s.Authorize(policy)
		if len(roles) == 0 || !errors.Is(err, session.ErrForbidden) {
			return err
		}
		return &roleError{err, roles}
	}
}

// roleError is an error of Authorize with the roles that would have been accepted.
type roleError struct {
	error
	roles []string
}

// Unwrap returns the error of Authorize, which decides the status and the code.
func (e *roleError) Unwrap() error { return e.error }
