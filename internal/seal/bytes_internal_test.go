package seal

import (
	"bytes"
	"encoding/base64"
	"slices"
	"testing"
)

// What was sealed for one purpose and name opens for no other.
func TestSealBytesPurposes(t *testing.T) {
	s := NewSecret("a secret of 32 bytes or more, as it is configured").Meta
	purposes := []string{Record, Meta, User}
	for _, purpose := range purposes {
		sealed := s.SealBytes(purpose, "name", []byte("plain"))
		for _, other := range purposes {
			for _, name := range []string{"name", "name2", "nam", ""} {
				plain, ok := s.OpenBytes(other, name, sealed)
				if want := other == purpose && name == "name"; ok != want || ok && plain != "plain" {
					t.Errorf("sealed for %s: OpenBytes for %s and %q returns %v, want %v", purpose, other, name, ok, want)
				}
			}
		}
	}
}

// A text does not open as bytes, and bytes do not open as a text, even with the same key.
func TestLayouts(t *testing.T) {
	s := NewSecret("a secret of 32 bytes or more, as it is configured").Meta
	text, err := s.Seal(Meta, "name", []byte("plain"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.URLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	end := len(raw) - 32
	for _, b := range [][]byte{[]byte(text), raw, slices.Delete(slices.Clone(raw), end-1, end)} { // the last without the separator
		if _, ok := s.OpenBytes(Meta, "name", b); ok {
			t.Errorf("a sealed text opens as bytes: %q", b)
		}
	}
	b := s.SealBytes(Meta, "name", []byte("plain"))
	separated := slices.Insert(slices.Clone(b), len(b)-32, '|')
	for _, text := range [][]byte{b, separated} {
		if _, ok := s.Open(Meta, "name", base64.URLEncoding.EncodeToString(text)); ok {
			t.Errorf("sealed bytes open as a text: %x", text)
		}
	}
}

// The same bytes are sealed differently each time, and are not in the result.
func TestSealBytesHides(t *testing.T) {
	s := NewSecret("a secret of 32 bytes or more, as it is configured").Meta
	plain := bytes.Repeat([]byte("plain text "), 50)
	a, b := s.SealBytes(Meta, "name", plain), s.SealBytes(Meta, "name", plain)
	if bytes.Equal(a, b) || bytes.Contains(a, []byte("plain")) {
		t.Errorf("sealed to %x and %x", a, b)
	}
}

// FuzzBytes seals, and alters each sealed text at one place.
func FuzzBytes(f *testing.F) {
	f.Add("name", []byte("plain"), uint(3), byte(1))
	f.Add("", []byte{}, uint(0), byte(0x80))
	f.Add("a|b", bytes.Repeat([]byte{7}, 1000), uint(1040), byte(0xff))
	s := newFastSealer(macKeyForManyUses(testHash), testBlock)
	f.Fuzz(func(t *testing.T, name string, plain []byte, at uint, by byte) {
		original := slices.Clone(plain)
		sealed := s.SealBytes(Record, name, plain)
		if len(sealed) != BytesSize(len(plain)) || !bytes.Equal(plain, original) {
			t.Fatalf("%d bytes sealed to %d, want %d", len(original), len(sealed), BytesSize(len(original)))
		}
		// Nothing seals an empty text, so it does not open.
		opened, ok := s.OpenBytes(Record, name, sealed)
		if ok != (len(plain) > 0) || ok && opened != string(plain) {
			t.Errorf("%q opens to %q (%v)", plain, opened, ok)
		}
		i := int(at % uint(len(sealed)))
		altered := [][]byte{sealed[:i], sealed[i+1:], slices.Insert(slices.Clone(sealed), i, by), append(slices.Clone(sealed), by)}
		if by != 0 {
			flipped := slices.Clone(sealed)
			flipped[i] ^= by
			altered = append(altered, flipped)
		}
		for _, b := range altered {
			if _, ok := s.OpenBytes(Record, name, b); ok {
				t.Errorf("%x opens, an alteration of %x", b, sealed)
			}
		}
		if _, ok := s.OpenBytes(Record, name, plain); ok {
			t.Errorf("%x opens, which nothing has sealed", plain)
		}
	})
}

// Every flipped bit is found.
func TestOpenBytesFlippedBits(t *testing.T) {
	s := NewSecret("a secret of 32 bytes or more, as it is configured").Records(make([]byte, 32))
	sealed := s.SealBytes(Record, "name", []byte("the record of a session"))
	for i := range 8 * len(sealed) {
		sealed[i/8] ^= 1 << (i % 8)
		if _, ok := s.OpenBytes(Record, "name", sealed); ok {
			t.Errorf("opens with bit %d flipped", i)
		}
		sealed[i/8] ^= 1 << (i % 8)
	}
	if _, ok := s.OpenBytes(Record, "name", sealed); !ok {
		t.Error("does not open without a flipped bit")
	}
}
