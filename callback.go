package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/seal"
)

// A link in an e-mail leads the browser to the app with a refresh token in the query. Link
// scanners, and browsers that prefetch pages, follow links without their users. And an
// attacker can send a link of the attacker's account to another user, who would then be
// signed in to that account. So only a browser that has requested the link is signed in at
// once, and only if the link is for the e-mail address of that request. In any other
// browser, the app shows a page with a button.

// formLife is how long the token in a form can be used.
const formLife = time.Hour

// PendingLink reports whether the browser waits for a link: SendMagicLink, Register or
// RegisterAndSignIn has succeeded for it in the last 15 minutes, and it has not signed in
// or out since. PendingLink also returns the address that the first step passed to
// [WithReturnTo]. After StartProvider it returns the address and false, because the browser
// then waits for no link.
func (m *Manager) PendingLink(ctx context.Context) (returnTo string, ok bool) {
	x, err := m.exchange(ctx)
	if err != nil {
		return "", false
	}
	p := x.pendingAt(linkStep)
	return p.returnTo, p.waits && p.email != ""
}

// FollowLink signs the browser in with the refresh token of a link. The browser must
// wait for the link; see PendingLink.
//
// If the browser requested a link for another account, the error is [ErrOtherAccount], and
// no user is signed in. The token of the link is then used up, and sealed holds its
// successor for ConfirmLink. The app should show a page with a button, so that the user
// decides.
//
// The error is [ErrNoPendingLogin] if the browser waits for no link, and
// [auth.ErrRefused] if the service does not accept the token. Other errors are those of
// Login.
func (m *Manager) FollowLink(ctx context.Context, refreshToken string) (sealed string, err error) {
	x, err := m.exchange(ctx)
	if err != nil {
		return "", err
	}
	p := x.pendingAt(linkStep)
	if !p.waits || p.email == "" {
		return "", fmt.Errorf("session: link: %w", ErrNoPendingLogin)
	}
	grant, err := m.redeem(ctx, refreshToken)
	if err != nil {
		return "", err
	}
	if normalEmail(p.email) != normalEmail(grant.User.Email) {
		sealed, err := m.SealLink(grant.RefreshToken)
		if err != nil {
			return "", m.loginFailed(ctx, "link", grant.Tokens, err)
		}
		return sealed, fmt.Errorf("session: link: %w", ErrOtherAccount)
	}
	return "", m.startSession(ctx, x, grant, "", p.signInOptions)
}

// SealLink returns the refresh token of a link in sealed form, for a hidden field of a
// form. Only ConfirmLink can open the text, for an hour.
func (m *Manager) SealLink(refreshToken string) (string, error) {
	var e seal.Encoder
	e.Time(m.now().Add(formLife))
	e.Text(refreshToken)
	sealed, err := m.secrets[0].Cookies.Seal(seal.Token, "", e.B)
	if err != nil {
		return "", errors.New("session: link: the token cannot be sealed")
	}
	return sealed, nil
}

// maxSealedLink bounds the text that ConfirmLink opens. Refresh tokens are less than half
// as long.
const maxSealedLink = 16 << 10

// ConfirmLink signs the browser in with a refresh token that SealLink or FollowLink has
// sealed. The error is [auth.ErrRefused] if the text is not such a token, if it is older
// than an hour, or if the service rejects the token. Other errors are those of Login.
func (m *Manager) ConfirmLink(ctx context.Context, sealed string) error {
	token, ok := "", false
	if len(sealed) <= maxSealedLink {
		if plain, _, opened := m.openText(seal.Token, "", sealed); opened {
			d := seal.NewDecoder(plain)
			until := d.Time()
			token = d.Text()
			ok = d.Done() && m.now().Before(until)
		}
	}
	if !ok {
		return m.loginFailed(ctx, "link", auth.Tokens{}, fmt.Errorf("the form has expired or was changed: %w", auth.ErrRefused))
	}
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	return m.startWithToken(ctx, x, token, x.pendingAt(linkStep).signInOptions)
}

// StartWithToken starts a session with a refresh token that the app has received in another
// way. The caller must make sure that the user wants to sign in to this account: see
// FollowLink. The error is [auth.ErrRefused] if the service rejects the token. Other errors
// are those of Login.
func (m *Manager) StartWithToken(ctx context.Context, refreshToken string, opts ...SignInOption) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	return m.startWithToken(ctx, x, refreshToken, newSignInOptions(opts))
}

func (m *Manager) startWithToken(ctx context.Context, x *Exchange, refreshToken string, o signInOptions) error {
	grant, err := m.redeem(ctx, refreshToken)
	if err != nil {
		return err
	}
	return m.startSession(ctx, x, grant, "", o)
}

// redeem exchanges the refresh token of a link.
func (m *Manager) redeem(ctx context.Context, refreshToken string) (auth.Grant, error) {
	callCtx := m.authContext(ctx)
	defer callCtx.End()
	old := auth.Tokens{RefreshToken: refreshToken}
	grant, err := m.auth.Refresh(callCtx, old)
	if err != nil {
		return auth.Grant{}, m.loginFailed(ctx, "link", grant.Tokens, err)
	}
	if grant.RefreshToken == "" {
		grant.RefreshToken = refreshToken // the service does not rotate refresh tokens
	}
	return grant, nil
}
