package keeper

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session/internal/seal"
)

// The data of a record for the list has one encoding, which decodes for its user only and
// is never longer than its bound.
func FuzzDecodeMeta(f *testing.F) {
	last := time.UnixMilli(1<<62 - 1)
	longest := &Record{
		Key: "key", SignIn: SignIn{UserID: "ada", Ends: 1<<64 - 1, Created: last}, LastSeen: last,
		Device: NewDevice(netip.MustParseAddr("2001:db8::1"), strings.Repeat("x", 2*maxUserAgent)),
	}
	if n := len(longest.encodeMeta()); n > maxMeta {
		f.Errorf("%d bytes, want at most %d", n, maxMeta)
	}
	for _, r := range []*Record{longest, {Key: "key", SignIn: SignIn{UserID: "ada"}}, {Key: "key", SignIn: SignIn{UserID: "ada"}, Device: NewDevice(netip.MustParseAddr("192.0.2.1"), "é")}} {
		b := r.encodeMeta()
		if got, ok := decodeMeta(string(b), "key", "ada"); !ok || !reflect.DeepEqual(&got, r) {
			f.Errorf("decoded %+v, want %+v", got, r)
		}
		if _, ok := decodeMeta(string(b), "key", "bob"); ok {
			f.Error("decoded for another user")
		}
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(bytes.Clone(b), 0))
	}
	// An address of another length, and of IPv4 as IPv6.
	for _, addr := range [][]byte{{1, 2, 3}, netip.MustParseAddr("::ffff:192.0.2.1").AsSlice()} {
		b := (&Record{SignIn: SignIn{UserID: "ada"}}).encodeMeta()
		e := seal.Encoder{B: b[:len(b)-2]} // without the empty address and User-Agent
		e.Bytes(addr)
		e.Text("")
		f.Add(e.B)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decodeMeta(string(b), "key", "ada")
		if ok && (!bytes.Equal(r.encodeMeta(), b) || len(r.Device.UserAgent) > maxUserAgent) {
			t.Fatalf("accepted another encoding than that of %+v", r)
		}
	})
}
