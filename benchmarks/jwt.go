package main

import (
	"net/http"
	"time"
)

// This file has the code of all contenders with a JWT in a cookie.

const (
	tokenName = "jwt" // of the cookie; jwtauth requires this name
	tokenLife = time.Hour

	inToken  = "a JWT in a cookie (HS256)"
	notInJWT = "nothing is stored or encrypted; no tokens of the auth service, no refresh, no revocation, no idle timeout, no origin check"
)

var tokenKey = []byte("a secret of the app: 32 bytes or more of it")

// setToken sets the token's cookie with the safest attributes.
func setToken(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{
		Name: tokenName, Value: token, Path: "/", MaxAge: int(tokenLife / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
