package synmetrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

// refreshTimeout bounds a refresh of a [TokenSource]. It is longer than
// DefaultTimeout, because the tokens in a late response would be lost.
const refreshTimeout = 3 * DefaultTimeout

// TokenSource keeps the tokens of one user for a program without a browser, such
// as a command or a worker, and refreshes them when they are due. Create it with
// [NewTokenSource]. It is safe for concurrent use. It prints, logs and marshals
// without the tokens.
//
// A TokenSource sends one refresh at a time, however many goroutines wait for a token. The
// refresh continues if the context of its caller ends, because the refresh token may
// already be used up. Its context ends after three times [DefaultTimeout]. Do not use the
// same refresh token in two sources or two processes.
type TokenSource struct {
	service auth.Service
	cfg     TokenSourceConfig

	mu       sync.Mutex
	tokens   auth.Tokens
	userID   string    // the user of tokens, empty while unknown
	renewAt  time.Time // when the access token is due for refresh
	expires  time.Time // when the access token expires
	unsaved  bool      // Save has not stored tokens yet
	flight   *renewal  // the renewal or logout in progress, or nil
	ended    error     // not nil once the source returns no more tokens
	lastErr  error     // of the last refresh
	failures int       // failed refreshes in a row
	retryAt  time.Time // no refresh before this time

	revoked, revokedAll bool // a logout has succeeded; a logout of all sessions has succeeded
}

// TokenSourceConfig is the configuration of a [TokenSource]. With the zero value
// the tokens are kept in memory only.
type TokenSourceConfig struct {
	// Save stores a new pair of tokens, so that the program can continue with
	// it after a restart. The previous pair is used up. The TokenSource calls
	// Save before it returns the new access token. If Save fails, Token returns
	// the error, and the next call of Token calls Save again.
	//
	// The access token of the pair may be expired or empty, if the response had only a
	// refresh token. Calls of Save do not overlap. Save must not call the TokenSource.
	// Default: tokens are not saved.
	Save func(ctx context.Context, tokens auth.Tokens) error

	// RefreshBefore is how long before its expiry an access token is refreshed,
	// at most half of its lifetime. Zero or less means a tenth of the lifetime,
	// at most a minute.
	RefreshBefore time.Duration

	// Claims are the names of the claims in access tokens. The zero value fits
	// the tokens that the service issues by default.
	Claims auth.ClaimNames
}

// renewal is one refresh or logout. Any number of callers may wait for it.
type renewal struct {
	done  chan struct{} // closed when token and err are set
	token string        // empty after a logout
	err   error
}

// wait waits until f has ended or ctx is done. It returns an error only in the second case.
func (f *renewal) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("synmetrix: waiting for the auth service: %w", ctx.Err())
	}
}

// NewTokenSource returns a source that starts with the given tokens, from [Client.Login] or
// from the last call of Save. The access token may be empty or expired. The source compares
// its exp with the local clock. For later access tokens it counts their lifetime from the
// time of receipt, so that the clock of the service may differ from the local clock.
func NewTokenSource(service auth.Service, tokens auth.Tokens, cfg TokenSourceConfig) *TokenSource {
	s := &TokenSource{service: service, cfg: cfg, tokens: tokens}
	if claims, err := auth.ParseClaims(tokens.AccessToken, cfg.Claims); err == nil {
		s.userID = claims.UserID
		s.setExpiry(claims.ExpiresAt, pacing.Life(claims.IssuedAt, claims.ExpiresAt, now()))
	}
	return s
}

// now returns the time without its monotonic reading. The monotonic clock may stop while
// the machine is suspended, but tokens still expire.
func now() time.Time { return time.Now().Round(0) }

func (s *TokenSource) setExpiry(expires time.Time, life time.Duration) {
	s.expires = expires
	s.renewAt = expires.Add(-pacing.Before(s.cfg.RefreshBefore, life, 1))
}

// Token returns a valid access token. It refreshes the tokens first if they are
// due.
//
// If the refresh fails, Token returns the current access token until it expires,
// and then the error. If Save fails, Token returns that error at once. After a failed
// refresh the source waits 0.25 s at first and up to 10 s, or for the Retry-After of
// the service: at most a minute, unless the service has limited its requests.
//
// A refusal ends the source: every later call returns the same error. If a refresh
// returns the tokens of another user, the source revokes them and ends with
// CodeUserChanged.
//
// While the current access token is valid, only the call that started the refresh
// waits for it. Otherwise all calls wait, each until its ctx is done.
func (s *TokenSource) Token(ctx context.Context) (string, error) {
	return s.token(ctx, "")
}

// Renew is like [TokenSource.Token], for use after an API has rejected an access token that
// has not expired. It refreshes the rejected token, unless the source has already refreshed
// it. A token issued in the same second can have the same text.
func (s *TokenSource) Renew(ctx context.Context, rejected string) (string, error) {
	return s.token(ctx, rejected)
}

func (s *TokenSource) token(ctx context.Context, rejected string) (string, error) {
	s.mu.Lock()
	at := now()
	token, valid := s.valid(at, rejected)
	switch {
	case s.ended != nil:
		defer s.mu.Unlock()
		return "", s.ended
	case valid && (at.Before(s.renewAt) || s.flight != nil || at.Before(s.retryAt)):
		// Not due, or another caller waits for the refresh, or it has just failed.
		s.mu.Unlock()
		return token, nil
	case s.flight == nil && !s.unsaved && at.Before(s.retryAt):
		// Unsaved tokens must be saved even during the pause.
		defer s.mu.Unlock()
		return "", s.lastErr
	case ctx.Err() != nil:
		// No caller would wait for a refresh that started now.
		defer s.mu.Unlock()
		return "", fmt.Errorf("synmetrix: token: %w", ctx.Err())
	case s.flight == nil:
		// The refresh token may be used up when ctx is canceled, so the renewal
		// must continue.
		s.flight = &renewal{done: make(chan struct{})}
		go s.renew(context.WithoutCancel(ctx), s.flight, rejected)
	}
	flight := s.flight
	s.mu.Unlock()

	if err := flight.wait(ctx); err != nil {
		return "", err
	}
	if flight.err == nil {
		return flight.token, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// The refresh failed, but the current token may be valid for a while.
	if token, valid := s.valid(now(), rejected); valid && s.ended == nil {
		return token, nil
	}
	return "", flight.err
}

// valid returns the current access token, and reports whether callers may use it.
// s.mu is held.
func (s *TokenSource) valid(at time.Time, rejected string) (string, bool) {
	token := s.tokens.AccessToken
	return token, token != "" && token != rejected && !s.unsaved && at.Before(s.expires)
}

// renew runs the renewal f. It first saves tokens that an earlier renewal could not
// save, and then refreshes them, unless the access token is valid and not due.
func (s *TokenSource) renew(ctx context.Context, f *renewal, rejected string) {
	err := s.save(ctx)
	if err == nil {
		s.mu.Lock()
		at := now()
		_, valid := s.valid(at, rejected)
		due, paused := !valid || !at.Before(s.renewAt), at.Before(s.retryAt)
		if due && paused {
			err = s.lastErr
		}
		s.mu.Unlock()
		if due && !paused {
			err = s.refresh(ctx)
		}
	}
	s.mu.Lock()
	f.token, f.err = s.tokens.AccessToken, err
	if err == nil {
		f.err = s.ended
	}
	s.flight = nil
	s.mu.Unlock()
	close(f.done)
}

// refresh refreshes the tokens and saves the new pair.
func (s *TokenSource) refresh(ctx context.Context) error {
	err := s.exchange(ctx)
	if saveErr := s.save(ctx); err == nil {
		err = saveErr
	}
	return err
}

// exchange refreshes the tokens and keeps the new pair. If the pair belongs to
// another user, exchange revokes it. Only the flight calls exchange.
func (s *TokenSource) exchange(ctx context.Context) error {
	old := s.Tokens().RefreshToken
	grant, err := s.callRefresh(ctx, auth.Tokens{RefreshToken: old})
	tokens := grant.Tokens
	received := now()
	var claims auth.Claims
	var life time.Duration
	if err == nil {
		claims, life, err = s.readToken(tokens.AccessToken, received)
	}

	s.mu.Lock()
	changed := err == nil && s.userID != "" && claims.UserID != s.userID
	// Keep a new refresh token even if there was an error: the old one is used up.
	if tokens.RefreshToken != "" && !changed {
		s.tokens.RefreshToken = tokens.RefreshToken
		s.unsaved = true
	}
	switch {
	case changed:
		err = newError("refresh", CodeUserChanged, auth.ErrInvalidResponse)
		s.end(err)
		if tokens.RefreshToken == "" {
			// The service did not rotate the refresh token, so the current one now belongs
			// to the other user.
			tokens.RefreshToken, s.tokens.RefreshToken = old, ""
		}
	case err == nil:
		s.tokens.AccessToken = tokens.AccessToken
		s.userID = claims.UserID
		s.setExpiry(received.Add(life), life)
		s.unsaved = true
		s.lastErr, s.failures, s.retryAt = nil, 0, time.Time{}
	case errors.Is(err, auth.ErrRefused):
		s.end(err)
	default:
		s.lastErr = err
		s.failures++
		s.retryAt = received.Add(pause(s.failures, err))
	}
	s.mu.Unlock()

	if changed {
		s.revoke(ctx, tokens)
	}
	return err
}

// readToken returns the claims and the life of a new access token. Its error is that of a
// refresh whose access token cannot be used.
func (s *TokenSource) readToken(accessToken string, received time.Time) (auth.Claims, time.Duration, error) {
	claims, err := auth.ParseClaims(accessToken, s.cfg.Claims)
	life := pacing.Life(claims.IssuedAt, claims.ExpiresAt, received)
	if err == nil && life <= 0 {
		err = auth.ErrInvalidToken
	}
	if err != nil {
		err = newError("refresh", CodeNoAccessToken, auth.ErrInvalidResponse, err)
	}
	return claims, life, err
}

// callRefresh calls the service. The call is not canceled with ctx, because the
// tokens in the response would be lost.
func (s *TokenSource) callRefresh(ctx context.Context, tokens auth.Tokens) (grant auth.Grant, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	defer recovered("refresh", &err)
	return s.service.Refresh(ctx, tokens)
}

func (s *TokenSource) callLogout(ctx context.Context, tokens auth.Tokens, all bool) (err error) {
	defer recovered("logout", &err)
	return s.service.Logout(ctx, tokens, all)
}

// recovered sets err if the service has panicked. A panic in a goroutine of the
// source would end the process. Before it panicked, the service may have sent the
// request.
func recovered(op string, err *error) {
	if v := recover(); v != nil {
		*err = newError(op, CodeNoResponse, auth.ErrUnavailable, auth.ErrOutcomeUnknown, panicked(v))
	}
}

// panicked returns the error for a panic. It contains only the type of the value, because
// the value may contain a secret.
func panicked(v any) error { return fmt.Errorf("synmetrix: panic of type %T", v) }

// revoke ends the session of tokens that belong to another user.
func (s *TokenSource) revoke(ctx context.Context, tokens auth.Tokens) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
	defer cancel()
	_ = s.callLogout(ctx, tokens, false) // the caller gets the CodeUserChanged error
}

// end makes all later calls of Token return err. s.mu is held.
func (s *TokenSource) end(err error) {
	if s.ended == nil {
		s.ended = err
	}
}

// pause returns how long to wait after failed refreshes in a row, the last of which
// returned err.
func pause(failures int, err error) time.Duration {
	d := pacing.Spread(pacing.Pause(failures), 0.75, 1)
	var e *auth.Error
	if errors.As(err, &e) {
		retryAfter := e.RetryAfter
		if !errors.Is(err, auth.ErrRateLimited) {
			retryAfter = min(retryAfter, pacing.MaxRetryAfter)
		}
		d = max(d, retryAfter)
	}
	return d
}

// save calls Save with the tokens, unless they are saved already or the source has
// ended. One renewal calls it at a time.
func (s *TokenSource) save(ctx context.Context) error {
	s.mu.Lock()
	tokens, due := s.tokens, s.unsaved && s.ended == nil
	s.mu.Unlock()
	if due && s.cfg.Save != nil {
		if err := s.callSave(ctx, tokens); err != nil {
			return fmt.Errorf("synmetrix: saving tokens: %w", err)
		}
	}
	s.mu.Lock()
	s.unsaved = false
	s.mu.Unlock()
	return nil
}

// callSave calls Save, and returns a panic in it as an error.
func (s *TokenSource) callSave(ctx context.Context, tokens auth.Tokens) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return s.cfg.Save(ctx, tokens)
}

// Tokens returns the current pair of tokens. It does not refresh them.
func (s *TokenSource) Tokens() auth.Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

// Logout ends the source and revokes its refresh token. With all set, it ends every session
// of the user at the service, and refreshes the tokens first if the service does not accept
// the access token. Logout waits for a refresh in progress, so that no new token stays
// valid. Saved tokens are revoked, too.
//
// The error is that of [Client.Logout] or [Client.Refresh], or wraps that of ctx.
// Logout can be called again after an error. If ctx ends during a refresh, the
// refresh continues, and the next call uses its tokens.
func (s *TokenSource) Logout(ctx context.Context, all bool) error {
	s.mu.Lock()
	s.end(newError("token", CodeMissingToken, auth.ErrRefused))
	for s.flight != nil {
		flight := s.flight
		s.mu.Unlock()
		if err := flight.wait(ctx); err != nil {
			return err
		}
		s.mu.Lock()
	}
	if s.revokedAll || s.revoked && !all {
		s.mu.Unlock()
		return nil
	}
	flight := &renewal{done: make(chan struct{})}
	s.flight = flight
	s.mu.Unlock()
	// The flight lasts until a refresh in it has ended, even if ctx ends before.
	go s.logout(ctx, flight, all)
	if err := flight.wait(ctx); err != nil {
		return err
	}
	return flight.err
}

// logout runs the flight f of Logout.
func (s *TokenSource) logout(ctx context.Context, f *renewal, all bool) {
	tokens := s.Tokens()
	err := s.callLogout(ctx, tokens, all)
	if all && errors.Is(err, auth.ErrRefused) && tokens.RefreshToken != "" {
		// The service needs an access token that has not expired.
		if err = s.exchange(ctx); err == nil {
			err = s.callLogout(ctx, s.Tokens(), true)
		}
	}
	s.mu.Lock()
	if err == nil {
		s.tokens = auth.Tokens{}
		s.revoked, s.revokedAll = true, all
	}
	f.err = err
	s.flight = nil
	s.mu.Unlock()
	close(f.done)
}

// Format prints a text without the tokens for every verb.
func (s *TokenSource) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte("synmetrix.TokenSource[redacted]"))
}

// LogValue returns a value without the tokens.
func (s *TokenSource) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON returns a JSON string without the tokens.
func (s *TokenSource) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }
