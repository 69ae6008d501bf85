package verify_test

import (
	"encoding/base64"
	"runtime"
	"strings"
	"testing"

	"github.com/synmetrix/session/auth/verify"
)

// Whatever a client without a key sends, the verifier allocates little.
func TestCostOfForgedTokens(t *testing.T) {
	k := keys()
	v := newVerifier(t, verify.Config{Secrets: [][]byte{k.secret}, PublicKeys: publicPEM(t, &k.rsa.PublicKey)})
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	many := strings.Builder{}
	for i := range 330 {
		many.WriteString(`,"` + string(rune(0x4e00+i)) + `":1`)
	}
	rest := "." + b64(payload) + "." + b64(strings.Repeat("x", 256))
	for what, token := range map[string]string{
		"many names":      b64(`{"alg":"RS256"`+many.String()+`}`) + rest,
		"nested objects":  b64(`{"alg":"RS256","x":`+strings.Repeat(`{"":`, 500)+"1"+strings.Repeat("}", 500)+`}`) + rest,
		"nested arrays":   b64(`{"alg":"RS256","x":`+strings.Repeat("[", 1400)+strings.Repeat("]", 1400)+`}`) + rest,
		"long kid":        b64(`{"alg":"RS256","kid":"`+strings.Repeat("k", 480)+`"}`) + rest,
		"long payload":    b64(`{"alg":"RS256"}`) + "." + strings.Repeat("x", 60<<10) + "." + b64(strings.Repeat("x", 256)),
		"long signature":  b64(`{"alg":"HS256"}`) + ".e30." + strings.Repeat("x", 60<<10),
		"long everything": strings.Repeat("eyJ", 20_000) + "." + strings.Repeat("x", 20_000),
		"1 MB":            strings.Repeat("x", 1<<20) + rest,
	} {
		if n := allocated(func() {
			if v.Verify(t.Context(), token) == nil {
				t.Errorf("%s: accepted", what)
			}
		}); n > 256<<10 {
			t.Errorf("%s of %d bytes: %d bytes allocated", what, len(token), n)
		}
	}
}

// allocated returns how many bytes f allocates on average. Other goroutines of the test
// allocate little.
func allocated(f func()) uint64 {
	const runs = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / runs
}
