module github.com/synmetrix/session/auth/jwks

go 1.25.2

require (
	github.com/go-jose/go-jose/v4 v4.1.9
	github.com/synmetrix/session v0.0.0
)

require github.com/golang-jwt/jwt/v5 v5.3.1

replace github.com/synmetrix/session => ../../
