// Package sessionecho5 connects a session.Manager with the handlers of Echo 5.
// For Echo 4, see package sessionecho.
//
//	e := echo.New()
//	e.Use(sessionecho5.Sessions(m))
//	sessionecho5.Mount(e, m) // /login, /login/mfa, /logout
//	e.GET("/admin", admin, sessionecho5.RequireRole("admin"))
//
// Handlers get the session from [FromContext]. The documentation of Sessions, the
// guards and the routes in package middleware also applies to this package, and
// so does its section "Guards on paths".
package sessionecho5

import (
	"errors"
	"reflect"
	"strings"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Sessions returns middleware that loads the session of each request and sets its
// cookies in the response; see middleware.Sessions. Register it with Echo.Use,
// Echo.Pre, or a group that contains all handlers that use sessions.
//
// Handlers wrapped by echo.WrapHandler get the session from the context of their
// request. The app's HTTPErrorHandler runs after Sessions. It can read the
// session, but can no longer change it.
func Sessions(m *session.Manager, opts ...middleware.Option) echo.MiddlewareFunc {
	l := middleware.NewLoader(m, opts...)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			var scope middleware.Scope
			res := response(c)
			if !l.Begin(&scope, res.ResponseWriter, c.Request()) {
				return next(c)
			}
			defer scope.End()
			// The scope's writer is below Echo's response, so that functions registered
			// with Response.Before run before the session is saved. It is not replaced at
			// the end: after a failed commit it discards what Echo writes.
			res.ResponseWriter = scope.Writer()
			c.SetRequest(scope.Request())
			err := scope.Check()
			if err != nil {
				err = Refuse(c, err)
			} else {
				err = next(c)
			}
			// The refusal has been written. Echo must not write another response, but
			// its log middleware must see the status and the error.
			if failed := scope.Commit(); failed != nil {
				res.Committed, res.Status, err = true, middleware.ProblemOf(failed).Status, newError(failed)
			}
			return err
		}
	}
}

// response returns Echo's response of a request, which other middleware may have
// wrapped. If it has been replaced by another writer, response puts a new one
// around that writer.
func response(c *echo.Context) *echo.Response {
	res, err := echo.UnwrapResponse(c.Response())
	if err != nil {
		res = echo.NewResponse(c.Response(), c.Logger())
		c.SetResponse(res)
	}
	return res
}

// FromContext returns the session of a request. It is never nil; see
// session.FromContext.
func FromContext(c *echo.Context) *session.Session {
	return session.FromContext(c.Request().Context())
}

// RequireUser is middleware that accepts signed-in users and refuses all other
// requests; see [Refuse].
func RequireUser(next echo.HandlerFunc) echo.HandlerFunc { return Require(nil)(next) }

// RequireRole returns middleware that accepts users with at least one of the
// named roles; see middleware.RequireRole.
func RequireRole(roles ...string) echo.MiddlewareFunc {
	return guard(middleware.RoleCheck(roles...))
}

// Require returns middleware that accepts signed-in users for whom policy returns
// true. A nil policy accepts all signed-in users.
func Require(policy session.Policy) echo.MiddlewareFunc {
	return guard(func(s *session.Session) error { return s.Authorize(policy) })
}

// RequireFresh returns middleware that accepts users who entered their credentials within
// maxAge; see middleware.RequireFresh.
func RequireFresh(maxAge time.Duration) echo.MiddlewareFunc {
	return guard(func(s *session.Session) error { return s.AuthorizeFresh(maxAge) })
}

func guard(check func(*session.Session) error) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			if err := check(FromContext(c)); err != nil {
				return Refuse(c, err)
			}
			return next(c)
		}
	}
}

// Passive is middleware for requests that do not count as use of the session; see
// middleware.Passive.
func Passive(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		session.MarkPassive(c.Request().Context())
		return next(c)
	}
}

// Refuse refuses a request because of err, as the guards do. It returns an
// *echo.HTTPError with the status, which wraps err. The calling handler should
// return that error.
//
// If the app uses the HTTPErrorHandler that echo.New sets, Refuse writes the
// response before it returns, like middleware.Refuse: a redirect to the login page,
// a page or JSON. Echo's handler can only write JSON. If the app sets its own
// HTTPErrorHandler, including one of Echo's such as
// echo.DefaultHTTPErrorHandler(true), Refuse writes nothing, and that handler
// receives the error. It should call [HTTPErrorHandler] for errors that it does not
// handle.
func Refuse(c *echo.Context, err error) error {
	if reflect.ValueOf(c.Echo().HTTPErrorHandler).Pointer() == defaultHandler {
		middleware.Refuse(c.Response(), c.Request(), err)
	}
	return newError(err)
}

// defaultHandler is the address of the HTTPErrorHandler that echo.New sets. Go
// cannot compare functions, but can compare their addresses. The compiler may give
// the result of echo.DefaultHTTPErrorHandler another address in each place that
// calls it.
var defaultHandler = reflect.ValueOf(echo.New().HTTPErrorHandler).Pointer()

// HTTPErrorHandler writes the response to an error of [Refuse], like
// middleware.Refuse. It passes other errors to Echo's default handler.
func HTTPErrorHandler(c *echo.Context, err error) {
	var refused *refusal
	if errors.As(err, &refused) {
		if res, _ := echo.UnwrapResponse(c.Response()); res == nil || !res.Committed {
			middleware.Refuse(c.Response(), c.Request(), refused.error)
		}
		return
	}
	echoHandler(c, err)
}

var echoHandler = echo.DefaultHTTPErrorHandler(false)

// refusal marks an error as returned by Refuse, so that HTTPErrorHandler can
// distinguish it from other errors with the same status.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

func newError(err error) error {
	p := middleware.ProblemOf(err)
	return echo.NewHTTPError(p.Status, p.Detail).Wrap(&refusal{err})
}

// Router is an *echo.Echo or an *echo.Group.
type Router interface {
	Add(method, path string, handler echo.HandlerFunc, middleware ...echo.MiddlewareFunc) echo.RouteInfo
}

// Mount registers the built-in routes with r; see middleware.Routes. They must be inside
// [Sessions].
func Mount(r Router, m *session.Manager, features ...middleware.Feature) {
	for _, route := range middleware.Routes(m, features...) {
		r.Add(route.Method, colons.Replace(route.Path), echo.WrapHandler(route.Handler))
	}
}

// colons translates the parameters of a path, such as {session}, to Echo's syntax.
var colons = strings.NewReplacer("{", ":", "}", "")
