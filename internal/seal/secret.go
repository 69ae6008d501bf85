package seal

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
)

// Secret holds the keys that are derived from one configured secret. Each use has
// its own key.
type Secret struct {
	// Cookies seals cookies.
	Cookies Sealer

	// Meta seals what a list of a user's sessions shows of a record. The record itself
	// opens only with its session ID, which the list does not have.
	Meta Sealer
	// Users seals the marks of users.
	Users Sealer

	owner  macKey // for Owner
	digest macKey // for Digest
	user   macKey // for User
	record macKey // for Records
}

// NewSecret derives the keys of a secret of at least 32 bytes.
func NewSecret(key string) Secret {
	root := extract([]byte(key), nil)
	sealer := func(use string) Sealer {
		return newSealer(macKeyForManyUses(expand(root, use+" hash")), expand(root, use+" block"))
	}
	hash := func(use string) macKey { return macKeyForManyUses(expand(root, use)) }
	return Secret{
		Cookies: sealer("cookie"), Meta: sealer("meta"), Users: sealer("user"),
		owner: hash("owner"), digest: hash("digest"), user: hash("user"),
		record: hash("record"),
	}
}

// Records returns the sealer for the record of one session. The sealer depends on the
// session ID, which only the browser's cookie has. So a dump of the store cannot be
// opened with the configured secret alone.
func (s Secret) Records(id []byte) Sealer {
	var keys [2 * sha256.Size]byte
	s.record.expand(keys[:0], "record ", id)
	return newSealer(macKey{key: keys[:sha256.Size]}, keys[sha256.Size:])
}

// expand appends two keys to dst. It is the second step of HKDF, like the function expand,
// for a prepared key and a use with an ID. Preparing the key would take most of the time.
func (k macKey) expand(dst []byte, use string, id []byte) []byte {
	c := scratches.Get().(*scratch)
	defer c.free()
	c.body = append(append(append(c.body[:0], info...), use...), id...)
	for i := range byte(2) {
		// Each block of keys is the MAC of the previous block, the use, and a counter.
		c.text = append(append(append(c.text[:0], c.sum[:int(i)*len(c.sum)]...), c.body...), i+1)
		dst = append(dst, k.mac(c.sum[:0], c.text)...)
	}
	return dst
}

// Owner returns the name under which a store lists the records of a user. It is a
// keyed hash of 128 bits, so the store does not reveal who its sessions belong to.
func (s Secret) Owner(userID string) string { return s.owner.hexOf(userID, 16) }

// User returns the key of the record with the mark of a user. It is another hash than
// Owner.
func (s Secret) User(userID string) string { return s.user.hexOf(userID, sha256.Size) }

// Counter returns the key of the record that counts what has these parts, such as a kind
// of attempts and an address.
func (s Secret) Counter(parts ...string) string {
	c := scratches.Get().(*scratch)
	defer c.free()
	c.text = append(c.text[:0], "count\x00"...)
	for _, part := range parts {
		// The length comes first, so different parts never give the same text.
		c.text = append(binary.AppendUvarint(c.text, uint64(len(part))), part...)
	}
	sum := s.digest.mac(c.sum[:0], c.text)
	c.body = hex.AppendEncode(append(c.body[:0], "count-"...), sum[:digestSize])
	return string(c.body)
}

// hexOf returns the first n bytes of the MAC of text, in hexadecimal.
func (k macKey) hexOf(text string, n int) string {
	c := scratches.Get().(*scratch)
	defer c.free()
	c.text = append(c.text[:0], text...)
	c.body = hex.AppendEncode(c.body[:0], k.mac(c.sum[:0], c.text)[:n])
	return string(c.body)
}

const digestSize = 16

// Digest returns a keyed hash of a text, of 16 bytes. The purpose is part of the hash.
// Without the secret the text cannot be guessed.
func (s Secret) Digest(purpose, text string) string {
	c := scratches.Get().(*scratch)
	defer c.free()
	c.text = append(append(append(c.text[:0], purpose...), 0), text...)
	return string(s.digest.mac(c.sum[:0], c.text)[:digestSize])
}

// The keys for each use are derived with HKDF and SHA-256 (RFC 5869). extract is its first
// step, expand the second.
func extract(secret, salt []byte) []byte {
	root, err := hkdf.Extract(sha256.New, secret, salt)
	if err != nil {
		// HKDF fails only for a short secret in FIPS mode. The configured secrets were
		// checked before.
		panic("session: hkdf: " + err.Error())
	}
	return root
}

// info is the beginning of the info of HKDF, which is followed by the use of the key.
const info = "synmetrix/session " + formatVersion + " "

// expand returns the key for one use.
func expand(root []byte, use string) []byte {
	key, err := hkdf.Expand(sha256.New, root, info+use, sha256.Size)
	if err != nil {
		panic("session: hkdf: " + err.Error()) // see extract
	}
	return key
}
