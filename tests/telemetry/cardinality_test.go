package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
)

// TestCardinality compares the time series after a few users and requests with those
// after many. There must be no new one.
func TestCardinality(t *testing.T) {
	t.Parallel()
	users, requests := scale.Of(300, 1000, 10_000), scale.Of(3000, 10_000, 100_000)
	reg, tel := exposed(t)
	service := &testkit.Service{T: t, Life: 3600e9}
	service.OnRefresh = func(context.Context, string) (auth.Tokens, error) { return service.Issue("user"), nil }
	m, err := session.New(tel.Instrument(session.Config{
		Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Store: memstore.New(),
		Logger: slog.New(slog.DiscardHandler),
	}))
	if err != nil {
		t.Fatal(err)
	}
	a := &crowd{t: t, m: m}
	a.app = middleware.Sessions(m)(http.HandlerFunc(a.serve))
	a.visit(20, 400)
	few := keys(samples(t, reg))
	a.visit(users, requests)
	all := samples(t, reg)
	if many := keys(all); !slices.Equal(few, many) {
		for _, series := range many {
			if !slices.Contains(few, series) {
				t.Errorf("new: %s", series)
			}
		}
		t.Errorf("%d series became %d", len(few), len(many))
	}
	if started := all["sessions_started_total"]; started != float64(users+20) {
		t.Errorf("%v sessions have begun, want %d", started, users+20)
	}
	if refused := all[`session_refusals_total{reason="access_denied"}`]; refused < float64(requests/8) {
		t.Errorf("%v requests were denied, want %d or more", refused, requests/8)
	}
	if len(few) > 1000 {
		t.Errorf("%d series are many for one process", len(few))
	}
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// crowd are users with different names, addresses, browsers, paths and cookies.
type crowd struct {
	t    *testing.T
	m    *session.Manager
	app  http.Handler
	next int // numbers users and requests
}

// serve responds as the first letter of the path selects.
func (a *crowd) serve(w http.ResponseWriter, r *http.Request) {
	s := session.FromContext(r.Context())
	var err error
	switch r.URL.Path[1] {
	case 'i':
		err = a.m.Login(r.Context(), r.URL.Query().Get("user"), "password")
	case 'a':
		err = s.Authorize(func(s *session.Session) bool { return s.HasRole("admin") })
	case 'o':
		err = a.m.CheckOrigin(r)
	default:
		err = s.Authorize(nil)
	}
	if err != nil {
		middleware.Refuse(w, r, err)
	}
}

func (a *crowd) send(method, path string, cookies []*http.Cookie) *http.Response {
	a.next++
	r := httptest.NewRequest(method, path, nil)
	r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:1234", a.next>>16&255, a.next>>8&255, a.next&255)
	r.Header.Set("User-Agent", fmt.Sprintf("Browser/%d", a.next))
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	a.app.ServeHTTP(w, r)
	return w.Result()
}

// visit signs users in, who then send requests in turn.
func (a *crowd) visit(users, requests int) {
	var all [][]*http.Cookie
	for range users {
		resp := a.send("GET", fmt.Sprintf("/in/%d?user=user%d@example.com", a.next, a.next), nil)
		if resp.StatusCode != 200 {
			a.t.Fatalf("sign-in: %d", resp.StatusCode)
		}
		all = append(all, resp.Cookies())
	}
	for i := range requests {
		cookies := all[i%users]
		method, kind, want := "GET", "page", 200
		switch i % 5 {
		case 1:
			kind, want = "admin", 403
		case 2:
			cookies, want = []*http.Cookie{{Name: "__Host-session", Value: fmt.Sprintf("forged%d", i)}}, 401
		case 3:
			method, kind, want = "POST", "origin", 403
		}
		if resp := a.send(method, fmt.Sprintf("/%s/%d", kind, i), cookies); resp.StatusCode != want {
			a.t.Fatalf("%s: %d, want %d", kind, resp.StatusCode, want)
		}
	}
}
