package keeper

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A limited context ends like one of package context, whether its timer runs or not.
func TestLimit(t *testing.T) {
	type value struct{}
	for _, tt := range []struct {
		name string
		end  func(c *limited, cancel context.CancelFunc)
		want error
	}{
		{"nothing", func(*limited, context.CancelFunc) {}, nil},
		{"its time", func(*limited, context.CancelFunc) { time.Sleep(time.Second) }, context.DeadlineExceeded},
		{"the parent", func(_ *limited, cancel context.CancelFunc) { cancel() }, context.Canceled},
		{"the call", func(c *limited, _ context.CancelFunc) { c.end() }, context.Canceled},
	} {
		for _, waited := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancel(context.WithValue(t.Context(), value{}, 1))
				defer cancel()
				c := limit(parent, time.Now(), time.Second)
				defer c.end()
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
	if got, ok := limit(parent, time.Now(), 2*time.Hour).Deadline(); !ok || !got.Equal(want) {
		t.Errorf("deadline %v, want the parent's %v", got, want)
	}
}
