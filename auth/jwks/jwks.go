// Package jwks fetches the public keys of an auth service from the address of its JWKS (RFC
// 7517), for package auth/verify. It is a separate module, so that other programs do not
// need its dependency.
//
//	keys, err := jwks.New(jwks.Config{URL: "https://auth.example.org/auth/jwks"})
//	verifier, err := verify.New(verify.Config{Source: keys})
package jwks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/synmetrix/session/auth/verify"
)

// Config configures [Keys]. URL is required.
type Config struct {
	// URL is the http or https address of the JWKS. Required. With http, an attacker on the
	// network path can replace the keys.
	URL string

	// Client fetches the JWKS. Its CheckRedirect is ignored, and redirects are not
	// followed. Default (nil): a client with http.DefaultTransport.
	Client *http.Client

	// Timeout bounds a fetch. Default (0): 5 s.
	Timeout time.Duration

	// MaxAge is the age at which the keys are fetched again. A key that was removed from
	// the JWKS is rejected after once to twice that time. Keys are only fetched when a
	// token is verified. Default (0): 5 min.
	MaxAge time.Duration

	// MaxStale is how old the keys may become if they cannot be fetched again. After that,
	// no token can be verified until a fetch succeeds. Default (0): 24 h, or MaxAge if that
	// is longer.
	MaxStale time.Duration
}

// cooldown is the pause after a fetch that failed or did not find its key ID. Any client
// can send any key ID, so without the pause a client could cause any number of fetches.
const cooldown = 5 * time.Second

// Keys are the keys of a JWKS. They are fetched at the first use, and again when they are
// old or a token has an unknown key ID. Concurrent uses share a fetch. After a fetch that
// failed, or that did not find its key ID, there is no fetch for 5 s. Make one with [New].
// Keys is a [verify.KeySource], and safe for concurrent use.
//
// A successful fetch replaces all keys. A fetch fails if the response is not a JWKS with at
// least one usable key, or has more than 1 MiB or 100 keys. The old keys then stay in use
// until Config.MaxStale. Keys that are weak, private, symmetric, of an unknown kind, or not
// for signatures are ignored.
//
// Tokens without a key ID are tried with the first 16 keys that fit their algorithm. They
// cause no early fetch. After a change of the keys they are therefore rejected for up to
// MaxAge.
type Keys struct {
	cfg    Config
	client *http.Client

	mu        sync.Mutex // never held during a fetch
	set       *set       // nil: none was fetched yet
	flight    *flight    // nil: no fetch is under way
	err       error      // of the last fetch
	failedAt  time.Time  // of the last fetch, if it has failed
	missingAt time.Time  // when the last fetch that did not find its key ID was made
}

// New returns the keys of a JWKS. Its error names the field of cfg that is invalid. New does
// not fetch the keys: a program can start while the auth service is down.
func New(cfg Config) (*Keys, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "":
		return nil, errors.New("jwks: Config.URL must be an http or https address without a user or a fragment")
	case cfg.Timeout < 0 || cfg.MaxAge < 0 || cfg.MaxStale < 0:
		return nil, errors.New("jwks: Config has a negative duration")
	}
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	cfg.MaxAge = cmp.Or(cfg.MaxAge, 5*time.Minute)
	cfg.MaxStale = cmp.Or(cfg.MaxStale, max(24*time.Hour, cfg.MaxAge))
	if cfg.MaxStale < cfg.MaxAge {
		return nil, errors.New("jwks: Config.MaxStale is shorter than MaxAge")
	}
	client := http.Client{}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Keys{cfg: cfg, client: &client}, nil
}

// Keys implements [verify.KeySource]. It waits for a fetch if it does not know the key, or
// if the keys are older than twice MaxAge.
func (k *Keys) Keys(ctx context.Context, kid string) ([]verify.Key, error) {
	for waited := false; ; waited = true {
		keys, f, err := k.find(kid, waited)
		if f == nil {
			return keys, err
		}
		select {
		case <-f.landed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// find returns the keys with a key ID, or the fetch to wait for. waited is true if the
// caller has waited for a fetch.
func (k *Keys) find(kid string, waited bool) ([]verify.Key, *flight, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	failed := !k.failedAt.IsZero()
	resting := failed && now.Sub(k.failedAt) < cooldown
	if k.set != nil && now.Sub(k.set.at) < k.cfg.MaxStale {
		age, keys := now.Sub(k.set.at), k.set.find(kid)
		switch {
		case len(keys) > 0 && (age < k.cfg.MaxAge || resting):
			return keys, nil, nil
		case len(keys) > 0:
			f := k.fetchLocked("")
			// A failure is only a reason to use old keys if it is recent: the key may have
			// been withdrawn since.
			if age < 2*k.cfg.MaxAge || waited || failed && now.Sub(k.failedAt) < k.cfg.MaxAge {
				return keys, nil, nil // the next request may have newer ones
			}
			return nil, f, nil
		case !resting && !k.missingAt.IsZero() && now.Sub(k.missingAt) < cooldown:
			return nil, nil, nil
		}
	}
	if resting || waited && failed {
		// The key may be in the JWKS that could not be fetched.
		return nil, nil, fmt.Errorf("jwks: %w", k.err)
	}
	return nil, k.fetchLocked(kid), nil
}

// flight is a fetch that is under way.
type flight struct {
	kid    string // for which it was started; empty: for none
	landed chan struct{}
}

// fetchLocked returns the fetch that is under way, and starts one if there is none. k.mu is
// held.
func (k *Keys) fetchLocked(kid string) *flight {
	if k.flight == nil {
		k.flight = &flight{kid, make(chan struct{})}
		// The fetch does not have the context of the request, because other requests wait
		// for it, too.
		go k.fly(k.flight)
	}
	return k.flight
}

// fly makes a fetch.
func (k *Keys) fly(f *flight) {
	fetched, err := k.fetch()
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	k.flight, k.err, k.failedAt = nil, err, time.Time{}
	if err != nil {
		k.failedAt = now
	} else {
		fetched.at = now
		k.set = fetched
		if f.kid != "" && len(fetched.find(f.kid)) == 0 {
			k.missingAt = now
		}
	}
	close(f.landed)
}
