package keeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/synmetrix/session/auth"
)

// Claims returns the claims of a session's access token. The error is
// [auth.ErrInvalidToken].
func (k *Keeper) Claims(r *Record) (*auth.Claims, error) {
	if r.Pair.Claims != nil {
		return r.Pair.Claims, nil
	}
	c, err := auth.ParseClaims(r.Pair.Tokens.AccessToken, k.cfg.Claims)
	if err == nil && c.UserID != r.UserID {
		err = fmt.Errorf("session: %w: it is another user's", auth.ErrInvalidToken)
	}
	return &c, err
}

// ReadClaims sets the claims of a record that has just been decoded. Claims that
// cannot be read stay nil; the method Claims returns why.
func (k *Keeper) ReadClaims(r *Record) {
	if c, err := k.Claims(r); err == nil {
		r.Pair.Claims = c
	}
}

// NewPair judges tokens that the service has just issued. old are those that
// they replace.
func (k *Keeper) NewPair(t, old auth.Tokens) (Pair, error) {
	claims, err := auth.ParseClaims(t.AccessToken, k.cfg.Claims)
	if err != nil {
		return Pair{}, err
	}
	now := k.now()
	life := claims.ExpiresAt.Sub(now)
	if !claims.IssuedAt.IsZero() {
		// The service's clock may be off: the life of the token counts from when
		// it was received.
		life = claims.ExpiresAt.Sub(claims.IssuedAt)
	}
	if life <= 0 {
		return Pair{}, errors.New("the access token has expired at issue")
	}
	if t.RefreshToken == "" {
		t.RefreshToken = old.RefreshToken
	}
	return Pair{Tokens: t, Expires: now.Add(life), Life: life, Claims: &claims}, nil
}

// callContext is for one call of the auth service. It is not canceled with the
// request: the service would carry it out all the same, and the tokens in its
// response would be lost.
func (k *Keeper) callContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), k.cfg.AuthTimeout)
}
