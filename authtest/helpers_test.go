package authtest_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func containsAll(s string, parts ...string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}

func jwtOf(resp *response) string {
	var s session
	_ = json.Unmarshal([]byte(resp.body), &s)
	return s.JWT
}

// eventually waits until a condition is true that another goroutine makes true.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not become true within 10 s")
		}
	}
}
