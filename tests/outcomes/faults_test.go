package outcomes_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/synmetrix/session/authtest"
)

// fate is the effect of a fault on the refresh token of the call.
type fate int

const (
	renewed  fate = iota // no fault
	outage               // it is still valid
	halfway              // it was rotated, and the app has its successor
	lost                 // it was rotated, and its successor is lost
	refusal              // the service reports that it is revoked
	stranger             // the service returned another user's tokens
)

// refused is a refusal: a status, and the code of a problem.
type refused struct {
	status int
	code   string
}

var (
	fine     = refused{http.StatusOK, ""}
	wrong    = refused{http.StatusUnauthorized, "invalid_credentials"}
	down     = refused{http.StatusServiceUnavailable, "auth_unavailable"}
	nonsense = refused{http.StatusBadGateway, "auth_invalid_answer"}
)

// fault is a fault of the auth service, and its effects.
type fault struct {
	name string
	authtest.Fault
	refresh fate
	login   refused
	totp    refused       // the zero value means the same as login
	slow    bool          // it runs into the timeout
	hold    time.Duration // the service says when to retry
}

const html = "<!doctype html><title>Proxy</title><h1>Something is wrong</h1>"

// own is an error in the service's own format.
func own(status int, message string) authtest.Fault {
	body := fmt.Sprintf(`{"statusCode":%d,"error":%q,"message":%q}`, status, http.StatusText(status), message)
	if message == "" {
		body = fmt.Sprintf(`{"statusCode":%d,"error":%q}`, status, http.StatusText(status))
	}
	return authtest.Fault{Status: status, Body: body}
}

func respond(status int, body string, header ...string) authtest.Fault {
	f := authtest.Fault{Status: status, Body: body, Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		f.Header.Set(header[i], header[i+1])
	}
	return f
}

// withAccessToken replaces the access token of a response.
func withAccessToken(token string) authtest.Fault {
	return authtest.Fault{Edit: func(a *authtest.Response) {
		var body map[string]any
		if json.Unmarshal(a.Body, &body) == nil {
			body["jwt_token"] = token
			a.Body, _ = json.Marshal(body)
		}
	}}
}

func jwtOf(payload string) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(`{"alg":"HS256"}`)) + "." + b64([]byte(payload)) + "." + b64(make([]byte, 32))
}

var faults = []fault{
	// Responses that reject the request.
	{name: "400 bare", Fault: own(400, ""), refresh: outage, login: wrong, totp: down},
	{name: "400 with a message", Fault: own(400, "some internals"), refresh: outage, login: wrong, totp: down},
	{name: "400 HTML", Fault: respond(400, html), refresh: outage, login: nonsense},
	{name: "400 empty", Fault: respond(400, ""), refresh: outage, login: nonsense},
	{name: "401", Fault: own(401, "Invalid or expired refresh token."), refresh: refusal, login: wrong},
	{name: "401 bare", Fault: own(401, ""), refresh: refusal, login: wrong},
	{name: "401 HTML", Fault: respond(401, html), refresh: outage, login: nonsense},
	{name: "401 empty", Fault: respond(401, ""), refresh: outage, login: nonsense},
	{name: "401 JSON in another format", Fault: respond(401, `{"error":"Unauthorized","message":"no"}`), refresh: outage, login: nonsense},
	{name: "401 with another status in it", Fault: respond(401, `{"statusCode":403,"error":"Forbidden"}`), refresh: outage, login: nonsense},
	{name: "401 JSON that calls itself HTML", Fault: respond(401, `{"statusCode":401,"error":"Unauthorized"}`, "Content-Type", "text/html"), refresh: outage, login: nonsense},
	{name: "401 cut", Fault: authtest.Fault{Status: 401, Body: own(401, "no").Body, Deliver: authtest.HalfThenReset}, refresh: outage, login: nonsense},
	{name: "401 too large", Fault: authtest.Fault{Status: 401, Body: own(401, "no").Body, Edit: authtest.Enlarge}, refresh: outage, login: nonsense},
	{name: "403", Fault: own(403, "no"), refresh: outage, login: down},
	{name: "403 HTML", Fault: respond(403, html), refresh: outage, login: nonsense},
	{name: "404", Fault: own(404, "Not Found"), refresh: outage, login: down},
	{name: "403 empty", Fault: respond(403, ""), refresh: outage, login: down},
	{name: "404 text", Fault: respond(404, "404 page not found", "Content-Type", "text/plain"), refresh: outage, login: down},
	{name: "404 HTML", Fault: respond(404, html), refresh: outage, login: nonsense},
	{name: "407", Fault: respond(407, html, "Proxy-Authenticate", "Basic"), refresh: outage, login: down},
	{name: "429", Fault: own(429, "You are being rate limited."), refresh: outage, login: down, hold: 10 * time.Second},
	{name: "429 HTML", Fault: respond(429, html, "Retry-After", "40"), refresh: outage, login: down, hold: 40 * time.Second},
	{name: "500", Fault: own(500, "An internal server error occurred"), refresh: outage, login: down},
	{name: "500 HTML", Fault: respond(500, html), refresh: outage, login: down},
	{name: "501", Fault: own(501, "no"), refresh: outage, login: down},
	{name: "502", Fault: respond(502, html), refresh: outage, login: down},
	{name: "503", Fault: respond(503, html, "Retry-After", "7"), refresh: outage, login: down, hold: 7 * time.Second},
	{name: "504", Fault: respond(504, ""), refresh: outage, login: down},

	// Responses that are not from the service.
	{name: "301", Fault: respond(301, "", "Location", "/auth/token/refresh"), refresh: outage, login: nonsense},
	{name: "302", Fault: respond(302, html, "Location", "http://127.0.0.1:1/elsewhere"), refresh: outage, login: nonsense},
	{name: "307", Fault: respond(307, "", "Location", "/auth/login"), refresh: outage, login: nonsense},
	{name: "308 nowhere", Fault: respond(308, ""), refresh: outage, login: nonsense},
	{name: "304", Fault: respond(304, ""), refresh: outage, login: nonsense},
	{name: "200 HTML", Fault: respond(200, html), refresh: outage, login: nonsense},
	{name: "200 empty", Fault: respond(200, ""), refresh: outage, login: nonsense},
	{name: "204", Fault: respond(204, ""), refresh: outage, login: nonsense},
	{name: "200 without tokens", Fault: respond(200, `{}`), refresh: outage, login: nonsense},
	{name: "200 null", Fault: respond(200, `null`), refresh: outage, login: nonsense},
	{name: "200 with null tokens", Fault: respond(200, `{"jwt_token":null,"jwt_expires_in":null,"user":{}}`), refresh: outage, login: nonsense},
	{name: "200 with numbers for tokens", Fault: respond(200, `{"jwt_token":1,"refresh_token":2}`), refresh: outage, login: nonsense},
	{name: "200 with an error in it", Fault: respond(200, own(401, "no").Body), refresh: outage, login: nonsense},
	{name: "200 magic link", Fault: respond(200, `{"magicLink":true}`), refresh: outage, login: nonsense},
	{name: "200 second factor without a ticket", Fault: respond(200, `{"mfa":true}`), refresh: outage, login: nonsense},
	{name: "200 cut short of its length", Fault: authtest.Fault{Status: 200, Body: `{"jwt_token":"a.b.c"}`, Deliver: authtest.HalfThenClose}, refresh: outage, login: nonsense},

	// There is no response, and the request was not executed.
	{name: "reset", Fault: authtest.Fault{Deliver: authtest.Reset}, refresh: outage, login: down},
	{name: "closed", Fault: authtest.Fault{Deliver: authtest.Close}, refresh: outage, login: down},
	{name: "hanging", Fault: authtest.Fault{Deliver: authtest.Hang}, refresh: outage, login: down, slow: true},

	// The request was executed, and there is no response, or half of one.
	{name: "carried out, then reset", Fault: authtest.Fault{Deliver: authtest.Reset, CarryOut: true}, refresh: lost, login: down},
	{name: "carried out, then closed", Fault: authtest.Fault{Deliver: authtest.Close, CarryOut: true}, refresh: lost, login: down},
	{name: "carried out, then hanging", Fault: authtest.Fault{Deliver: authtest.Hang, CarryOut: true}, refresh: lost, login: down, slow: true},
	{name: "carried out, response too late", Fault: authtest.Fault{Delay: 2 * flightTime}, refresh: lost, login: down, slow: true},
	{name: "carried out, dripping", Fault: authtest.Fault{Drip: 3 * flightTime}, refresh: lost, login: down, slow: true},
	{name: "carried out, reset within", Fault: authtest.Fault{Deliver: authtest.HalfThenReset}, refresh: lost, login: nonsense},
	{name: "carried out, closed within", Fault: authtest.Fault{Deliver: authtest.HalfThenClose}, refresh: lost, login: nonsense},
	{name: "carried out, cut", Fault: authtest.Fault{Edit: authtest.Truncate}, refresh: lost, login: nonsense},
	{name: "carried out, too large", Fault: authtest.Fault{Edit: authtest.Enlarge}, refresh: lost, login: nonsense},
	{name: "carried out, without tokens", Fault: authtest.Fault{Edit: authtest.DropTokens}, refresh: lost, login: nonsense},
	{name: "carried out, then 502", Fault: authtest.Fault{Status: 502, Body: html, CarryOut: true}, refresh: lost, login: down},
	{name: "carried out, then a redirect", Fault: authtest.Fault{Status: 302, Header: http.Header{"Location": {"/"}}, CarryOut: true}, refresh: lost, login: nonsense},

	// The request was executed, and the response has a refresh token and no valid access
	// token.
	{name: "no JWT", Fault: authtest.Fault{Edit: authtest.SpoilAccessToken}, refresh: halfway, login: nonsense},
	{name: "a JWT of nothing", Fault: withAccessToken("e30.e30.e30"), refresh: halfway, login: nonsense},
	{name: "a JWT without a user", Fault: withAccessToken(jwtOf(`{"iat":1,"exp":2,"hasura":{}}`)), refresh: halfway, login: nonsense},
	{name: "a JWT that expires at issue", Fault: withAccessToken(jwtOf(`{"iat":2,"exp":2,"hasura":{"x-hasura-user-id":"u"}}`)), refresh: halfway, login: nonsense},
	{name: "a JWT over 64 KiB", Fault: withAccessToken(jwtOf(`{"pad":"` + strings.Repeat("x", 65<<10) + `"}`)), refresh: halfway, login: nonsense},

	// The response is late and valid.
	{name: "delayed", Fault: authtest.Fault{Delay: 200 * time.Millisecond}, refresh: renewed, login: fine},
	{name: "slowly dripping", Fault: authtest.Fault{Drip: 200 * time.Millisecond}, refresh: renewed, login: fine},
}

// anothersTokens is a fault of refreshes only.
var anothersTokens = fault{
	name:    "another user's tokens",
	Fault:   withAccessToken(jwtOf(`{"iat":1,"exp":900,"hasura":{"x-hasura-user-id":"somebody-else","x-hasura-allowed-roles":["admin"]}}`)),
	refresh: stranger,
}
