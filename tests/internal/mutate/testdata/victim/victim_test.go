package victim

import (
	"os"
	"testing"
)

func TestSum(t *testing.T) {
	t.Run("zero", func(t *testing.T) {
		if got := Sum(0, 0); got != 0 {
			t.Errorf("Sum(0, 0) = %d", got)
		}
	})
	t.Run("more", func(t *testing.T) {
		if got := Sum(1, 2); got != 3 {
			t.Errorf("Sum(1, 2) = %d", got)
		}
	})
}

func TestEnvironment(t *testing.T) {
	if os.Getenv("VICTIM") != "set" {
		t.Error("VICTIM is not set")
	}
}
