package synmetrix_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

var furtherCalls = map[string]func(*synmetrix.Client, context.Context) (auth.Grant, error){
	"register": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return c.Register(ctx, email, password)
	},
	"activate": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return c.Activate(ctx, ticket)
	},
	"send_magic_link": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		return auth.Grant{}, c.SendMagicLink(ctx, email)
	},
	"generate_mfa": func(c *synmetrix.Client, ctx context.Context) (auth.Grant, error) {
		_, err := c.GenerateMFA(ctx, validAccess)
		return auth.Grant{}, err
	},
}

// FuzzResponse checks the contract of the calls for arbitrary responses: a call
// returns a usable result or an error that wraps a sentinel, and reports a refusal
// only for an error in the service's own format.
func FuzzResponse(f *testing.F) {
	for _, body := range []string{
		"", "{}", "null", "[]", html,
		tokensBody(validAccess, newRefresh),
		`{"jwt_token":null,"jwt_expires_in":null,"user":{}}`,
		`{"jwt_token":"a.b.c","refresh_token":null}`,
		`{"magicLink":true}`,
		`{"mfa":true,"ticket":"` + ticket + `"}`,
		`{"statusCode":401,"error":"Unauthorized","message":"Invalid or expired ticket."}`,
		`{"statusCode":400,"error":"Bad Request"}`,
		`{"image_url":"data:image/png;base64,AA==","otp_secret":"JBSWY3DPEHPK3PXP"}`,
		"http://localhost/callback?refresh_token=" + newRefresh,
		`{"statusCode":4e2,"error":"Bad Request","message":7}`,
	} {
		for _, status := range []int{200, 204, 302, 400, 401, 429, 500} {
			f.Add(status, "application/json", body, "1795445688")
		}
	}
	f.Fuzz(func(t *testing.T, status int, contentType, body, wait string) {
		if status < 100 || status > 999 {
			return // net/http rejects such a status itself
		}
		c := synmetrix.NewClient("http://auth.example", synmetrix.WithTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{
				StatusCode: status,
				Header:     http.Header{"Content-Type": {contentType}, "Retry-After": {wait}, "X-Ratelimit-Reset": {wait}, "Date": {wait}, "Location": {body}},
				Body:       io.NopCloser(strings.NewReader(body)),
			}, nil
		})))
		all := maps.Clone(calls)
		maps.Copy(all, furtherCalls)
		for op, call := range all {
			grant, err := call(c, t.Context())
			if err == nil {
				if status < 200 || status > 299 {
					t.Errorf("%s: success at status %d", op, status)
				}
				if op != "logout" && op != "revoke" && op != "send_magic_link" && op != "generate_mfa" && (strings.Count(grant.AccessToken, ".") != 2 || len(grant.RefreshToken) != 36) {
					t.Errorf("%s: unusable tokens", op)
				}
				continue
			}
			if meanings(err) == "" && !errors.Is(err, auth.ErrVerificationPending) {
				t.Errorf("%s: an error that wraps no sentinel: %v", op, err)
			}
			if grant.AccessToken != "" {
				t.Errorf("%s: an access token together with an error", op)
			}
			if errors.Is(err, auth.ErrRefused) &&
				!(op == "activate" && status == 302) &&
				(status != 400 && status != 401 || !json.Valid([]byte(body)) || op == "refresh" && status != 401) {
				t.Errorf("%s: refused by status %d and body %q", op, status, body)
			}
			var e *auth.Error
			if errors.As(err, &e) {
				if e.RetryAfter < 0 || e.RetryAfter > 15*time.Minute {
					t.Errorf("%s: RetryAfter = %v", op, e.RetryAfter)
				}
				if m := e.Message; len(m) > 20 && strings.Contains(err.Error(), m) {
					t.Errorf("%s: the error quotes the service: %v", op, err)
				}
			}
		}
	})
}
