package sessionecho_test

import (
	"log"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho"
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
	e.Use(sessionecho.Sessions(m))
	sessionecho.Mount(e, m)
	e.GET("/admin", func(c echo.Context) error {
		return c.String(http.StatusOK, "Hello, "+sessionecho.FromContext(c).UserID())
	}, sessionecho.RequireRole("admin"))
	log.Fatal(e.Start("localhost:8080"))
}

// The app's own error handler logs errors and lets the adapter write refusals.
func ExampleHTTPErrorHandler() {
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		log.Print(err)
		sessionecho.HTTPErrorHandler(err, c)
	}
}

// A handler refuses a request as the guards do.
func ExampleRefuse() {
	echo.New().GET("/reports/:id", func(c echo.Context) error {
		if c.Param("id") != sessionecho.FromContext(c).UserID() {
			return sessionecho.Refuse(c, &middleware.Problem{Status: http.StatusForbidden})
		}
		return c.String(http.StatusOK, "your report")
	}, sessionecho.RequireUser)
}
