// Package sessiongin puts a session.Manager in front of Gin's handlers.
//
//	r := gin.Default()
//	r.Use(sessiongin.Sessions(m))
//	sessiongin.Mount(r, m) // /login, /login/mfa, /logout
//	r.GET("/admin", sessiongin.RequireRole("admin"), admin)
//
// Handlers get the session by [FromContext]. What is said of Sessions, the
// guards and the routes in package middleware holds here, too, and so does its
// section "Guards on paths".
package sessiongin

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// Sessions returns middleware that gives every request its session and every
// response its cookies; see middleware.Sessions. It is for Engine.Use, or for
// a group that everything to do with sessions is in.
//
// Handlers wrapped by gin.WrapH find the session in their request. A session
// that can't be saved is in Context.Errors; its response is a 503.
func Sessions(m *session.Manager, opts ...middleware.Option) gin.HandlerFunc {
	l := middleware.NewLoader(m, opts...)
	return func(c *gin.Context) {
		w := &writer{ResponseWriter: c.Writer}
		if !l.Begin(&w.scope, c.Writer, c.Request) {
			c.Set(session.ContextName, c.Request.Context())
			return
		}
		defer w.scope.End()
		w.w = w.scope.Writer()
		c.Writer, c.Request = w, w.scope.Request()
		c.Set(session.ContextName, c.Request.Context())
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
// session.FromContext, which takes a *gin.Context, too.
func FromContext(c *gin.Context) *session.Session {
	if _, ok := c.Get(session.ContextName); ok {
		return session.FromContext(c)
	}
	return session.FromContext(c.Request.Context())
}

// RequireUser is middleware that lets signed-in users through and refuses
// everybody else; see [Refuse].
func RequireUser(c *gin.Context) { require(c, nil) }

// RequireRole returns middleware that lets users through who have any of the
// named roles; see middleware.RequireRole.
func RequireRole(roles ...string) gin.HandlerFunc { return Require(middleware.AnyRole(roles...)) }

// Require returns middleware that lets signed-in users through if policy says
// so. A nil policy lets all of them through.
func Require(policy session.Policy) gin.HandlerFunc {
	return func(c *gin.Context) { require(c, policy) }
}

func require(c *gin.Context, policy session.Policy) {
	if err := FromContext(c).Authorize(policy); err != nil {
		Refuse(c, err)
	}
}

// Refuse refuses a request for the reason err, as the guards do: it answers as
// middleware.Refuse does and aborts. A handler returns after it.
//
// Refuse also puts a failure, with status 500 or more, into Context.Errors. Gin
// logs those as errors of the app, which a visitor who is not signed in is not.
func Refuse(c *gin.Context, err error) {
	if middleware.ProblemOf(err).Status >= http.StatusInternalServerError {
		_ = c.Error(err)
	}
	c.Abort()
	middleware.Refuse(c.Writer, c.Request, err)
}

// Mount registers the ready-made routes with r, an engine or a group; see
// middleware.Routes. They must be inside [Sessions].
func Mount(r gin.IRoutes, m *session.Manager) {
	for _, route := range middleware.Routes(m) {
		r.Handle(route.Method, route.Path, gin.WrapH(route.Handler))
	}
}

// writer is the gin.ResponseWriter of what is inside Sessions. Whatever sends
// something goes through the session's own writer, w, which ends in the one
// that Gin has made. A status alone is not sent by Gin, and so goes there.
type writer struct {
	gin.ResponseWriter
	w     http.ResponseWriter
	scope middleware.Scope
}

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

// Unwrap is for http.ResponseController: deadlines pass the session by.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
