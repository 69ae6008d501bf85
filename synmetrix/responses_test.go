package synmetrix_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

// calls are the calls of the client that the tables below use.
var calls = map[string]func(*synmetrix.Client, context.Context) (auth.Grant, error){
	"login": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return c.Login(ctx, email, password)
	},
	"login_totp": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return c.LoginTOTP(ctx, ticket, "123456")
	},
	"refresh": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return c.Refresh(ctx, auth.Tokens{RefreshToken: oldRefresh})
	},
	"logout": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return auth.Grant{}, c.Logout(ctx, auth.Tokens{AccessToken: validAccess, RefreshToken: oldRefresh}, false)
	},
	"revoke": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return auth.Grant{}, c.Revoke(ctx, validAccess)
	},
}

// allCalls are the keys of calls.
var allCalls = slices.Sorted(maps.Keys(calls))

// issuing are the calls that return tokens.
var issuing = []string{"login", "login_totp", "refresh"}

const (
	html           = "<!doctype html><title>No</title><p>quoted-by-the-service"
	refusedOnly    = "refused"
	refusedTicket  = "refused, ticket refused"
	unavailable    = "unavailable"
	unavailableUnk = "outcome unknown, unavailable"
	invalid        = "invalid response"
	invalidUnk     = "invalid response, outcome unknown"
)

func TestResponses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		calls    []string
		response string
		code     string
		status   int
		message  string
		means    string
	}{
		// Refusals.
		{"invalid refresh token, no message", []string{"refresh"}, refusal(401, ""), synmetrix.CodeRefreshTokenRefused, 401, "", refusedOnly},
		{"unknown 400 at login", []string{"login"}, refusal(400, "quoted-by-the-service"), synmetrix.CodeUnclear, 400, "quoted-by-the-service", refusedOnly},
		{"bare 400 at the code", []string{"login_totp"}, refusal(400, ""), synmetrix.CodeUnclear, 400, "", unavailable},

		// Outages that the service reports.
		{"bare 400", []string{"refresh", "revoke", "logout"}, refusal(400, ""), synmetrix.CodeUnclear, 400, "", unavailable},
		{"400 with a message", []string{"refresh"}, refusal(400, `"refresh_token" is invalid`), synmetrix.CodeUnclear, 400, `"refresh_token" is invalid`, unavailable},
		{"403", allCalls, refusal(403, "quoted-by-the-service"), synmetrix.CodeUnexpectedStatus, 403, "quoted-by-the-service", unavailable},
		{"404", allCalls, refusal(404, "Not Found"), synmetrix.CodeUnexpectedStatus, 404, "Not Found", unavailable},
		{"500", allCalls, refusal(500, serverError), synmetrix.CodeServiceError, 500, serverError, unavailable},
		{"501", allCalls, refusal(501, ""), synmetrix.CodeServiceError, 501, "", unavailable},
		{"503 in JSON", allCalls, refusal(503, ""), synmetrix.CodeServiceError, 503, "", unavailable},
		{"429", allCalls, refusal(429, "You are being rate limited."), synmetrix.CodeRateLimited, 429, "You are being rate limited.", "rate limited, unavailable"},
		{"429 in HTML", allCalls, reply(429, "text/html", html), synmetrix.CodeRateLimited, 429, "", "rate limited, unavailable"},

		// Outages that a proxy reports.
		{"502 in JSON", allCalls, refusal(502, ""), synmetrix.CodeServiceError, 502, "", unavailableUnk},
		{"403 without a body", allCalls, reply(403, "", ""), synmetrix.CodeUnexpectedStatus, 403, "", unavailableUnk},
		{"404 in text", allCalls, reply(404, "text/plain; charset=utf-8", "404 page not found"), synmetrix.CodeUnexpectedStatus, 404, "", unavailableUnk},
		{"404 in a proxy's JSON", allCalls, reply(404, jsonType, `{"message":"no route"}`), synmetrix.CodeUnexpectedStatus, 404, "", unavailableUnk},
		{"407 in HTML", allCalls, reply(407, "text/html", html), synmetrix.CodeUnexpectedStatus, 407, "", unavailableUnk},
		{"504 in JSON", allCalls, refusal(504, ""), synmetrix.CodeServiceError, 504, "", unavailableUnk},
		{"500 in HTML", allCalls, reply(500, "text/html", html), synmetrix.CodeServiceError, 500, "", unavailableUnk},
		{"502 in HTML", allCalls, reply(502, "text/html", html), synmetrix.CodeServiceError, 502, "", unavailableUnk},
		{"503 without a body", allCalls, reply(503, "", ""), synmetrix.CodeServiceError, 503, "", unavailableUnk},
		{"599", allCalls, reply(599, "", ""), synmetrix.CodeServiceError, 599, "", unavailableUnk},
		{"500 cut", allCalls, "HTTP/1.1 500 X\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"statusCode\":500", synmetrix.CodeServiceError, 500, "", unavailableUnk},

		// A refusal counts only in the service's own format.
		{"400 in HTML", allCalls, reply(400, "text/html", html), synmetrix.CodeNotJSON, 400, "", invalidUnk},
		{"401 in HTML", allCalls, reply(401, "text/html", html), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"403 in HTML", allCalls, reply(403, "text/html", html), synmetrix.CodeNotJSON, 403, "", invalidUnk},
		{"401 without a body", allCalls, reply(401, "", ""), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"401 in a proxy's JSON", allCalls, reply(401, jsonType, `{"message":"Unauthorized"}`), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"401 of another status", allCalls, reply(401, jsonType, `{"statusCode":403,"error":"Forbidden"}`), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"401 with a status in a string", allCalls, reply(401, jsonType, `{"statusCode":"401","error":"Unauthorized"}`), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"401 in an array", allCalls, reply(401, jsonType, `[{"statusCode":401,"error":"Unauthorized"}]`), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"401 twice", allCalls, reply(401, jsonType, strings.Repeat(`{"statusCode":401,"error":"Unauthorized"}`, 2)), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"401 of another content type", allCalls, reply(401, "text/html", `{"statusCode":401,"error":"Unauthorized"}`), synmetrix.CodeNotJSON, 401, "", invalidUnk},
		{"401 cut", allCalls, "HTTP/1.1 401 X\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"statusCode\":401,\"error\":\"Unauthorized\"}", synmetrix.CodeBodyCut, 401, "", invalidUnk},

		// Responses with a success status that are not usable.
		{"HTML", allCalls, reply(200, "text/html", html), synmetrix.CodeNotJSON, 200, "", invalidUnk},
		{"cut", allCalls, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", synmetrix.CodeBodyCut, 200, "", invalidUnk},
		{"cut in a chunk", allCalls, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", synmetrix.CodeBodyCut, 200, "", invalidUnk},
		{"not HTTP", allCalls, "quoted-by-the-service " + oldRefresh + "\r\n\r\n", synmetrix.CodeNoResponse, 0, "", unavailableUnk},
		{"bad header", allCalls, "HTTP/1.1 200 OK\r\nquoted-by-the-service " + oldRefresh + "\r\n\r\n", synmetrix.CodeNoResponse, 0, "", unavailableUnk},
		{"empty", issuing, ok(""), synmetrix.CodeNotJSON, 200, "", invalidUnk},
		{"204", issuing, reply(204, "", ""), synmetrix.CodeNotJSON, 204, "", invalidUnk},
		{"null", issuing, ok("null"), synmetrix.CodeNotJSON, 200, "", invalidUnk},
		{"array", issuing, ok("[]"), synmetrix.CodeNotJSON, 200, "", invalidUnk},
		{"object", issuing, ok("{}"), synmetrix.CodeNoTokens, 200, "", invalidUnk},
		{"error in a success", issuing, ok(`{"statusCode":401,"error":"Unauthorized","message":"quoted-by-the-service"}`), synmetrix.CodeNoTokens, 200, "", invalidUnk},
		{"verification pending", issuing, ok(`{"jwt_token":null,"jwt_expires_in":null,"user":{"id":"u1"}}`), synmetrix.CodeNoTokens, 200, "", invalidUnk},
		{"magic link", issuing, ok(`{"magicLink":true}`), synmetrix.CodeMagicLink, 200, "", invalidUnk},
		{"cookie mode", issuing, ok(fmt.Sprintf(`{"jwt_token":%q,"jwt_expires_in":1}`, validAccess)), synmetrix.CodeNoRefreshToken, 200, "", invalidUnk},
		{"refresh token null", issuing, ok(fmt.Sprintf(`{"jwt_token":%q,"refresh_token":null}`, validAccess)), synmetrix.CodeNoRefreshToken, 200, "", invalidUnk},
		{"refresh token not a UUID", issuing, ok(tokensBody(validAccess, "abc")), synmetrix.CodeNoRefreshToken, 200, "", invalidUnk},
		{"access token missing", issuing, ok(fmt.Sprintf(`{"refresh_token":%q}`, newRefresh)), synmetrix.CodeNoAccessToken, 200, "", invalid},
		{"access token null", issuing, ok(fmt.Sprintf(`{"jwt_token":null,"refresh_token":%q}`, newRefresh)), synmetrix.CodeNoAccessToken, 200, "", invalid},
		{"access token a number", issuing, ok(fmt.Sprintf(`{"jwt_token":1,"refresh_token":%q}`, newRefresh)), synmetrix.CodeNoAccessToken, 200, "", invalid},
		{"access token of two parts", issuing, ok(tokensBody("a.b", newRefresh)), synmetrix.CodeNoAccessToken, 200, "", invalid},
		{"access token with an empty part", issuing, ok(tokensBody("a..c", newRefresh)), synmetrix.CodeNoAccessToken, 200, "", invalid},
		{"access token of four parts", issuing, ok(tokensBody("a.b.c.d", newRefresh)), synmetrix.CodeNoAccessToken, 200, "", invalid},
		{"access token with a line break", issuing, ok(`{"jwt_token":"a.b.c\r\nX: y","refresh_token":"` + newRefresh + `"}`), synmetrix.CodeNoAccessToken, 200, "", invalid},
		{"second factor without a ticket", []string{"login"}, ok(`{"mfa":true}`), synmetrix.CodeNoTicket, 200, "", invalidUnk},
		{"second factor with a ticket of another type", []string{"login"}, ok(`{"mfa":true,"ticket":7}`), synmetrix.CodeNoTicket, 200, "", invalidUnk},
	}
	for _, test := range tests {
		for _, op := range test.calls {
			t.Run(op+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				srv := serve(t, func(x *received) bool {
					x.respond(test.response)
					return false
				})
				grant, err := calls[op](newClient(t, srv.URL), testContext(t))
				wantError(t, err, op, test.code, test.status, test.message, test.means)
				want := auth.Tokens{}
				if test.code == synmetrix.CodeNoAccessToken {
					want.RefreshToken = newRefresh
				}
				if grant.Tokens != want {
					t.Errorf("tokens together with the error: access %t, refresh %t", grant.AccessToken != "", grant.RefreshToken != "")
				}
				if n := len(srv.requests()); n != 1 {
					t.Errorf("%d requests arrived, want 1", n)
				}
			})
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	// The service's clock is two hours ahead.
	now := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	date := "Date: " + now.UTC().Format(http.TimeFormat)
	reset := func(d time.Duration) string { return fmt.Sprintf("X-RateLimit-Reset: %d", now.Add(d).Unix()) }
	tests := map[string]struct {
		status  int
		headers []string
		want    time.Duration
	}{
		"reset before Retry-After": {429, []string{date, reset(100 * time.Second), "Retry-After: 900"}, 100 * time.Second},
		"reset a second ago":       {429, []string{date, reset(-time.Second)}, time.Second},
		"reset far away":           {429, []string{date, reset(24 * time.Hour)}, 15 * time.Minute},
		"reset unreadable":         {429, []string{date, "X-RateLimit-Reset: soon", "Retry-After: 7"}, 7 * time.Second},
		"reset in a 503":           {503, []string{date, reset(100 * time.Second), "Retry-After: 7"}, 7 * time.Second},
		"Retry-After":              {503, []string{"Retry-After: 120"}, 2 * time.Minute},
		"Retry-After of zero":      {503, []string{"Retry-After: 0"}, time.Second},
		"Retry-After too long":     {429, []string{"Retry-After: 2147483647"}, 15 * time.Minute},
		"Retry-After out of range": {429, []string{"Retry-After: 99999999999999999999"}, 0},
		"Retry-After negative":     {429, []string{"Retry-After: -5"}, 0},
		"Retry-After as a date":    {503, []string{date, "Retry-After: " + now.Add(time.Minute).UTC().Format(http.TimeFormat)}, time.Minute},
		"Retry-After in a refusal": {403, []string{"Retry-After: 5"}, 5 * time.Second},
		"no header":                {429, nil, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := serve(t, responding(refusal(test.status, "", test.headers...)))
			_, err := newClient(t, srv.URL).Refresh(testContext(t), auth.Tokens{RefreshToken: oldRefresh})
			var e *auth.Error
			if !errors.As(err, &e) || e.RetryAfter != test.want {
				t.Errorf("RetryAfter of %v, want %v", e, test.want)
			}
		})
	}
}
