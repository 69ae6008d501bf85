package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// Login signs a user in with e-mail address and password. ctx is the context
// of a request inside the session middleware; on success its session is the
// new one, under a new ID, and a session that the browser had before has
// ended. Blanks around the address are removed; the password is passed on as
// it is.
//
// A refusal ([auth.ErrRefused]) does not show whether the account exists: it is
// returned no sooner than 300 ms after the call. Where the auth service is slow
// this time doubles until it is a quarter longer than the slowest response to a
// sign-in of the last hour, to 2.4 s at most. Other results are returned at
// once, and so is a refusal if ctx or the request ends.
//
// An error is the auth service's (see [auth.Service]); or [auth.ErrSecondFactor]
// where a code is needed: then the login is kept in a cookie of its own for
// 15 minutes, for LoginTOTP; or [ErrTooLarge] where the tokens fit no cookie,
// [ErrSessionUnavailable] where the store does not take the session, and the
// context's error where the client has gone meanwhile: then they have been given
// back to the service. In every case the session that the browser had is as it
// was.
func (m *Manager) Login(ctx context.Context, email, password string) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	callCtx, cancel := m.authContext(ctx)
	grant, err := m.auth.Login(callCtx, strings.TrimSpace(email), password)
	cancel()
	m.floor.note(began, err)
	if factor := (*auth.SecondFactorError)(nil); errors.As(err, &factor) && m.HasSecondFactor() {
		if !m.jar.FitsOne(seal.Size(len(encodePending(m.now(), factor.Ticket)))) {
			err = errCookiesFull
		} else if late := x.setPending(&pendingLogin{factor.Ticket}); late != nil {
			err = late
		}
		return fmt.Errorf("session: login: %w", err)
	}
	if err != nil {
		err = m.loginFailed(ctx, "login", grant.Tokens, err)
		m.floor.hold(ctx, x.ctx, began, err)
		return err
	}
	return m.begin(ctx, x, grant)
}

// HasPasswordLogin reports whether the auth service signs users in with a
// password: whether it is an [auth.PasswordLogin].
func (m *Manager) HasPasswordLogin() bool {
	_, ok := m.cfg.Auth.(auth.PasswordLogin)
	return ok
}

// HasSecondFactor reports whether the auth service asks for second factors.
func (m *Manager) HasSecondFactor() bool {
	_, ok := m.cfg.Auth.(auth.SecondFactor)
	return ok
}

// LoginPending reports whether the browser has a login that waits for its
// second factor.
func (m *Manager) LoginPending(ctx context.Context) bool {
	x, err := m.exchange(ctx)
	return err == nil && x.pendingTicket() != ""
}

// LoginTOTP ends a login that Login found to need a second factor. It fails as
// Login does, refusals no sooner, and with [ErrNoPendingLogin] if there is none. A wrong code
// ([auth.ErrRefused]) can be tried again; after [auth.ErrTicketRefused], which is
// auth.ErrRefused too, the login has to be begun anew.
func (m *Manager) LoginTOTP(ctx context.Context, code string) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	ticket := x.pendingTicket()
	if !m.HasSecondFactor() || ticket == "" {
		return fmt.Errorf("session: login: %w", ErrNoPendingLogin)
	}
	began := time.Now()
	callCtx, cancel := m.authContext(ctx)
	grant, err := m.auth.LoginTOTP(callCtx, ticket, code)
	cancel()
	m.floor.note(began, err)
	if errors.Is(err, auth.ErrTicketRefused) {
		_ = x.setPending(&pendingLogin{})
	}
	if err != nil {
		err = m.loginFailed(ctx, "second factor", grant.Tokens, err)
		m.floor.hold(ctx, x.ctx, began, err)
		return err
	}
	return m.begin(ctx, x, grant)
}

// Start begins a session from what the auth service has granted the app in
// another way than by Login. It fails as Login does.
func (m *Manager) Start(ctx context.Context, grant auth.Grant) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	return m.begin(ctx, x, grant)
}

// authContext is for one call of the auth service. It is not canceled with the
// request: the service would go on, and its answer would be lost with the
// tokens in it.
func (m *Manager) authContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), m.cfg.AuthTimeout)
}

// loginFailed reports a login that has come to nothing, and gives back tokens
// that came with it all the same.
func (m *Manager) loginFailed(ctx context.Context, step string, tokens auth.Tokens, err error) error {
	if tokens.RefreshToken != "" {
		m.keeper.RevokeSoon(tokens)
	}
	m.keeper.RateLimited(err)
	level, name := slog.LevelInfo, EventLoginRefused
	if !errors.Is(err, auth.ErrRefused) {
		level, name = slog.LevelWarn, EventLoginUnavailable
	}
	m.event(ctx, level, nil, Event{Name: name, Err: err})
	return fmt.Errorf("session: %s: %w", step, err)
}

// begin makes a session of tokens and the request's session of that.
func (m *Manager) begin(ctx context.Context, x *Exchange, grant auth.Grant) error {
	p, err := m.keeper.NewPair(grant.Tokens, auth.Tokens{})
	if err == nil && p.Tokens.RefreshToken == "" {
		err = errors.New("no refresh token")
	}
	if err != nil {
		return m.loginFailed(ctx, "login", grant.Tokens, fmt.Errorf("%w: %w", auth.ErrInvalidAnswer, err))
	}
	if gone := cmp.Or(ctx.Err(), x.ctx.Err()); gone != nil {
		return m.loginFailed(ctx, "login", p.Tokens, fmt.Errorf("the client is gone: %w", gone))
	}
	rec := keeper.NewRecord(p, m.now())
	if err := m.create(ctx, rec); err != nil {
		return m.loginFailed(ctx, "login", p.Tokens, err)
	}
	if p.Claims.Err() != nil {
		m.event(ctx, slog.LevelWarn, rec, Event{Name: EventClaimsUnreadable, Err: p.Claims.Err()})
	}
	x.mu.Lock()
	previous, late := x.in, x.committed
	if !late {
		x.in, x.fate, x.pending = rec, signsIn, &pendingLogin{}
		x.replace(&Session{m: m, ctx: x.ctx, rec: rec, resolved: true}) // its tokens are new
	}
	x.mu.Unlock()
	if late {
		_ = m.keeper.End(ctx, rec, keeper.EndedBeforeDelivery, false)
		return fmt.Errorf("session: login: %w", ErrCommitted)
	}
	if previous != nil {
		// Its own browser has another session now: nothing depends on this.
		_ = m.keeper.End(ctx, previous, keeper.EndedByLogin, false)
	}
	m.event(ctx, slog.LevelInfo, rec, Event{Name: EventSessionStarted})
	return nil
}

// create makes sure that the session can be kept.
func (m *Manager) create(ctx context.Context, rec *keeper.Record) error {
	if !m.Stored() && !m.jar.Fits(seal.Size(len(encodeTokens(rec)))) {
		return errCookiesFull
	}
	return m.failure(ctx, rec, m.keeper.Create(ctx, rec))
}

// Logout ends the request's session, here and at the auth service. Without a
// session it does nothing, and a service that does not answer changes nothing:
// the session here is over. It fails with [ErrSessionUnavailable] if the store
// does not answer: then the session may live, and the cookie stays.
func (m *Manager) Logout(ctx context.Context) error {
	return m.logout(ctx, keeper.EndedByLogout, false)
}

// LogoutAll ends every session of the user, as Logout ends one: those in the
// store at once, and through the auth service those elsewhere, cookie sessions
// by the end of their access tokens at the latest.
//
// Without a store it fails with [ErrLogoutIncomplete] if the auth service has
// not confirmed the end of the other sessions within a few seconds. The
// session of the request is over all the same, and the others are tried again
// until the service has ended them.
func (m *Manager) LogoutAll(ctx context.Context) error {
	return m.logout(ctx, keeper.EndedByLogoutAll, true)
}

func (m *Manager) logout(ctx context.Context, why keeper.Reason, all bool) error {
	x, err := m.exchange(ctx)
	if err != nil {
		return err
	}
	x.mu.Lock()
	in := x.in
	x.mu.Unlock()
	var ended *keeper.Error
	var incomplete bool
	if in != nil {
		err := m.keeper.End(ctx, in, why, all)
		incomplete = errors.Is(err, keeper.ErrIncomplete)
		over := err == nil || incomplete || errors.As(err, &ended) && ended.Ended != ""
		if !over {
			return m.failure(ctx, in, err)
		}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.in, x.fate, x.pending = nil, signsOut, &pendingLogin{}
	if ended != nil && ended.Ended == keeper.EndedByLogin {
		x.fate = keeps // a login that came first has given the browser other cookies
	}
	x.replace(anonymous)
	if incomplete {
		return fmt.Errorf("session: logout: %w", ErrLogoutIncomplete)
	}
	return nil
}
