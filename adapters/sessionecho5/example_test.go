package sessionecho5_test

import (
	"log"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho5"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

func Example() {
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient("https://app.synmetrix.org"),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	e := echo.New()
	e.Use(sessionecho5.Sessions(m))
	sessionecho5.Mount(e, m)
	e.GET("/admin", func(c *echo.Context) error {
		return c.String(http.StatusOK, "Hello, "+sessionecho5.FromContext(c).UserID())
	}, sessionecho5.RequireRole("admin"))
	log.Fatal(e.Start("localhost:8080"))
}

// The app's own error handler logs errors and lets the adapter write refusals.
func ExampleHTTPErrorHandler() {
	e := echo.New()
	e.HTTPErrorHandler = func(c *echo.Context, err error) {
		log.Print(err)
		sessionecho5.HTTPErrorHandler(c, err)
	}
}

// A handler refuses a request as the guards do.
func ExampleRefuse() {
	echo.New().GET("/reports/:id", func(c *echo.Context) error {
		if c.Param("id") != sessionecho5.FromContext(c).UserID() {
			return sessionecho5.Refuse(c, &middleware.Problem{Status: http.StatusForbidden})
		}
		return c.String(http.StatusOK, "your report")
	}, sessionecho5.RequireUser)
}
