package sessiongin_test

import (
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessiongin"
)

func init() { gin.SetMode(gin.ReleaseMode) }

func build(s adaptertest.Spec) http.Handler {
	e := gin.New()
	sessions := sessiongin.Sessions(s.Manager, s.Options...)
	if !s.Bare {
		e.Use(sessions)
	}
	if s.Twice {
		e.Use(sessions)
	}
	sessiongin.Mount(e.Group(s.Prefix), s.Manager, s.Features...)
	for _, r := range s.Routes {
		var handlers []gin.HandlerFunc
		switch {
		case r.Guard.User:
			handlers = append(handlers, sessiongin.RequireUser)
		case r.Guard.Roles != nil:
			handlers = append(handlers, sessiongin.RequireRole(r.Guard.Roles...))
		case r.Guard.Policy != nil:
			handlers = append(handlers, sessiongin.Require(r.Guard.Policy))
		case r.Guard.Fresh != 0:
			handlers = append(handlers, sessiongin.RequireFresh(r.Guard.Fresh))
		case r.Guard.Passive:
			handlers = append(handlers, sessiongin.Passive)
		}
		e.Handle(r.Method, r.Path, append(handlers, gin.WrapF(r.Handler))...)
	}
	return e
}

func TestAdapter(t *testing.T) { adaptertest.Run(t, build) }

func TestCost(t *testing.T) { adaptertest.Cost(t, build) }
