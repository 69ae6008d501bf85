package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/jwks"
	"github.com/synmetrix/session/auth/verify"
)

// verification has the settings for the signatures of access tokens. At most one field is
// set. If none is set, bearer tokens are rejected.
type verification struct {
	key        []byte     // JWT_KEY
	jwks       *jwks.Keys // JWKS_URL
	publicFile string     // JWT_PUBLIC_KEY_FILE
}

// verification parses the three settings.
func (p *parser) verification() verification {
	var v verification
	var set []string
	for _, name := range []string{"JWT_KEY", "JWKS_URL", "JWT_PUBLIC_KEY_FILE"} {
		if p.get(name) != "" {
			set = append(set, name)
		}
	}
	if len(set) > 1 {
		p.fail(set[0], "and "+set[1]+" exclude each other: set one of JWT_KEY, JWKS_URL and JWT_PUBLIC_KEY_FILE")
	}
	if key := p.get("JWT_KEY"); key != "" {
		v.key = []byte(key)
		if _, err := verify.New(v.config()); err != nil {
			_, why, _ := strings.Cut(err.Error(), "secret 1 ")
			p.fail("JWT_KEY", "must be a shared secret of 32 bytes or more: it "+why)
		}
	}
	if address := p.get("JWKS_URL"); address != "" {
		var err error
		if v.jwks, err = jwks.New(jwks.Config{URL: address}); err != nil {
			p.fail("JWKS_URL", "must be an http or https address without a user or a fragment")
		}
	}
	v.publicFile = p.get("JWT_PUBLIC_KEY_FILE")
	return v
}

// config returns the settings for package verify, without the keys of a file.
func (v verification) config() verify.Config {
	switch {
	case v.key != nil:
		return verify.Config{Secrets: [][]byte{v.key}}
	case v.jwks != nil:
		return verify.Config{Source: v.jwks}
	}
	return verify.Config{}
}

// errKeyFile means that the file is not a usable setting.
var errKeyFile = errors.New("JWT_PUBLIC_KEY_FILE must be a file with public keys or certificates in PEM")

// maxKeyFile bounds the file that is read, in bytes.
const maxKeyFile = 1 << 20

// verifier returns the verifier, nil if there is none.
func (v verification) verifier() (auth.Verifier, error) {
	cfg := v.config()
	if v.publicFile != "" {
		f, err := os.Open(v.publicFile)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if cfg.PublicKeys, err = io.ReadAll(io.LimitReader(f, maxKeyFile+1)); err != nil {
			return nil, err
		}
	} else if v.key == nil && v.jwks == nil {
		return nil, nil
	}
	verifier, err := verify.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", errKeyFile, strings.TrimPrefix(err.Error(), "verify: Config.PublicKeys is invalid: "))
	}
	return verifier, nil
}
