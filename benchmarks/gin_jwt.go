package main

import (
	"net/http"
	"slices"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
)

func init() {
	register(contender{name: "gin-jwt", router: ginRouter, session: inToken, less: notInJWT, open: ginJWT})
}

func ginJWT(*env) (http.Handler, error) {
	auth, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		Key:         tokenKey,
		Timeout:     tokenLife,
		IdentityKey: "sub",
		PayloadFunc: func(data any) ginjwt.MapClaims {
			a := data.(account)
			return ginjwt.MapClaims{"sub": a.userID, "roles": a.roles}
		},
		Authenticator: func(c *gin.Context) (any, error) {
			a, ok := claimedBy(c.Request)
			if !ok {
				return nil, ginjwt.ErrFailedAuthentication
			}
			return a, nil
		},
		Authorizator: func(_ any, c *gin.Context) bool {
			roles, _ := ginjwt.ExtractClaims(c)["roles"].([]any)
			return slices.Contains(roles, any("admin"))
		},
		LoginResponse: func(c *gin.Context, _ int, _ string, _ time.Time) {
			signedIn(c.Writer, c.Request)
		},
		TokenLookup:    "cookie:" + tokenName,
		SendCookie:     true,
		SecureCookie:   true,
		CookieHTTPOnly: true,
		CookieName:     tokenName,
		CookieMaxAge:   tokenLife,
		CookieSameSite: http.SameSiteLaxMode,
	})
	if err != nil {
		return nil, err
	}
	e := newGin()
	// The middleware rejects requests without a token, so it cannot be around a
	// public page.
	e.GET("/", func(c *gin.Context) {
		_, err := auth.GetClaimsFromJWT(c)
		front(c.Writer, err == nil)
	})
	e.GET("/public", ginPage(forAll))
	e.GET("/admin", auth.MiddlewareFunc(), ginPage(adminOnly))
	e.POST("/login", auth.LoginHandler)
	return e, nil
}
