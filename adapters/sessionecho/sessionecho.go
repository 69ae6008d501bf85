// Package sessionecho puts a session.Manager in front of Echo's handlers.
//
//	e := echo.New()
//	e.Use(sessionecho.Sessions(m))
//	sessionecho.Mount(e, m) // /login, /login/mfa, /logout
//	e.GET("/admin", admin, sessionecho.RequireRole("admin"))
//
// Handlers get the session by [FromContext]. What is said of Sessions, the
// guards and the routes in package middleware holds here, too, and so does its
// section "Guards on paths".
package sessionecho

import (
	"errors"
	"net/http"
	"reflect"

	"github.com/labstack/echo/v4"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Sessions returns middleware that gives every request its session and every
// response its cookies; see middleware.Sessions. It is for Echo.Use, for
// Echo.Pre, or for a group that everything to do with sessions is in.
//
// Handlers wrapped by echo.WrapHandler find the session in their request. So
// does the app's HTTPErrorHandler, which comes after Sessions and can't change
// it any more.
func Sessions(m *session.Manager, opts ...middleware.Option) echo.MiddlewareFunc {
	l := middleware.NewLoader(m, opts...)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			var scope middleware.Scope
			res := c.Response()
			if !l.Begin(&scope, res.Writer, c.Request()) {
				return next(c)
			}
			defer scope.End()
			// It stays: after a timeout of Echo's the response is another request's by the end.
			res.Writer = scope.Writer()
			c.SetRequest(scope.Request())
			err := scope.Check()
			if err != nil {
				err = Refuse(c, err)
			} else {
				err = next(c)
			}
			if failed := scope.Commit(); failed != nil && scope.Request().Context().Err() == nil {
				res.Committed, res.Status = true, http.StatusServiceUnavailable
				err = newError(failed)
			}
			return err
		}
	}
}

// FromContext returns the session of a request. It is never nil; see
// session.FromContext.
func FromContext(c echo.Context) *session.Session {
	return session.FromContext(c.Request().Context())
}

// RequireUser is middleware that lets signed-in users through and refuses
// everybody else; see [Refuse].
func RequireUser(next echo.HandlerFunc) echo.HandlerFunc { return Require(nil)(next) }

// RequireRole returns middleware that lets users through who have any of the
// named roles; see middleware.RequireRole.
func RequireRole(roles ...string) echo.MiddlewareFunc {
	return Require(middleware.AnyRole(roles...))
}

// Require returns middleware that lets signed-in users through if policy says
// so. A nil policy lets all of them through.
func Require(policy session.Policy) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := FromContext(c).Authorize(policy); err != nil {
				return Refuse(c, err)
			}
			return next(c)
		}
	}
}

// Refuse refuses a request for the reason err, as the guards do. A handler
// returns what it returns: an *echo.HTTPError with the status, and err inside.
//
// While the app has Echo's own HTTPErrorHandler, which knows nothing but JSON,
// Refuse answers first, as middleware.Refuse does: with a redirect to the
// login page, a page, or JSON. A handler of the app's own gets the error with
// nothing sent, to answer it as it likes, and calls [HTTPErrorHandler] for
// what it has no answer to.
func Refuse(c echo.Context, err error) error {
	e := c.Echo()
	// Functions can't be compared but by where they are.
	if reflect.ValueOf(e.HTTPErrorHandler).Pointer() == reflect.ValueOf(e.DefaultHTTPErrorHandler).Pointer() {
		middleware.Refuse(c.Response(), c.Request(), err)
	}
	return newError(err)
}

// HTTPErrorHandler answers what [Refuse] has returned as middleware.Refuse
// does, and leaves everything else to Echo's own handler.
func HTTPErrorHandler(err error, c echo.Context) {
	var refused *refusal
	if errors.As(err, &refused) && !c.Response().Committed {
		middleware.Refuse(c.Response(), c.Request(), refused.error)
		return
	}
	c.Echo().DefaultHTTPErrorHandler(err, c)
}

// refusal marks an error as one of Refuse.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

func newError(err error) *echo.HTTPError {
	p := middleware.ProblemOf(err)
	return &echo.HTTPError{Code: p.Status, Message: p.Detail, Internal: &refusal{err}}
}

// Router is an *echo.Echo or an *echo.Group.
type Router interface {
	Add(method, path string, handler echo.HandlerFunc, middleware ...echo.MiddlewareFunc) *echo.Route
}

// Mount registers the ready-made routes with r; see middleware.Routes. They
// must be inside [Sessions].
func Mount(r Router, m *session.Manager) {
	for _, route := range middleware.Routes(m) {
		r.Add(route.Method, route.Path, echo.WrapHandler(route.Handler))
	}
}
