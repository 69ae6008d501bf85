package deadline_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/synmetrix/session/internal/deadline"
)

// A limited context ends like one of package context, whether its timer runs or not.
func TestContext(t *testing.T) {
	type value struct{}
	for _, tt := range []struct {
		name string
		end  func(c *deadline.Context, cancel context.CancelFunc)
		want error
	}{
		{"nothing", func(*deadline.Context, context.CancelFunc) {}, nil},
		{"its time", func(*deadline.Context, context.CancelFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		{"the parent", func(_ *deadline.Context, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"the call", func(c *deadline.Context, _ context.CancelFunc) { c.End() }, context.Canceled},
	} {
		for _, waited := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), value{}, 1))
				defer cancel()
				c := deadline.New(parent, time.Second)
				defer c.End()
				child := func() bool { return false }
				if waited {
					of, stop := context.WithCancel(c)
					defer stop()
					child = func() bool { return of.Err() != nil }
				}
				tt.end(c, cancel)
				synctest.Wait()
				if err := c.Err(); !errors.Is(err, tt.want) {
					t.Errorf("after %s, waited %v: %v, want %v", tt.name, waited, err, tt.want)
				}
				if waited && child() != (tt.want != nil) {
					t.Errorf("after %s: a context made of it has ended: %v", tt.name, child())
				}
				select {
				case <-c.Done():
					if tt.want == nil {
						t.Errorf("after %s: done", tt.name)
					}
				default:
					if tt.want != nil {
						t.Errorf("after %s, waited %v: not done", tt.name, waited)
					}
				}
				if c.Value(value{}) != 1 {
					t.Error("the parent's value is not there")
				}
			})
		}
	}
	parent, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	want, _ := parent.Deadline()
	if got, ok := deadline.New(parent, 2*time.Hour).Deadline(); !ok || !got.Equal(want) {
		t.Errorf("deadline %v, want the parent's %v", got, want)
	}
}
