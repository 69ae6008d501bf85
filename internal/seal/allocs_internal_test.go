//go:build !race

package seal

import (
	"fmt"
	"strings"
	"testing"
)

// With the race detector, pools drop their contents, so this test runs without it.

// Anyone can send texts that do not open.
func TestOpenRejectsWithoutAllocations(t *testing.T) {
	s := NewSecret("a secret of 32 bytes or more, as it is configured").Cookies
	for _, sealed := range []string{strings.Repeat("A", 16<<10), withMAC("1 tokens name", fmt.Sprintf("1|%4000d", 0))} {
		s.Open(Tokens, "name", sealed)
		if n := testing.AllocsPerRun(100, func() {
			if _, ok := s.Open(Tokens, "name", sealed); ok {
				t.Error("opens")
			}
		}); n > 0 {
			t.Errorf("%v allocations for %d bytes, want none", n, len(sealed))
		}
	}
	b := make([]byte, 16<<10)
	s.OpenBytes(Record, "name", b)
	if n := testing.AllocsPerRun(100, func() { s.OpenBytes(Record, "name", b) }); n > 0 {
		t.Errorf("OpenBytes: %v allocations for %d bytes, want none", n, len(b))
	}
}
