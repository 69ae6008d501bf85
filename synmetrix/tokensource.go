package synmetrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/synmetrix/session/auth"
)

// TokenSource keeps the tokens of one user for a program without a browser,
// such as a command or a worker, and renews them when they are due. It is made
// by [NewTokenSource] and safe for concurrent use. It prints, logs and marshals
// without the tokens.
//
// However many goroutines ask for a token at once, one refresh is made. It
// goes on when the caller that began it gives up, since its refresh token is
// used up by then. A refresh token must not be given to two sources, nor to
// two processes.
type TokenSource struct {
	service auth.Service
	cfg     TokenSourceConfig

	mu       sync.Mutex
	tokens   auth.Tokens
	userID   string    // of tokens, empty if they could not be read yet
	renewAt  time.Time // when the access token is due
	expires  time.Time
	unsaved  bool     // Save has not taken tokens yet
	flight   *renewal // under way, or nil
	ended    error    // why there will be no more tokens
	failed   error    // of the last refresh
	failures int      // refreshes in a row that failed
	retryAt  time.Time
}

// TokenSourceConfig are the settings of a [TokenSource]. The zero value keeps
// the tokens in memory alone.
type TokenSourceConfig struct {
	// Save is given each new pair of tokens before any of it is used, so that
	// the program can go on with it when it is started again: the pair before
	// is worthless. While Save fails, no token is handed out, the error is
	// returned, and Save is called again with the next request for a token.
	//
	// It may be given a pair whose access token is expired or empty, where
	// the service answered with a refresh token alone. Calls do not overlap.
	// Save must not call the TokenSource. Default: nothing is saved.
	Save func(ctx context.Context, tokens auth.Tokens) error

	// RefreshBefore is how long before its expiry an access token is renewed,
	// at most half of its life. Default, also for zero and less: a tenth of
	// its life, at most a minute.
	RefreshBefore time.Duration

	// Claims says where access tokens have their claims. The zero value is
	// right for the service's own.
	Claims auth.ClaimNames
}

// renewal is one refresh that any number of callers wait for.
type renewal struct {
	done  chan struct{} // closed when token and err are set
	token string
	err   error
}

// NewTokenSource returns a source that goes on from tokens, as [Client.Login]
// returned them or Save was given them. The access token may be empty or
// expired. It is judged by its exp and the local clock; those that follow by
// their lifetime, from the moment of their receipt.
func NewTokenSource(service auth.Service, tokens auth.Tokens, cfg TokenSourceConfig) *TokenSource {
	s := &TokenSource{service: service, cfg: cfg, tokens: tokens}
	if claims, err := auth.ParseClaims(tokens.AccessToken, cfg.Claims); err == nil {
		s.userID = claims.UserID
		s.setExpiry(claims.ExpiresAt, lifetime(claims, now()))
	}
	return s
}

// now is the wall clock. The monotonic one may stand still while a machine
// sleeps, and a token's life does not.
func now() time.Time { return time.Now().Round(0) }

// lifetime is how long an access token lives that is received at the given
// time.
func lifetime(claims auth.Claims, received time.Time) time.Duration {
	if claims.IssuedAt.IsZero() {
		return claims.ExpiresAt.Sub(received)
	}
	return claims.ExpiresAt.Sub(claims.IssuedAt)
}

func (s *TokenSource) setExpiry(expires time.Time, life time.Duration) {
	before := s.cfg.RefreshBefore
	if before <= 0 {
		before = min(life/10, time.Minute)
	}
	s.expires = expires
	s.renewAt = expires.Add(-min(before, life/2))
}

// Token returns an access token that is good, renewed if that is due.
//
// If a renewal fails, the token at hand is returned for as long as it is good;
// after that the error, which is that of [Client.Refresh] or of Save. Refreshes
// that failed are repeated with growing pauses, 0.25 s to 10 s, or what the
// service asks for. A refusal ends the source: every later call returns it. So
// do tokens of another user, which are given back (CodeUserChanged).
//
// A renewal is waited for until ctx is done, but only by the caller that began
// it, unless there is no good token at hand.
func (s *TokenSource) Token(ctx context.Context) (string, error) {
	return s.token(ctx, "")
}

// Renew is [TokenSource.Token] after an API has not accepted the given access
// token, although it seemed good: it is renewed, unless that has happened
// already.
func (s *TokenSource) Renew(ctx context.Context, rejected string) (string, error) {
	return s.token(ctx, rejected)
}

func (s *TokenSource) token(ctx context.Context, rejected string) (string, error) {
	s.mu.Lock()
	at := now()
	token, good := s.good(at, rejected)
	switch {
	case s.ended != nil:
		defer s.mu.Unlock()
		return "", s.ended
	case good && (at.Before(s.renewAt) || s.flight != nil || at.Before(s.retryAt)):
		s.mu.Unlock()
		return token, nil
	case s.flight == nil && !s.unsaved && at.Before(s.retryAt):
		defer s.mu.Unlock()
		return "", s.failed
	case s.flight == nil:
		s.flight = &renewal{done: make(chan struct{})}
		go s.renew(context.WithoutCancel(ctx), s.flight, rejected)
	}
	flight := s.flight
	s.mu.Unlock()

	select {
	case <-flight.done:
	case <-ctx.Done():
		return "", fmt.Errorf("synmetrix: waiting for a token: %w", ctx.Err())
	}
	if flight.err == nil {
		return flight.token, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if token, good := s.good(now(), rejected); good && s.ended == nil {
		return token, nil
	}
	return "", flight.err
}

// good returns the access token at hand, and whether it may be handed out.
// s.mu is held.
func (s *TokenSource) good(at time.Time, rejected string) (string, bool) {
	token := s.tokens.AccessToken
	return token, token != "" && token != rejected && !s.unsaved && at.Before(s.expires)
}

// renew carries a renewal out: what is not saved yet is saved, and then the
// tokens are refreshed, unless those just saved are good.
func (s *TokenSource) renew(ctx context.Context, f *renewal, rejected string) {
	err := s.save(ctx)
	if err == nil {
		s.mu.Lock()
		at := now()
		_, good := s.good(at, rejected)
		old := s.tokens.RefreshToken
		due, paused := !good || !at.Before(s.renewAt), at.Before(s.retryAt)
		if due && paused {
			err = s.failed
		}
		s.mu.Unlock()
		if due && !paused {
			err = s.refresh(ctx, old)
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

// refresh exchanges the refresh token, and saves the new pair.
func (s *TokenSource) refresh(ctx context.Context, refreshToken string) error {
	grant, err := s.service.Refresh(ctx, auth.Tokens{RefreshToken: refreshToken})
	tokens := grant.Tokens
	received := now()
	var claims auth.Claims
	if err == nil {
		var unreadable error
		if claims, unreadable = auth.ParseClaims(tokens.AccessToken, s.cfg.Claims); unreadable != nil {
			err = newError("refresh", CodeNoAccessToken, auth.ErrInvalidAnswer, unreadable)
		} else if lifetime(claims, received) <= 0 {
			err = newError("refresh", CodeNoAccessToken, auth.ErrInvalidAnswer, auth.ErrInvalidToken)
		}
	}

	s.mu.Lock()
	changed := err == nil && s.userID != "" && claims.UserID != s.userID
	if tokens.RefreshToken != "" && !changed {
		s.tokens.RefreshToken = tokens.RefreshToken
		s.unsaved = true
	}
	switch {
	case changed:
		err = newError("refresh", CodeUserChanged, auth.ErrInvalidAnswer)
		s.end(err)
		if tokens.RefreshToken == "" {
			// Not rotated: the one at hand is the other user's, too.
			tokens.RefreshToken, s.tokens.RefreshToken = refreshToken, ""
		}
	case err == nil:
		life := lifetime(claims, received)
		s.tokens.AccessToken = tokens.AccessToken
		s.userID = claims.UserID
		s.setExpiry(received.Add(life), life)
		s.unsaved = true
		s.failed, s.failures, s.retryAt = nil, 0, time.Time{}
	case errors.Is(err, auth.ErrRefused):
		s.end(err)
	default:
		s.failed = err
		s.retryAt = received.Add(pause(s.failures, err))
		s.failures++
	}
	s.mu.Unlock()

	if changed {
		s.giveBack(ctx, tokens)
	}
	if saveErr := s.save(ctx); err == nil {
		err = saveErr
	}
	return err
}

// giveBack ends the session of tokens that are another user's.
func (s *TokenSource) giveBack(ctx context.Context, tokens auth.Tokens) {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	_ = s.service.Logout(ctx, tokens, false) // what has ended the source says more
}

// end makes err the answer to everything that follows. s.mu is held.
func (s *TokenSource) end(err error) {
	if s.ended == nil {
		s.ended = err
	}
}

// pause is how long to wait after a refresh has failed.
func pause(failures int, err error) time.Duration {
	const first, longest = 250 * time.Millisecond, 10 * time.Second
	d := longest
	if failures < 6 {
		d = min(first<<failures, longest)
	}
	d -= rand.N(d / 4)
	var e *auth.Error
	if errors.As(err, &e) {
		asked := e.RetryAfter
		if !errors.Is(err, auth.ErrRateLimited) {
			asked = min(asked, time.Minute)
		}
		d = max(d, asked)
	}
	return d
}

// save hands the tokens to Save, if that has not had them and the source goes
// on. It is called by one renewal at a time.
func (s *TokenSource) save(ctx context.Context) error {
	s.mu.Lock()
	tokens, due := s.tokens, s.unsaved && s.ended == nil
	s.mu.Unlock()
	if due && s.cfg.Save != nil {
		if err := s.cfg.Save(ctx, tokens); err != nil {
			return fmt.Errorf("synmetrix: saving tokens: %w", err)
		}
	}
	s.mu.Lock()
	s.unsaved = false
	s.mu.Unlock()
	return nil
}

// Tokens returns the pair at hand.
func (s *TokenSource) Tokens() auth.Tokens {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokens
}

// Logout ends the source and gives its tokens back; with all set, every session
// of the user is ended at the service. A renewal under way is waited for first,
// so that no new token outlives it. What was saved is worthless afterwards.
//
// After an error, which is that of [Client.Logout], it can be called again.
func (s *TokenSource) Logout(ctx context.Context, all bool) error {
	s.mu.Lock()
	s.end(newError("token", CodeMissingToken, auth.ErrRefused))
	flight := s.flight
	s.mu.Unlock()
	if flight != nil {
		select {
		case <-flight.done:
		case <-ctx.Done():
			return fmt.Errorf("synmetrix: waiting for a renewal: %w", ctx.Err())
		}
	}
	tokens := s.Tokens()
	err := s.service.Logout(ctx, tokens, all)
	if all && errors.Is(err, auth.ErrRefused) && tokens.RefreshToken != "" {
		// The service needs an access token that has not expired.
		var grant auth.Grant
		if grant, err = s.service.Refresh(ctx, tokens); grant.RefreshToken != "" {
			s.setTokens(grant.Tokens)
		}
		if err == nil {
			err = s.service.Logout(ctx, grant.Tokens, true)
		}
	}
	if err != nil {
		return err
	}
	s.setTokens(auth.Tokens{})
	return nil
}

func (s *TokenSource) setTokens(t auth.Tokens) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = t
}

// String returns a text without the tokens.
func (s *TokenSource) String() string { return "synmetrix.TokenSource[redacted]" }

// GoString returns a text without the tokens.
func (s *TokenSource) GoString() string { return s.String() }

// Format keeps the tokens out of every fmt verb.
func (s *TokenSource) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue returns a value without the tokens.
func (s *TokenSource) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalJSON returns a JSON string without the tokens.
func (s *TokenSource) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }
