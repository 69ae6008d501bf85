package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
)

// Register creates an account whose user has to confirm the e-mail address. It removes
// spaces around the address and passes the password on unchanged. On success the browser
// waits for the link in the e-mail; see FollowLink. No user is signed in. If the service
// issues tokens nevertheless, they are revoked.
//
// Register also succeeds, after the same time, if the address already has an account. The
// service then sends no e-mail. So the result does not show which accounts exist. See Login
// about the time.
//
// The errors of Register are
//   - [auth.ErrEmailRefused] and [auth.ErrPasswordRefused] if the service does not
//     accept the address or the password, whether or not the address has an account,
//   - a [*TooManyAttemptsError] if one of Config.Limits is reached,
//   - the other errors of the auth service, see [auth.Service],
//   - [ErrCommitted] if the response has begun,
//   - [errors.ErrUnsupported] if the service has no [auth.Registration].
func (m *Manager) Register(ctx context.Context, email, password string, opts ...SignInOption) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	grant, err := m.register(ctx, x, email, password)
	if grant.RefreshToken != "" {
		m.keeper.RevokeLater(grant.Tokens) // without a wait, which would show that the account is new
	}
	switch {
	case err == nil, errors.Is(err, auth.ErrVerificationPending), errors.Is(err, auth.ErrAccountExists):
	case grant.RefreshToken != "": // the account exists; only its tokens are unusable
	default:
		return m.accountFailed(ctx, nil, "register", err)
	}
	m.mailFloor.note(start, nil)
	m.mailFloor.wait(ctx, x.ctx, start)
	return m.await(x, linkStep, pending{email: strings.TrimSpace(email), signInOptions: newSignInOptions(opts)})
}

// RegisterAndSignIn creates an account and signs its user in, as Login does, if the service
// allows this. Unlike Register, its result shows whether the account exists.
//
// Its errors are those of Register and Login, and
//   - [auth.ErrVerificationPending] if the user has to confirm the address first: the
//     browser then waits for the link in the e-mail, see FollowLink,
//   - [auth.ErrAccountExists] if the address has an account.
func (m *Manager) RegisterAndSignIn(ctx context.Context, email, password string, opts ...SignInOption) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	grant, err := m.register(ctx, x, email, password)
	switch {
	case err == nil:
		return m.startSession(ctx, x, grant, strings.TrimSpace(email), newSignInOptions(opts))
	case errors.Is(err, auth.ErrVerificationPending):
		p := pending{email: strings.TrimSpace(email), signInOptions: newSignInOptions(opts)}
		if failed := m.await(x, linkStep, p); failed != nil {
			return failed
		}
		return fmt.Errorf("session: register: %w", err)
	}
	if grant.RefreshToken != "" {
		m.keeper.RevokeSoon(grant.Tokens)
	}
	return m.accountFailed(ctx, nil, "register", err)
}

func (m *Manager) register(ctx context.Context, x *Exchange, email, password string) (auth.Grant, error) {
	attempt, err := m.countMail(ctx, x, m.account(email))
	if err != nil {
		return auth.Grant{}, err
	}
	callCtx := m.authContext(ctx)
	grant, err := m.auth.Register(callCtx, strings.TrimSpace(email), password)
	callCtx.End()
	noteMail(ctx, attempt, err)
	return grant, err
}
