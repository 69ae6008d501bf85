package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"
)

func init() {
	register(contender{
		name: "scs, memory, binary codec, hashed ID", router: netHTTP, session: "in memory, a codec of the app", less: notInScs + "; no idle timeout", apart: true,
		open: openScs(func(m *scs.SessionManager) { m.Codec, m.HashTokenInStore = binaryCodec{}, true }),
	})
}

// binaryCodec encodes the deadline, and then the name of each value, its type and the
// value. Strings have their length before them.
type binaryCodec struct{}

const (
	oneString  = 0
	allStrings = 1
)

func (binaryCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	b := binary.AppendVarint(make([]byte, 0, 640), deadline.UnixNano())
	for name, value := range values {
		b = appendString(b, name)
		switch v := value.(type) {
		case string:
			b = appendString(append(b, oneString), v)
		case []string:
			b = binary.AppendUvarint(append(b, allStrings), uint64(len(v)))
			for _, s := range v {
				b = appendString(b, s)
			}
		default:
			return nil, fmt.Errorf("the value of %s has an unknown type", name)
		}
	}
	return b, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errShort = errors.New("the record is too short")

func (binaryCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	nano, n := binary.Varint(b)
	if n <= 0 {
		return time.Time{}, nil, errShort
	}
	r := &binaryReader{text: string(b[n:])}
	values := make(map[string]any, 4)
	for r.text != "" && !r.short {
		name := r.string()
		if r.number(1) == oneString {
			values[name] = r.string()
			continue
		}
		all := make([]string, r.number(len(r.text)))
		for i := range all {
			all[i] = r.string()
		}
		values[name] = all
	}
	if r.short {
		return time.Time{}, nil, errShort
	}
	return time.Unix(0, nano), values, nil
}

// binaryReader reads from text. The strings that it returns are parts of text.
type binaryReader struct {
	text  string
	short bool // a part was missing
}

// number reads a number of at most limit.
func (r *binaryReader) number(limit int) int {
	var n uint64
	for i := 0; i < len(r.text) && i < binary.MaxVarintLen64; i++ {
		n |= uint64(r.text[i]&0x7f) << (7 * i)
		if r.text[i] < 0x80 {
			if n > uint64(limit) {
				break
			}
			r.text = r.text[i+1:]
			return int(n)
		}
	}
	r.short, r.text = true, ""
	return 0
}

func (r *binaryReader) string() string {
	n := r.number(len(r.text))
	if n > len(r.text) {
		r.short, n = true, len(r.text)
	}
	s := r.text[:n]
	r.text = r.text[n:]
	return s
}
