package main

import (
	"net/http"

	"github.com/go-chi/jwtauth/v5"
)

func init() {
	register(contender{name: "jwtauth", router: netHTTP, session: inToken, less: notInJWT, open: chiJWTAuth})
}

func chiJWTAuth(*env) (http.Handler, error) {
	auth := jwtauth.New("HS256", tokenKey, nil)
	return jwtauth.Verify(auth, jwtauth.TokenFromCookie)(app{
		user: func(r *http.Request) (roles []string, ok bool) {
			token, claims, err := jwtauth.FromContext(r.Context())
			if token == nil || err != nil {
				return nil, false
			}
			all, _ := claims["roles"].([]any)
			for _, role := range all {
				if role, ok := role.(string); ok {
					roles = append(roles, role)
				}
			}
			return roles, true
		},
		signIn: func(w http.ResponseWriter, _ *http.Request, a account) error {
			claims := map[string]any{"sub": a.userID, "roles": a.roles}
			jwtauth.SetIssuedNow(claims)
			jwtauth.SetExpiryIn(claims, tokenLife)
			_, token, err := auth.Encode(claims)
			setToken(w, token)
			return err
		},
	}.mux()), nil
}
