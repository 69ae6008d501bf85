package sessionecho_test

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessionecho"
)

func build(s adaptertest.Spec) http.Handler {
	e := echo.New()
	sessions := sessionecho.Sessions(s.Manager, s.Options...)
	if !s.Bare {
		e.Use(sessions)
	}
	if s.Twice {
		e.Use(sessions)
	}
	sessionecho.Mount(e.Group(s.Prefix), s.Manager, s.Features...)
	for _, r := range s.Routes {
		var guard []echo.MiddlewareFunc
		switch {
		case r.Guard.User:
			guard = append(guard, sessionecho.RequireUser)
		case r.Guard.Roles != nil:
			guard = append(guard, sessionecho.RequireRole(r.Guard.Roles...))
		case r.Guard.Policy != nil:
			guard = append(guard, sessionecho.Require(r.Guard.Policy))
		case r.Guard.Fresh != 0:
			guard = append(guard, sessionecho.RequireFresh(r.Guard.Fresh))
		case r.Guard.Passive:
			guard = append(guard, sessionecho.Passive)
		}
		e.Add(r.Method, r.Path, echo.WrapHandler(r.Handler), guard...)
	}
	return e
}

func TestAdapter(t *testing.T) { adaptertest.Run(t, build) }

func TestCost(t *testing.T) { adaptertest.Cost(t, build) }
