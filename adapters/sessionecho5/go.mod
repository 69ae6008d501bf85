module github.com/synmetrix/session/adapters/sessionecho5

go 1.25.2

require (
	github.com/labstack/echo/v5 v5.4.5
	github.com/synmetrix/session v0.0.0
)

require (
	github.com/boombuler/barcode v1.0.1-0.20190219062509-6c824513bacc // indirect
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/gorilla/securecookie v1.1.2 // indirect
	github.com/pquerna/otp v1.5.0 // indirect
	golang.org/x/crypto v0.55.0 // indirect
	golang.org/x/time v0.15.0 // indirect
)

replace github.com/synmetrix/session => ../../
