package sessiongin_test

import (
	"log"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessiongin"
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
	r := gin.Default()
	r.Use(sessiongin.Sessions(m))
	sessiongin.Mount(r, m)
	r.GET("/admin", sessiongin.RequireRole("admin"), func(c *gin.Context) {
		c.String(http.StatusOK, "Hello, %s", sessiongin.FromContext(c).UserID())
	})
	log.Fatal(r.Run("localhost:8080"))
}

// A handler refuses a request as the guards do.
func ExampleRefuse() {
	gin.New().GET("/reports/:id", sessiongin.RequireUser, func(c *gin.Context) {
		if c.Param("id") != sessiongin.FromContext(c).UserID() {
			sessiongin.Refuse(c, &middleware.Problem{Status: http.StatusForbidden})
			return
		}
		c.String(http.StatusOK, "your report")
	})
}
