package keeper

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/seal"
)

// A store in the memory of the process may hold a million sessions, and a cache only some
// thousands. So a request often has a session that is not in the cache. Most requests need
// the roles of the user, and neither the tokens nor the other claims. These stay in the
// encoding of the record until they are needed.

// packed is the part of a Pair that is not decoded.
type packed struct {
	tokens     []byte // the output of Pair.encodeTokens, in the memory of the store's record
	roles      string // the allowed roles: for each, its length in a byte, and its text
	claimsSize int    // about how many bytes the claims take, once they are read

	claims atomic.Pointer[auth.Claims]
}

// packedBytes is the memory of a packed without its texts.
const packedBytes = 64

// packedRecord is a Record with its packed part, which saves an allocation.
type packedRecord struct {
	Record
	packed packed
}

// canPack reports whether the tokens of r can be packed. The claims were read and belong to
// the user, so this need not be checked again. Many roles are decoded at once, because a
// search in the packed roles would take too long.
func (r *Record) canPack() bool {
	c := r.Pair.Claims
	if r.ended != "" || c == nil || c.UserID != r.UserID || len(c.AllowedRoles) >= manyRoles {
		return false
	}
	for _, role := range c.AllowedRoles {
		if len(role) > maxPackedRole {
			return false
		}
	}
	return true
}

// maxPackedRole is the length of the longest role whose length is encoded in one byte.
const maxPackedRole = 0x7f

// encodePacked writes the roles of r and what else a packed has except the tokens. names is
// that of the Keeper.
func (r *Record) encodePacked(e *seal.Encoder, names namesHash) {
	p := r.Pair.packed
	switch {
	case p != nil:
		e.Uint(uint64(names))
		e.Uint(uint64(p.claimsSize))
		e.Text(p.roles)
	case r.canPack():
		c := r.Pair.Claims
		n := 0
		for _, role := range c.AllowedRoles {
			n += 1 + len(role)
		}
		e.Uint(uint64(names))
		e.Uint(uint64(c.Size()))
		e.Uint(uint64(n))
		for _, role := range c.AllowedRoles {
			e.Text(role)
		}
	default:
		e.Uint(0)
	}
}

// decodePacked reads what encodePacked writes. tokens is the output of Pair.encodeTokens,
// which decodePacked decodes unless they can stay packed. Roles that were read by other
// names are ignored.
func (r *packedRecord) decodePacked(d *seal.Decoder, tokens []byte, names namesHash) {
	by := namesHash(d.Count(1<<28 - 1))
	if by != 0 {
		r.packed.claimsSize, r.packed.roles = d.Count(1<<30), d.Text()
	}
	if by == names {
		r.packed.tokens, r.Pair.packed = tokens, &r.packed
		return
	}
	t := seal.NewDecoder(string(tokens))
	if r.Pair.decodeTokens(t); !t.Done() {
		d.Fail()
	}
}

func (p *packed) hasRole(role string) bool {
	for list := p.roles; list != ""; {
		n := 1 + int(list[0])
		if n > len(list) {
			return false // only damaged memory
		}
		if list[1:n] == role {
			return true
		}
		list = list[n:]
	}
	return false
}

func (p *packed) decodeTokens() auth.Tokens {
	var pair Pair
	pair.decodeTokens(seal.NewDecoder(string(p.tokens)))
	return pair.tokens
}

// withTokens returns p with another refresh token.
func (p *packed) withTokens(t auth.Tokens) *packed {
	var e seal.Encoder
	(&Pair{tokens: t}).encodeTokens(&e)
	return &packed{tokens: e.B, roles: p.roles, claimsSize: p.claimsSize}
}

// readClaims returns the claims. It reads them once for all requests that share p.
func (p *packed) readClaims(names auth.ClaimNames) (*auth.Claims, error) {
	if c := p.claims.Load(); c != nil {
		return c, nil
	}
	var pair Pair
	pair.decodeTokens(seal.NewDecoder(string(p.tokens)))
	c, err := pair.parseClaims(names)
	if err != nil {
		return nil, err
	}
	p.claims.Store(&c)
	return &c, nil
}

// namesHash identifies the names by which a Keeper reads claims, because Keepers with other
// names may share a store. It is not 0, and has 28 bits, which an encoding has in four bytes.
type namesHash uint32

func hashOf(names auth.ClaimNames) namesHash {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", names))
	return max(namesHash(binary.BigEndian.Uint32(sum[:])>>4), 1)
}
