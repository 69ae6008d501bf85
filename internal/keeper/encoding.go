package keeper

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/seal"
)

// This file has the encodings of a record and of its parts: in the store, in cookies, and in
// the memory of the process.

// Encode writes s.
func (s SignIn) Encode(e *seal.Encoder) {
	e.Token(s.UserID)
	e.Time(s.Created)
	e.Uint(s.Ends)
	e.Duration(s.Earlier)
	e.Duration(s.Lifetime)
	e.Bool(s.Transient)
	e.Bool(s.Actor != nil)
	if s.Actor != nil {
		e.Token(s.Actor.UserID)
		encodeKey(e, s.Actor.Key)
	}
}

// DecodeSignIn reads the output of [SignIn.Encode].
func DecodeSignIn(d *seal.Decoder) SignIn {
	s := SignIn{
		UserID: d.Token(), Created: d.Time(), Ends: d.Uint(),
		Earlier: d.Duration(), Lifetime: d.Duration(), Transient: d.Bool(),
	}
	if d.Bool() {
		s.Actor = &Actor{UserID: d.Token(), Key: decodeKey(d)}
	}
	return s
}

// The formats of a stored record: of a session or a mark with tokens, of a mark without
// tokens, and of the first two in the memory of the process.
const (
	recordFormat = 2
	markFormat   = 3
	memoryFormat = 4
)

// MaxValues limits the number of values of a session.
const MaxValues = 10_000

// encode returns the encoding of r. It has the key instead of the ID, which must not
// be in the store. The key shows which session the record belongs to.
//
// A mark without tokens is as short as possible: the coordinator keeps one for each
// sign-out of a whole Lifetime. It has no key. If the mark is sealed, the seal is bound
// to the key.
func (r *Record) encode() []byte {
	if r.isShortMark() {
		return r.encodeMark()
	}
	e := seal.Encoder{B: make([]byte, 0, 512)}
	e.Uint(recordFormat) // first, so that a decoder can reject other formats
	e.Text(r.Key)
	r.Device.encode(&e) // also in Meta, which only a list of sessions opens
	r.encodeState(&e)
	return e.B
}

// encodeForMemory returns the encoding of r for a store in the memory of the process. It
// uses little memory. Such a store cannot mix up records, so the encoding has no key. It
// has the device: without a seal, a list of sessions can read Data. names is that of the
// Keeper.
func (r *Record) encodeForMemory(names namesHash) []byte {
	if r.isShortMark() {
		return r.encodeMark()
	}
	e := seal.NewEncoder()
	defer e.Free()
	r.Device.encode(e)
	r.SignIn.Encode(e)
	r.Pair.encodeTimes(e)
	r.Pair.encodeUser(e)
	r.encodeRefresh(e)
	r.encodePacked(e, names)
	// Most requests read no tokens, and a list of sessions no values, so these are last. The
	// sizes of both come first.
	tokens := len(e.B)
	r.Pair.encodeTokens(e)
	values := len(e.B)
	EncodeValues(e, r.Values)
	sizes := [1 + 2*binary.MaxVarintLen64]byte{memoryFormat}
	start := binary.AppendUvarint(binary.AppendUvarint(sizes[:1], uint64(values-tokens)), uint64(len(e.B)-values))
	return slices.Concat(start, e.B)
}

// split returns the parts of what encodeForMemory writes after the format.
func split(b []byte) (head, tokens, values []byte, err error) {
	sizes := seal.NewDecoder(b[:min(len(b), 2*binary.MaxVarintLen64)])
	nTokens, nValues := sizes.Uint(), sizes.Uint()
	rest := uint64(len(b) - uintSize(nTokens) - uintSize(nValues))
	if sizes.Bad() || nTokens > rest || nValues > rest-nTokens {
		return nil, nil, nil, errBadEncoding
	}
	b = b[uint64(len(b))-rest:]
	head, b = b[:rest-nTokens-nValues], b[rest-nTokens-nValues:]
	return head, b[:nTokens], b[nTokens:], nil
}

// isShortMark reports whether r is a mark without tokens.
func (r *Record) isShortMark() bool { return r.ended != "" && r.Pair.Tokens() == (auth.Tokens{}) }

func (r *Record) encodeMark() []byte {
	e := seal.Encoder{B: make([]byte, 0, 2)}
	e.Uint(markFormat)
	e.Uint(uint64(slices.Index(reasons, r.ended)))
	return e.B
}

// encodeState writes all of r except the key and the device.
func (r *Record) encodeState(e *seal.Encoder) {
	r.SignIn.Encode(e)
	r.Pair.Encode(e)
	r.encodeRefresh(e)
	EncodeValues(e, r.Values)
}

// encodeRefresh writes the state of the refresh and of the end, and the time of the last
// use.
func (r *Record) encodeRefresh(e *seal.Encoder) {
	e.Uint(r.lease.nonce)
	e.Uint(r.lease.beat)
	e.Bool(r.lease.claim)
	e.Uint(uint64(r.unknown))
	e.Uint(uint64(r.failures))
	e.Time(r.retryAt)
	e.Bool(r.shown)
	e.Text(string(r.ended)) // the reason of a mark that has tokens
	e.Bool(r.all)
	e.Time(r.LastSeen)
}

var errBadEncoding = errors.New("not a session's encoding")

// decodeRecord decodes the record of the session with this ID and key. It accepts
// exactly what encode writes.
func decodeRecord(b string, id ID, key string) (*Record, error) {
	// After the first error the decoder returns zero values, and Done reports the error.
	d := seal.NewDecoder(b)
	r := &Record{ID: id, Key: key}
	switch d.Uint() {
	case recordFormat:
		// The seal already binds a record to its key.
		if d.Text() != key {
			return nil, errors.New("the record of another session")
		}
		r.Device = decodeDevice(d)
		return r.decodeState(d)
	case markFormat:
		return r.decodeMark(d)
	}
	return nil, errBadEncoding
}

// decodeFromMemory is decodeRecord for what encodeForMemory writes.
func decodeFromMemory(b []byte, id ID, key string, names namesHash) (*Record, error) {
	return decodeMemory(b, id, key, names, true)
}

// describeFromMemory is decodeFromMemory without the values, which may be large, and
// without the ID.
func describeFromMemory(b []byte, key string, names namesHash) (*Record, error) {
	return decodeMemory(b, ID{}, key, names, false)
}

func decodeMemory(b []byte, id ID, key string, names namesHash, withValues bool) (*Record, error) {
	r := &packedRecord{Record: Record{ID: id, Key: key}}
	if len(b) == 0 || b[0] != memoryFormat {
		d := seal.NewDecoder(string(b))
		if d.Uint() != markFormat {
			return nil, errBadEncoding
		}
		return r.decodeMark(d)
	}
	head, tokens, values, err := split(b[1:])
	if err != nil {
		return nil, err
	}
	d := seal.NewDecoder(string(head))
	r.Device = decodeDevice(d)
	r.SignIn = DecodeSignIn(d)
	r.Visitor = r.UserID == ""
	r.Pair.decodeTimes(d)
	r.Pair.decodeUser(d)
	r.decodeRefresh(d)
	r.decodePacked(d, tokens, names)
	if withValues {
		v := seal.NewDecoder(string(values))
		if r.Values = DecodeValues(v); !v.Done() {
			return nil, errBadEncoding
		}
	}
	return r.decoded(d)
}

// decodeMark reads the rest of what encodeMark writes.
func (r *Record) decodeMark(d *seal.Decoder) (*Record, error) {
	why := d.Count(uint64(len(reasons) - 1))
	if !d.Done() {
		return nil, errBadEncoding
	}
	r.ended = reasons[why]
	return r, nil
}

// decodeState reads what encodeState writes.
func (r *Record) decodeState(d *seal.Decoder) (*Record, error) {
	r.SignIn = DecodeSignIn(d)
	r.Visitor = r.UserID == ""
	r.Pair = DecodePair(d)
	r.decodeRefresh(d)
	r.Values = DecodeValues(d)
	return r.decoded(d)
}

// decodeRefresh reads what encodeRefresh writes.
func (r *Record) decodeRefresh(d *seal.Decoder) {
	r.lease = lease{nonce: d.Uint(), beat: d.Uint(), claim: d.Bool()}
	r.unknown = sender(d.Uint())
	r.failures = d.Count(1 << 30)
	r.retryAt = d.Time()
	r.shown = d.Bool()
	r.ended = Reason(d.Text())
	r.all = d.Bool()
	r.LastSeen = d.Time()
}

// decoded returns r if d has accepted the whole input.
func (r *Record) decoded(d *seal.Decoder) (*Record, error) {
	if !d.Done() || r.ended != "" && (!slices.Contains(reasons, r.ended) || r.isShortMark()) {
		return nil, errBadEncoding // a mark without tokens has a shorter form
	}
	return r, nil
}

// Encode writes p without its claims, which can be read from the access token.
func (p Pair) Encode(e *seal.Encoder) {
	p.encodeTimes(e)
	p.encodeTokens(e)
	p.encodeUser(e)
}

// DecodePair reads the output of [Pair.Encode].
func DecodePair(d *seal.Decoder) Pair {
	var p Pair
	p.decodeTimes(d)
	p.decodeTokens(d)
	p.decodeUser(d)
	return p
}

func (p *Pair) encodeTimes(e *seal.Encoder) {
	e.Uint(p.Gen)
	e.Time(p.Expires)
	e.Duration(p.Life)
	e.Bool(p.Forced)
	e.Uint(p.Roles)
}

func (p *Pair) decodeTimes(d *seal.Decoder) {
	p.Gen = d.Uint()
	p.Expires = d.Time()
	p.Life = d.Duration()
	p.Forced = d.Bool()
	p.Roles = d.Uint()
}

func (p *Pair) encodeTokens(e *seal.Encoder) {
	if p.packed != nil {
		e.B = append(e.B, p.packed.tokens...)
		return
	}
	e.Token(p.tokens.AccessToken)
	e.Token(p.tokens.RefreshToken)
}

func (p *Pair) decodeTokens(d *seal.Decoder) {
	p.tokens.AccessToken, p.payload = d.JWT()
	p.tokens.RefreshToken = d.Token()
}

func (p *Pair) encodeUser(e *seal.Encoder) {
	e.Bool(p.User != nil)
	if p.User != nil {
		e.Text(p.User.Email)
		e.Text(p.User.Name)
		e.Text(p.User.Picture)
	}
}

func (p *Pair) decodeUser(d *seal.Decoder) {
	if d.Bool() {
		p.User = &auth.User{Email: d.Text(), Name: d.Text(), Picture: d.Text()}
	}
}

// EncodeValues writes values in the order of their names, so that equal values
// have equal encodings.
func EncodeValues(e *seal.Encoder, values map[string][]byte) {
	e.Uint(uint64(len(values)))
	if len(values) == 0 {
		return // sorting would allocate
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		e.Text(name)
		e.Bytes(values[name])
	}
}

// DecodeValues reads the output of EncodeValues.
func DecodeValues(d *seal.Decoder) map[string][]byte {
	n := d.Count(MaxValues)
	if n == 0 || d.Bad() {
		return nil
	}
	// The map is not allocated for the count, which may be wrong.
	values := map[string][]byte{}
	last := ""
	for i := 0; i < n && !d.Bad(); i++ {
		name := d.Text()
		// Another order, or a name twice, would be a second encoding of the values.
		if i > 0 && name <= last {
			d.Fail()
		}
		last = name
		values[name] = d.Bytes()
	}
	return values
}

// ValuesSize returns the length of the output of EncodeValues.
func ValuesSize(values map[string][]byte) int {
	n := uintSize(uint64(len(values)))
	for name, v := range values {
		n += uintSize(uint64(len(name))) + len(name) + uintSize(uint64(len(v))) + len(v)
	}
	return n
}

// uintSize returns the length of the output of [seal.Encoder.Uint] for v.
func uintSize(v uint64) int {
	var b [binary.MaxVarintLen64]byte
	return binary.PutUvarint(b[:], v)
}
