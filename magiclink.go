package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// SendMagicLink makes the auth service send an e-mail with a sign-in link to the address.
// It removes spaces around the address. On success the browser waits for the link for 15
// minutes; see FollowLink.
//
// SendMagicLink also succeeds, after the same time, if the address has no account. The
// service then sends no e-mail. See Login about the time.
//
// The errors of SendMagicLink are
//   - [auth.ErrEmailRefused] if the text is not an e-mail address,
//   - a [*TooManyAttemptsError] if one of Config.Limits is reached,
//   - the other errors of the auth service, see [auth.Service],
//   - [ErrCommitted] if the response has begun,
//   - [errors.ErrUnsupported] if the service has no [auth.MagicLink].
func (m *Manager) SendMagicLink(ctx context.Context, email string, opts ...SignInOption) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	if err := m.sendMail(ctx, x, "magic link", email, m.auth.SendMagicLink); err != nil {
		return err
	}
	return m.await(x, linkStep, pending{email: strings.TrimSpace(email), signInOptions: newSignInOptions(opts)})
}

// sendMail makes the service send an e-mail. It also returns nil, after the same time, for
// an unknown address.
func (m *Manager) sendMail(ctx context.Context, x *Exchange, step, email string, send func(context.Context, string) error) error {
	attempt, err := m.countMail(ctx, x, m.account(email))
	if err != nil {
		return err
	}
	start := time.Now()
	callCtx := m.authContext(ctx)
	err = send(callCtx, strings.TrimSpace(email))
	callCtx.End()
	noteMail(ctx, attempt, err)
	if err != nil && (!errors.Is(err, auth.ErrRefused) || errors.Is(err, auth.ErrEmailRefused)) {
		return m.accountFailed(ctx, nil, step, err)
	}
	m.mailFloor.note(start, nil)
	m.mailFloor.wait(ctx, x.ctx, start)
	if err != nil {
		_ = m.accountFailed(ctx, nil, step, err) // reports it
	}
	return nil
}
