package main

import (
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
)

func init() {
	register(contender{name: "echo-jwt", router: echoRouter, session: inToken, less: notInJWT, open: echoJWT})
}

// userClaims are the claims that the app needs.
type userClaims struct {
	Roles []string `json:"roles"`
	jwt.RegisteredClaims
}

func echoJWT(*env) (http.Handler, error) {
	e := echo.New()
	// The ErrorHandler accepts requests without a token, because the front page is
	// public.
	e.Use(echojwt.WithConfig(echojwt.Config{
		SigningKey:             tokenKey,
		TokenLookup:            "cookie:" + tokenName,
		NewClaimsFunc:          func(echo.Context) jwt.Claims { return new(userClaims) },
		ContinueOnIgnoredError: true,
		ErrorHandler:           func(echo.Context, error) error { return nil },
	}))
	e.GET("/", func(c echo.Context) error {
		_, ok := c.Get("user").(*jwt.Token)
		front(c.Response(), ok)
		return nil
	})
	e.GET("/public", echoPage(forAll))
	e.GET("/admin", func(c echo.Context) error {
		var roles []string
		token, ok := c.Get("user").(*jwt.Token)
		if ok {
			roles = token.Claims.(*userClaims).Roles
		}
		guard(c.Response(), c.Request(), ok, roles)
		return nil
	})
	e.POST("/login", func(c echo.Context) error {
		logIn(c.Response(), c.Request(), func(a account) error {
			now := time.Now()
			token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, userClaims{a.roles, jwt.RegisteredClaims{
				Subject: a.userID, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
			}}).SignedString(tokenKey)
			setToken(c.Response(), token)
			return err
		})
		return nil
	})
	return e, nil
}
