package synmetrix_test

import (
	"testing"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// The tests of the Python client, for this client. The Python client keeps the
// tokens itself; here a TokenSource does.
func TestPythonClient(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*bench){
		"login": func(b *bench) {
			tokens, err := b.Login(b.ctx, email, password)
			b.ok(err)
			b.signedIn(tokens.Tokens, email)
			claims, err := synmetrix.ParseAccessToken(tokens.AccessToken)
			b.ok(err)
			if account, _ := b.srv.Account(email); claims.UserID != account.ID || !claims.ExpiresAt.After(b.srv.Now()) || claims.DefaultRole != "user" || len(claims.AllowedRoles) != 2 {
				b.Errorf("claims = %+v", claims)
			}
			if synmetrix.NewTokenSource(b.Client, tokens.Tokens, synmetrix.TokenSourceConfig{}).Tokens() != tokens.Tokens {
				b.Error("the tokens are not kept")
			}
		},
		"login, 401": func(b *bench) {
			tokens, err := b.Login(b.ctx, email, "not the password")
			wantError(b.T, err, "login", synmetrix.CodeInvalidCredentials, 401, wrongLogin, "refused")
			if tokens.Tokens != (auth.Tokens{}) {
				b.Error("tokens together with the error")
			}
		},
		"register": func(b *bench) {
			tokens, err := b.Register(b.ctx, "new@example.com", password)
			b.ok(err)
			b.signedIn(tokens.Tokens, "new@example.com")
		},
		"refresh": func(b *bench) {
			source := synmetrix.NewTokenSource(b.Client, b.tokens, synmetrix.TokenSourceConfig{})
			b.srv.Advance(time.Second)
			token, err := source.Renew(b.ctx, b.tokens.AccessToken)
			b.ok(err)
			kept := source.Tokens()
			b.signedIn(kept, email)
			if kept.AccessToken != token || kept.AccessToken == b.tokens.AccessToken || kept.RefreshToken == b.tokens.RefreshToken {
				b.Error("the new pair does not replace the old one")
			}
		},
		"refresh, no token": func(b *bench) {
			_, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: ""})
			wantError(b.T, err, "refresh", synmetrix.CodeMissingToken, 0, "", "refused")
			_, err = synmetrix.NewTokenSource(b.Client, auth.Tokens{}, synmetrix.TokenSourceConfig{}).Token(b.ctx)
			wantError(b.T, err, "refresh", synmetrix.CodeMissingToken, 0, "", "refused")
			b.noRequest()
		},
		"logout": func(b *bench) {
			source := synmetrix.NewTokenSource(b.Client, b.tokens, synmetrix.TokenSourceConfig{})
			b.ok(source.Logout(b.ctx, true))
			if source.Tokens() != (auth.Tokens{}) || len(b.srv.LiveTokens(email)) != 0 {
				b.Error("the source still has tokens, or they are still valid")
			}
		},
		"logout, not signed in": func(b *bench) {
			wantError(b.T, b.Logout(b.ctx, auth.Tokens{}, true), "logout", synmetrix.CodeMissingToken, 0, "", "refused")
			b.noRequest()
		},
		"change password": func(b *bench) {
			b.ok(b.ChangePassword(b.ctx, b.tokens.AccessToken, password, newPassword))
			b.passwordIs(email, newPassword)
			if n := b.srv.Requests(authtest.Any); n != 1 {
				b.Errorf("%d requests, want 1", n)
			}
		},
		"change password, not signed in": func(b *bench) {
			wantError(b.T, b.ChangePassword(b.ctx, "", password, newPassword), "change_password", synmetrix.CodeMissingToken, 0, "", "refused")
			b.noRequest()
		},
		// The Python client has one call that also registers. Here there are two.
		"magic link": func(b *bench) {
			b.ok(b.SendMagicLink(b.ctx, email))
			tokens, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: b.mailed().Token})
			b.ok(err)
			b.signedIn(tokens.Tokens, email)
			tokens, err = b.RegisterPasswordless(b.ctx, "new@example.com")
			b.ok(err)
			b.signedIn(tokens.Tokens, "new@example.com")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(newBench(t, authtest.Options{}))
		})
	}
}

// noRequest checks that no request was sent.
func (b *bench) noRequest() {
	b.Helper()
	if n := b.srv.Requests(authtest.Any); n != 0 {
		b.Errorf("%d requests were sent", n)
	}
}

// The tests of the Python client that need a service, for this client.
func TestPythonClientWithService(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*bench){
		"login, refresh, logout": func(b *bench) {
			first, err := b.Login(b.ctx, email, password)
			b.ok(err)
			b.signedIn(first.Tokens, email)
			same, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: first.RefreshToken})
			b.ok(err)
			if same.AccessToken != first.AccessToken || same.RefreshToken == first.RefreshToken {
				b.Error("within a second: want the same access token, and another refresh token")
			}
			b.srv.Advance(time.Second)
			later, err := b.Refresh(b.ctx, auth.Tokens{RefreshToken: same.RefreshToken})
			b.ok(err)
			b.signedIn(later.Tokens, email)
			before, err := synmetrix.ParseAccessToken(first.AccessToken)
			b.ok(err)
			after, err := synmetrix.ParseAccessToken(later.AccessToken)
			b.ok(err)
			if later.AccessToken == first.AccessToken || after.ExpiresAt.Sub(before.ExpiresAt) != time.Second {
				b.Errorf("a token of a second later expires at %v, the first at %v", after.ExpiresAt, before.ExpiresAt)
			}
			b.ok(b.Logout(b.ctx, later.Tokens, false))
			_, err = b.Refresh(b.ctx, auth.Tokens{RefreshToken: later.RefreshToken})
			wantError(b.T, err, "refresh", synmetrix.CodeRefreshTokenRefused, 401, invalidToken, "refused")
		},
		"wrong credentials": func(b *bench) {
			_, err := b.Login(b.ctx, "new@example.com", password)
			wantError(b.T, err, "login", synmetrix.CodeAccountNotFound, 400, noAccount, "refused")
			_, err = b.Login(b.ctx, email, "not the password")
			wantError(b.T, err, "login", synmetrix.CodeInvalidCredentials, 401, wrongLogin, "refused")
		},
		"refresh after a logout of all sessions": func(b *bench) {
			tokens, err := b.Login(b.ctx, email, password)
			b.ok(err)
			b.ok(b.Logout(b.ctx, tokens.Tokens, true))
			for _, revoked := range []auth.Tokens{tokens.Tokens, b.tokens} {
				_, err = b.Refresh(b.ctx, auth.Tokens{RefreshToken: revoked.RefreshToken})
				wantError(b.T, err, "refresh", synmetrix.CodeRefreshTokenRefused, 401, invalidToken, "refused")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			run(newBench(t, authtest.Options{Now: func() time.Time { return start }}))
		})
	}
}
