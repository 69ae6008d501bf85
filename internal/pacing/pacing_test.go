package pacing_test

import (
	"testing"
	"time"

	"github.com/synmetrix/session/internal/pacing"
)

func TestPause(t *testing.T) {
	t.Parallel()
	for failures, want := range map[int]time.Duration{
		1: pacing.Min, 2: 2 * pacing.Min, 3: 4 * pacing.Min, 6: 8 * time.Second, 7: pacing.Max, 8: pacing.Max, 1 << 30: pacing.Max,
	} {
		if got := pacing.Pause(failures); got != want {
			t.Errorf("Pause(%d) = %v, want %v", failures, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	least, most := time.Hour, time.Duration(0)
	for range 10_000 {
		d := pacing.Spread(time.Minute, 0.75, 1.25)
		least, most = min(least, d), max(most, d)
	}
	if least < 45*time.Second || least > 46*time.Second || most < 74*time.Second || most > 75*time.Second {
		t.Errorf("Spread returned %v to %v, want 45s to 75s", least, most)
	}
}

func TestLife(t *testing.T) {
	t.Parallel()
	received := time.Unix(1e9, 0)
	if life := pacing.Life(received.Add(time.Hour), received.Add(3*time.Hour), received); life != 2*time.Hour {
		t.Errorf("Life = %v, want the difference of exp and iat, 2h", life)
	}
	if life := pacing.Life(time.Time{}, received.Add(3*time.Hour), received); life != 3*time.Hour {
		t.Errorf("without iat: Life = %v, want the time until exp, 3h", life)
	}
}

func TestBefore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		configured, life time.Duration
		share            float64
		want             time.Duration
	}{
		{0, time.Hour, 1, time.Minute},
		{0, time.Hour, 0.8, 48 * time.Second},
		{-time.Second, time.Hour, 1, time.Minute},
		{0, 5 * time.Minute, 1, 30 * time.Second},
		{10 * time.Minute, time.Hour, 0.8, 10 * time.Minute},
		{2 * time.Hour, time.Hour, 1, 30 * time.Minute},
		{0, 0, 1, 0},
	} {
		if got := pacing.Before(tt.configured, tt.life, tt.share); got != tt.want {
			t.Errorf("Before(%v, %v, %v) = %v, want %v", tt.configured, tt.life, tt.share, got, tt.want)
		}
	}
}
