package keeper

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/guard"
	"github.com/synmetrix/session/internal/pacing"
)

// Claims returns the claims of a session's access token. The error is
// [auth.ErrInvalidToken]. Claims does not check a signature: the auth service has sent the
// token over its own connection, the verifier, if any, has checked it, and the seal has
// protected it since.
func (k *Keeper) Claims(r *Record) (*auth.Claims, error) {
	if r.Pair.Claims != nil {
		return r.Pair.Claims, nil
	}
	if p := r.Pair.packed; p != nil {
		return p.readClaims(k.cfg.Claims)
	}
	c, err := r.Pair.parseClaims(k.cfg.Claims)
	// settle rejects new tokens of another user. This check is for tokens that were read
	// from a cookie or a record.
	if err == nil && c.UserID != r.UserID {
		// A session never changes its user.
		err = fmt.Errorf("session: %w: it belongs to another user", auth.ErrInvalidToken)
	}
	return &c, err
}

// CheckClaims returns the error of [Keeper.Claims].
func (k *Keeper) CheckClaims(r *Record) error {
	if r.Pair.packed != nil {
		return nil // see canPack
	}
	_, err := k.Claims(r)
	return err
}

// parseClaims reads the claims of the access token.
func (p *Pair) parseClaims(names auth.ClaimNames) (auth.Claims, error) {
	if p.payload != "" {
		return auth.ParsePayload(p.payload, names)
	}
	return auth.ParseClaims(p.Tokens().AccessToken, names)
}

// ReadClaims sets the claims of a record that was just decoded, so that requests
// that share the record do not parse the token again. If the claims cannot be
// read, they stay nil. [Keeper.Claims] returns the reason.
func (k *Keeper) ReadClaims(r *Record) {
	if r.Pair.packed != nil {
		return
	}
	c, err := k.Claims(r)
	r.Pair.payload = ""
	if err == nil {
		r.Pair.SetClaims(c)
	}
}

// Verify checks with Config.Verifier that the service has signed an access token. The error
// is [auth.ErrInvalidToken] if it has not, and [auth.ErrUnavailable] if the Verifier cannot
// determine it. The caller must not hold a lock.
func (k *Keeper) Verify(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.AuthTimeout)
	defer cancel()
	err := guard.Verifier{Verifier: k.cfg.Verifier, Log: k.cfg.Log}.Verify(ctx, token)
	if err == nil || errors.Is(err, auth.ErrInvalidToken) {
		return err
	}
	return fmt.Errorf("%w: the token cannot be verified: %w", auth.ErrUnavailable, err)
}

// NewPair checks tokens that the service has just issued in exchange for old, and
// returns them with their life. The caller sets the generation. The error is
// [auth.ErrUnavailable] if the tokens cannot be verified now.
func (k *Keeper) NewPair(ctx context.Context, t, old auth.Tokens) (Pair, error) {
	if k.cfg.Verifier != nil {
		if err := k.Verify(ctx, t.AccessToken); err != nil {
			return Pair{}, err
		}
	}
	return k.newPair(t, old)
}

// newPair is NewPair without a check of the signature.
func (k *Keeper) newPair(t, old auth.Tokens) (Pair, error) {
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
	p := Pair{tokens: t, Expires: now.Add(life), Life: life}
	p.SetClaims(&claims)
	return p, nil
}

// The maximum lengths of a user's data in a session, in bytes. Longer texts are left out.
// No valid e-mail address is longer (RFC 5321, section 4.5.3.1).
const (
	maxEmail   = 320
	maxName    = 256
	maxPicture = 512
)

// emailOf returns the claim "email" of c, "" if there is none.
func emailOf(c *auth.Claims) (email string) {
	_, _ = c.Get("email", &email)
	return email
}

// NewUser returns the data of the user u for a session: the address, the name and the
// picture. If u has no address, the address is the claim "email" of c. Empty fields are
// copied from before, which may be nil. NewUser returns nil if all fields are empty.
func NewUser(u auth.User, c *auth.Claims, before *auth.User) *auth.User {
	if u.Email == "" {
		u.Email = emailOf(c)
	}
	if before == nil {
		before = &auth.User{}
	}
	limit := func(text string, n int) string {
		if len(text) > n {
			return ""
		}
		return text
	}
	known := auth.User{
		Email:   cmp.Or(limit(u.Email, maxEmail), before.Email),
		Name:    cmp.Or(limit(u.Name, maxName), before.Name),
		Picture: cmp.Or(limit(u.Picture, maxPicture), before.Picture),
	}
	if known == (auth.User{}) {
		return nil
	}
	return &known
}
