package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"testing"
)

var (
	testHash  = bytes.Repeat([]byte{1}, 32)
	testBlock = bytes.Repeat([]byte{2}, 32)
)

// withMAC returns the sealed text of any content, with a valid MAC.
func withMAC(name, content string) string {
	mac := hmac.New(sha256.New, testHash)
	mac.Write([]byte(name + "|" + content))
	return base64.URLEncoding.EncodeToString(mac.Sum([]byte(content + "|")))
}

// Sealer and securecookie open the same texts, to the same bytes.
func FuzzSealer(f *testing.F) {
	f.Add("__Host-session", []byte("plain"), "1700000000|AAAAAAAAAAAAAAAAAAAAAAAA", uint(0), byte('A'))
	f.Add("", []byte{}, "", uint(7), byte('\n'))
	f.Add("a|b", []byte{0}, "|", uint(1<<20), byte('='))
	for i, content := range []string{
		"1700000000|", "1700000000", "|AAAA", "1|AAAAAAAAAAAAAAAAAAAAAA==", "1|AAAAAAAAAAAAAAAAAAAAAAA=", "1|AAAAAAAAAAAAAAAAAAAAAAB=",
		"-1|AAAAAAAAAAAAAAAAAAAAAAAA", "+1|AAAAAAAAAAAAAAAAAAAAAAAA", "1_0|AAAAAAAAAAAAAAAAAAAAAAAA", "99999999999999999999|AAAAAAAAAAAAAAAAAAAAAAAA",
		"1|AAAAAAAAAAAA\nAAAAAAAAAAAA", "1|AAAA|AAAAAAAAAAAAAAAAAAAA", "1|AAAAAAAAAAAAAAAAAAAAAA+/", "1||AAAAAAAAAAAAAAAAAAAAAAAA", " 1|AAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		f.Add("name", bytes.Repeat([]byte{byte(i)}, 100*i), content, uint(i), byte(i))
	}
	theirs := newReference(testHash, testBlock)
	fast, pooled := newFastSealer(macKey{key: testHash}, testBlock), newFastSealer(macKeyForManyUses(testHash), testBlock)
	f.Fuzz(func(t *testing.T, name string, plain []byte, content string, at uint, by byte) {
		same := func(sealed string) (opened string, ok bool) {
			t.Helper()
			opened, ok = fast.Open(Tokens, name, sealed)
			byPooled := func(name, sealed string) (string, bool) { return pooled.Open(Tokens, name, sealed) }
			byReference := func(name, sealed string) (string, bool) { return theirs.open(sealName(Tokens, name), sealed) }
			for _, open := range []func(name, sealed string) (string, bool){byReference, byPooled} {
				if other, otherOK := open(name, sealed); ok != otherOK || opened != other {
					t.Errorf("%q opens to %q (%v) and %q (%v)", sealed, opened, ok, other, otherOK)
				}
			}
			return opened, ok
		}
		original := slices.Clone(plain)
		for _, s := range []Sealer{fast, pooled, {reference: theirs}} {
			sealed, err := s.Seal(Tokens, name, plain)
			if err != nil || len(sealed) != Size(len(plain)) || !bytes.Equal(plain, original) {
				t.Fatalf("%q sealed to %d bytes, want %d (%v)", plain, len(sealed), Size(len(plain)), err)
			}
			// Neither opens a seal with an empty text.
			if opened, ok := same(sealed); ok != (len(plain) > 0) || ok && opened != string(plain) {
				t.Errorf("%q opens to %q (%v)", plain, opened, ok)
			}
			i := int(at % uint(len(sealed)))
			same(sealed[:i])
			same(sealed[:i] + string(by) + sealed[i:])
			if altered := sealed[:i] + string(by) + sealed[i+1:]; altered != sealed {
				if _, ok := same(altered); ok {
					t.Errorf("%q opens, an alteration of %q", altered, sealed)
				}
			}
		}
		same(content)
		same(withMAC(sealName(Tokens, name), content))
	})
}

// If securecookie has another format than Sealer, it seals and opens alone.
func TestSealerReference(t *testing.T) {
	if !sameFormat() {
		t.Fatal("Sealer and securecookie have different formats")
	}
	fast := newFastSealer(macKey{key: testHash}, testBlock)
	slow := fast
	slow.reference = newReference(testHash, testBlock)
	for _, tt := range []struct{ by, other Sealer }{{slow, fast}, {fast, slow}, {slow, slow}} {
		sealed, err := tt.by.Seal(Tokens, "name", []byte("plain"))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []Sealer{tt.by, tt.other} {
			if plain, ok := s.Open(Tokens, "name", sealed); !ok || plain != "plain" {
				t.Errorf("opens to %q (%v)", plain, ok)
			}
			if !s.Authentic(Tokens, "name", sealed[:9], sealed[9:]) || s.Authentic(State, "name", sealed) || s.Authentic(Tokens, "name", sealed, "\n") {
				t.Error("Authentic is wrong")
			}
		}
	}
}

// Keys must never change: all sessions would end.
func TestKeys(t *testing.T) {
	const key = "a secret of 32 bytes or more, as it is configured"
	derive := func(secret string, salt []byte, use string) []byte {
		k, err := hkdf.Key(sha256.New, []byte(secret), salt, "synmetrix/session 1 "+use, 32)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	s := NewSecret(key)
	id := bytes.Repeat([]byte{7}, 32)
	record, err := hkdf.Expand(sha256.New, derive(key, nil, "record"), "synmetrix/session 1 record "+string(id), 64)
	if err != nil {
		t.Fatal(err)
	}
	for use, tt := range map[string]struct {
		sealer      Sealer
		hash, block []byte
	}{
		"cookie": {s.Cookies, derive(key, nil, "cookie hash"), derive(key, nil, "cookie block")},
		"meta":   {s.Meta, derive(key, nil, "meta hash"), derive(key, nil, "meta block")},
		"user":   {s.Users, derive(key, nil, "user hash"), derive(key, nil, "user block")},
		"record": {s.Records(id), record[:32], record[32:]},
	} {
		sealed, err := newReference(tt.hash, tt.block).seal(sealName(Record, use), []byte(use))
		if err != nil {
			t.Fatal(err)
		}
		if plain, ok := tt.sealer.Open(Record, use, sealed); !ok || plain != use {
			t.Errorf("%s: opens to %q (%v)", use, plain, ok)
		}
	}
}
