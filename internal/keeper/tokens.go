package keeper

import (
	"errors"
	"fmt"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/pacing"
)

// Claims returns the claims of a session's access token. The error is
// [auth.ErrInvalidToken]. Claims does not check a signature: the token came from the
// auth service over its own connection, and the seal has protected it since.
func (k *Keeper) Claims(r *Record) (*auth.Claims, error) {
	if r.Pair.Claims != nil {
		return r.Pair.Claims, nil
	}
	c, err := auth.ParseClaims(r.Pair.Tokens.AccessToken, k.cfg.Claims)
	// settle rejects new tokens of another user. This check is also for tokens that were
	// read from a cookie or a record.
	if err == nil && c.UserID != r.UserID {
		// A session never changes its user.
		err = fmt.Errorf("session: %w: it belongs to another user", auth.ErrInvalidToken)
	}
	return &c, err
}

// ReadClaims sets the claims of a record that was just decoded, so that requests
// that share the record do not parse the token again. If the claims cannot be
// read, they stay nil. [Keeper.Claims] returns the reason.
func (k *Keeper) ReadClaims(r *Record) {
	if c, err := k.Claims(r); err == nil {
		r.Pair.Claims = c
	}
}

// NewPair checks tokens that the service has just issued in exchange for old, and
// returns them with their life. The caller sets the generation.
func (k *Keeper) NewPair(t, old auth.Tokens) (Pair, error) {
	claims, err := auth.ParseClaims(t.AccessToken, k.cfg.Claims)
	if err != nil {
		return Pair{}, err
	}
	now := k.now()
	// The life counts from the receipt, because the service's clock may be wrong.
	life := pacing.Life(claims.IssuedAt, claims.ExpiresAt, now)
	if life <= 0 {
		return Pair{}, errors.New("the access token expires no later than it was issued")
	}
	if t.RefreshToken == "" {
		// A service that does not rotate refresh tokens returns none.
		t.RefreshToken = old.RefreshToken
	}
	return Pair{Tokens: t, Expires: now.Add(life), Life: life, Claims: &claims}, nil
}

// maxEmail is the length of the longest e-mail address that a session keeps, in bytes.
// No valid address is longer (RFC 5321, section 4.5.3.1).
const maxEmail = 320

// Email returns the e-mail address of u, and "" for one that is too long.
func Email(u auth.User) string {
	if len(u.Email) > maxEmail {
		return ""
	}
	return u.Email
}
