// Package sessiongin connects a session.Manager with Gin's handlers.
//
//	r := gin.Default()
//	r.Use(sessiongin.Sessions(m))
//	sessiongin.Mount(r, m) // /login, /login/mfa, /logout
//	r.GET("/admin", sessiongin.RequireRole("admin"), admin)
//
// Handlers get the session from [FromContext]. The documentation of Sessions, the
// guards and the routes in package middleware also applies to this package, and
// so does its section "Guards on paths".
package sessiongin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Sessions returns middleware that loads the session of each request and sets its
// cookies in the response; see middleware.Sessions. Register it with Engine.Use,
// or a group that contains all handlers that use sessions.
//
// Handlers wrapped by gin.WrapH get the session from the context of their
// request. If the session cannot be saved, the response is a refusal, and Sessions adds
// the error to Context.Errors.
func Sessions(m *session.Manager, opts ...middleware.Option) gin.HandlerFunc {
	l := middleware.NewLoader(m, opts...)
	return func(c *gin.Context) {
		w := &writer{ResponseWriter: c.Writer}
		if !l.Begin(&w.scope, c.Writer, c.Request) {
			return // an outer Sessions of net/http has loaded the session
		}
		defer w.scope.End()
		w.w = w.scope.Writer()
		c.Writer, c.Request = w, w.scope.Request()
		if err := w.scope.Check(); err != nil {
			Refuse(c, err)
		} else {
			c.Next()
		}
		if err := w.scope.Commit(); err != nil {
			_ = c.Error(err)
		}
	}
}

// FromContext returns the session of a request. It is never nil; see
// session.FromContext, which also accepts a *gin.Context.
func FromContext(c *gin.Context) *session.Session {
	return session.FromContext(c.Request.Context())
}

// The values of a *gin.Context are those of the request's context only with
// gin.Engine.ContextWithFallback.
func init() {
	session.RegisterContext(func(ctx context.Context) context.Context {
		if c, ok := ctx.Value(gin.ContextKey).(*gin.Context); ok && c.Request != nil {
			return c.Request.Context()
		}
		return nil
	})
}

// RequireUser is middleware that accepts signed-in users and refuses all other
// requests; see [Refuse].
func RequireUser(c *gin.Context) { guard(c, FromContext(c).Authorize(nil)) }

// RequireRole returns middleware that accepts users with at least one of the
// named roles; see middleware.RequireRole.
func RequireRole(roles ...string) gin.HandlerFunc {
	check := middleware.RoleCheck(roles...)
	return func(c *gin.Context) { guard(c, check(FromContext(c))) }
}

// Require returns middleware that accepts signed-in users for whom policy returns
// true. A nil policy accepts all signed-in users.
func Require(policy session.Policy) gin.HandlerFunc {
	return func(c *gin.Context) { guard(c, FromContext(c).Authorize(policy)) }
}

// RequireFresh returns middleware that accepts users who entered their credentials within
// maxAge; see middleware.RequireFresh.
func RequireFresh(maxAge time.Duration) gin.HandlerFunc {
	return func(c *gin.Context) { guard(c, FromContext(c).AuthorizeFresh(maxAge)) }
}

func guard(c *gin.Context, err error) {
	if err != nil {
		Refuse(c, err)
	}
}

// Passive is middleware for requests that do not count as use of the session; see
// middleware.Passive.
func Passive(c *gin.Context) { session.MarkPassive(c.Request.Context()) }

// Refuse refuses a request because of err, as the guards do. It writes the
// response, like middleware.Refuse, and aborts. The calling handler should return.
//
// If the status is 500 or higher, Refuse also adds err to Context.Errors, which
// Gin logs as errors of the app. Other refusals are not errors of the app.
func Refuse(c *gin.Context, err error) {
	if middleware.ProblemOf(err).Status >= http.StatusInternalServerError {
		_ = c.Error(err)
	}
	c.Abort()
	middleware.Refuse(c.Writer, c.Request, err)
}

// Mount registers the built-in routes with r, an engine or a group; see middleware.Routes.
// They must be inside [Sessions].
func Mount(r gin.IRoutes, m *session.Manager, features ...middleware.Feature) {
	for _, route := range middleware.Routes(m, features...) {
		r.Handle(route.Method, colons.Replace(route.Path), func(c *gin.Context) {
			for _, p := range c.Params {
				c.Request.SetPathValue(p.Key, p.Value)
			}
			route.Handler.ServeHTTP(c.Writer, c.Request)
		})
	}
}

// colons translates the parameters of a path, such as {session}, to Gin's syntax.
var colons = strings.NewReplacer("{", ":", "}", "")

// writer is the gin.ResponseWriter of handlers inside Sessions. All methods that write to
// the client call w, the writer of package middleware, which commits the session and then
// calls Gin's writer. The other methods, such as WriteHeader and Status, are those of Gin's
// writer: Gin's WriteHeader only stores the status.
type writer struct {
	gin.ResponseWriter
	w     http.ResponseWriter
	scope middleware.Scope
}

// Format keeps the cookies of the request, which are in the scope, out of every fmt verb.
func (w *writer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("sessiongin.writer")) }

func (w *writer) Header() http.Header               { return w.w.Header() }
func (w *writer) Write(p []byte) (int, error)       { return w.w.Write(p) }
func (w *writer) WriteString(s string) (int, error) { return io.WriteString(w.w, s) }
func (w *writer) Flush()                            { _ = w.FlushError() }
func (w *writer) FlushError() error                 { return http.NewResponseController(w.w).Flush() }

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.w).Hijack()
}

func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.w.WriteHeader(w.Status())
	}
	w.ResponseWriter.WriteHeaderNow()
}

// Unwrap returns Gin's writer to an http.ResponseController, for deadlines.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
