package middleware

import (
	"log/slog"
	"net/http"
	"slices"

	"github.com/synmetrix/session"
)

// RequireUser lets signed-in users through to next and refuses everybody else;
// see [Refuse]. Around a subtree of paths it does not protect what other handlers
// serve; see "Guards on paths" in the package documentation.
func RequireUser(next http.Handler) http.Handler { return Require(nil)(next) }

// RequireRole returns a guard that lets users through who have any of the
// named roles. Roles are compared byte by byte.
//
// Without a role it lets nobody through, and says so in the log (of
// slog.Default) when it is made: a list that came out empty by mistake must
// not open what it was to guard.
func RequireRole(roles ...string) func(http.Handler) http.Handler {
	return Require(AnyRole(roles...))
}

// AnyRole returns the policy of [RequireRole], for guards of another kind.
func AnyRole(roles ...string) session.Policy {
	if len(roles) == 0 {
		slog.Error("RequireRole has been called without a role: the guard refuses everybody")
	}
	roles = slices.Clone(roles)
	return func(s *session.Session) bool { return slices.ContainsFunc(roles, s.HasRole) }
}

// Require returns a guard that lets signed-in users through if policy says so.
// A nil policy lets all of them through. What [RequireUser] says of paths holds
// for every guard.
func Require(policy session.Policy) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := session.FromContext(r.Context()).Authorize(policy); err != nil {
				Refuse(w, r, err)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
