//go:build !race

package session_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
)

// The allocations of a request are counted. The race detector allocates, too, so this
// test runs without it.
func TestAllocs(t *testing.T) {
	for _, tt := range []struct {
		name           string
		stored, cookie bool
		want           float64
	}{
		{"no cookie", false, false, 1},
		{"cookie session", false, true, 1},
		{"stored session", true, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, in := benchManager(t, tt.stored)
			r := benchGet(t)
			if tt.cookie {
				r.Header = in
			}
			out := http.Header{}
			got := testing.AllocsPerRun(1000, func() {
				if !request(m, r, out, tt.cookie) {
					t.Fatal("refused")
				}
			})
			if got != tt.want {
				t.Errorf("%v allocations, want %v", got, tt.want)
			}
		})
	}
}

// A cookie that is new to the process is decrypted and decoded, and its claims are read.
func TestAllocsOfNewCookies(t *testing.T) {
	const runs, most = 200, 16
	m, _ := benchManager(t, false)
	all := freshCookies(t, m, runs+1)
	r, out := benchGet(t), http.Header{}
	got := testing.AllocsPerRun(runs, func() {
		r.Header, all = all[0], all[1:]
		if !request(m, r, out, true) {
			t.Fatal("refused")
		}
	})
	if got > most {
		t.Errorf("%v allocations, want at most %d", got, most)
	}
}

// preparedAuth is a service whose logins cost nothing.
type preparedAuth struct {
	*testkit.Service
	grant auth.Grant
}

func (a preparedAuth) Login(context.Context, string, string) (auth.Grant, error) { return a.grant, nil }

func TestAllocsOfLogin(t *testing.T) {
	service := &testkit.Service{Life: time.Hour}
	prepared := preparedAuth{service, auth.Grant{Tokens: service.Issue("u1")}}
	for _, tt := range []struct {
		name   string
		stored bool
		most   float64
	}{
		{"cookie session", false, 34},
		{"stored session", true, 32},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := session.Config{Auth: prepared, Keys: []session.SecretKey{session.GenerateKey()}, Logger: slog.New(slog.DiscardHandler)}
			if tt.stored {
				cfg.Store = memstore.New()
			}
			m, err := session.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			r, out := benchGet(t), http.Header{}
			r.Method = http.MethodPost
			got := testing.AllocsPerRun(500, func() {
				clear(out)
				r2, x := testkit.Begin(m, r)
				if err := m.Login(r2.Context(), "ada@example.com", "password"); err != nil {
					t.Fatal(err)
				}
				if err := x.Commit(out); err != nil {
					t.Fatal(err)
				}
				if err := x.End(); err != nil {
					t.Fatal(err)
				}
			})
			if got > tt.most {
				t.Errorf("%v allocations, want at most %v", got, tt.most)
			}
		})
	}
}
