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

func jwtOf(a *response) string {
	var s session
	_ = json.Unmarshal([]byte(a.body), &s)
	return s.JWT
}

// eventually waits for something that another goroutine is about to do.
func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 10 s")
		}
	}
}
