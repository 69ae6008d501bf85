package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit/webapp"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/telemetry"
)

// TestMetrics provokes every metric over HTTP, and reads it from /metrics.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before := s.scrape()
	if before["sessions_live"] != 0 || before[`session_events_total{event="tokens_lost"}`] != 0 {
		t.Error("metrics count before anything has happened")
	}
	if _, ok := before[`session_events_total{event="tokens_lost"}`]; !ok {
		t.Error("a counter has no zero: alerts would miss its first increase")
	}

	user := s.signIn("user@example.com")
	s.signIn("admin@example.com")
	user.Get("/me").Is(200)
	user.Get("/admin").Is(403)
	user.Do("POST", "/refresh", "").Is(200)
	s.Auth.Inject(authtest.Refresh, authtest.Fault{Status: 503})
	user.Do("POST", "/refresh", "").Is(503)
	s.Browser().Submit("/login", "email", "user@example.com", "password", "wrong").Is(401)
	s.Browser().Get("/me", "Cookie", "__Host-session=forged").Is(401)
	s.Browser().Do("POST", "/login", "", "Sec-Fetch-Site", "cross-site").Is(403)
	s.Auth.Inject(authtest.Login, authtest.Fault{Status: 500})
	s.Browser().Submit("/login", "email", "user@example.com", "password", webapp.Password).Is(503)
	s.Auth.Clear()

	live := s.scrape()["sessions_live"] // counted before, and remembered for some seconds
	user.Submit("/logout").Is(303)
	s.store.Down.Store(true)
	s.Browser().Submit("/login", "email", "admin@example.com", "password", webapp.Password).Is(503)
	s.store.Down.Store(false)
	if live != 0 && live != 2 {
		t.Errorf("%v live sessions, want 0 or 2", live)
	}

	after := s.scrape()
	for series, want := range map[string]float64{
		`sessions_started_total`:                                                      2,
		`sessions_ended_total{reason="logout"}`:                                       1,
		`session_sign_ins_total{result="success"}`:                                    2,
		`session_sign_ins_total{result="refused"}`:                                    1,
		`session_sign_ins_total{result="unavailable"}`:                                2, // the service, and the store
		`session_refreshes_total{result="refreshed"}`:                                 1,
		`session_refreshes_total{result="unknown"}`:                                   1, // the service may have used the token up
		`session_refusals_total{reason="access_denied"}`:                              1,
		`session_refusals_total{reason="login_refused"}`:                              1,
		`session_refusals_total{reason="unreadable"}`:                                 1,
		`session_refusals_total{reason="cross_origin_refused"}`:                       1,
		`session_events_total{event="session_started"}`:                               2,
		`session_refresh_duration_seconds_count`:                                      2,
		`session_sign_in_duration_seconds_count`:                                      5,
		`session_auth_call_duration_seconds_count{op="login",result="ok"}`:            3,
		`session_auth_call_duration_seconds_count{op="login",result="refused"}`:       1,
		`session_auth_call_duration_seconds_count{op="login",result="unavailable"}`:   1,
		`session_auth_call_duration_seconds_count{op="refresh",result="ok"}`:          1,
		`session_auth_call_duration_seconds_count{op="refresh",result="unavailable"}`: 1,
	} {
		if got, ok := after[series]; got != want {
			t.Errorf("%s is %v (present: %v), want %v", series, got, ok, want)
		}
	}
	for _, series := range []string{
		`session_store_call_duration_seconds_count{op="get",result="ok"}`,
		`session_store_call_duration_seconds_count{op="put",result="ok"}`,
		`session_store_call_duration_seconds_count{op="get",result="failed"}`,
		`session_auth_call_duration_seconds_count{op="logout",result="ok"}`,
		`session_events_total{event="store_unavailable"}`,
		`session_cookie_bytes_count`,
	} {
		if after[series] <= 0 {
			t.Errorf("%s is %v, want more than 0", series, after[series])
		}
	}
	if mean := after["session_cookie_bytes_sum"] / after["session_cookie_bytes_count"]; mean < 50 || mean > 4096 {
		t.Errorf("a response sets %v bytes of cookies", mean)
	}
	for series := range after {
		if strings.Contains(series, "@") || strings.Contains(series, "127.0.0.1") || strings.Contains(series, "/") || strings.Contains(series, "forged") {
			t.Errorf("%s is about a user or a request", series)
		}
	}
	for _, family := range families(t) {
		if !slices.ContainsFunc(keys(after), func(series string) bool {
			return strings.HasPrefix(series, family) && (after[series] > 0 || family == "sessions_live")
		}) {
			t.Errorf("%s was not provoked", family)
		}
	}
}

func keys(m map[string]float64) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// everything returns a registry with every metric and every result of a call.
func everything(t testing.TB) *prometheus.Registry {
	t.Helper()
	reg, tel := exposed(t)
	cfg := tel.Instrument(session.Config{Store: memstore.New()})
	for _, r := range results {
		cfg.OnCall(t.Context(), session.Call{Name: r.call + "." + r.op, Err: r.err})
	}
	return reg
}

// families returns the names of all metrics.
func families(t testing.TB) []string {
	t.Helper()
	found, err := everything(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range found {
		names = append(names, f.GetName())
	}
	if len(names) < 12 {
		t.Fatalf("there are only %q", names)
	}
	return names
}

// TestLabels calls the hooks with all names in docs/events.md, and with unknown names.
func TestLabels(t *testing.T) {
	t.Parallel()
	reg, tel := exposed(t)
	cfg := tel.Instrument(session.Config{})
	text, reasons, _ := strings.Cut(read(t, "docs/events.md"), "| `reason` |")
	row := regexp.MustCompile("(?m)^\\| (`[\\w.]+`(?:, `[\\w.]+`)*) \\|")
	names := func(text string) (all []string) {
		for _, m := range row.FindAllStringSubmatch(text, -1) {
			for name := range strings.SplitSeq(m[1], ", ") {
				all = append(all, strings.Trim(name, "`"))
			}
		}
		return all
	}
	events := names(text)
	reasons, calls, _ := strings.Cut(reasons, "## Calls")
	ends := names(reasons)
	if len(events) < 20 || len(ends) < 12 || len(names(calls)) < 20 {
		t.Fatalf("the page lists %d events, %d reasons and %d calls", len(events), len(ends), len(names(calls)))
	}
	for _, name := range events {
		if name != session.EventSessionEnded && name != session.EventCookieRefused {
			cfg.OnEvent(t.Context(), session.Event{Name: name})
		}
	}
	for _, reason := range ends {
		if reason != "unreadable" {
			cfg.OnEvent(t.Context(), session.Event{Name: session.EventSessionEnded, Reason: reason})
		}
		cfg.OnEvent(t.Context(), session.Event{Name: session.EventCookieRefused, Reason: reason})
	}
	for _, name := range names(calls) {
		cfg.OnCall(t.Context(), session.Call{Name: name, CookieBytes: 1})
	}
	for series, n := range samples(t, reg) {
		if strings.Contains(series, `"other"`) && n > 0 {
			t.Errorf("%s is %v, but docs/events.md lists what happened", series, n)
		}
		if strings.HasSuffix(series, "_total}") && n == 0 {
			t.Errorf("%s does not count", series)
		}
	}

	for i := range 50 {
		strange := fmt.Sprintf("strange_%d", i)
		cfg.OnEvent(t.Context(), session.Event{Name: strange, Reason: strange, UserID: strange, Session: strange})
		cfg.OnEvent(t.Context(), session.Event{Name: session.EventSessionEnded, Reason: "refresh_" + strange})
		cfg.OnEvent(t.Context(), session.Event{Name: session.EventCookieRefused, Reason: strange})
		for _, kind := range []string{"auth", "store", "session", strange} {
			cfg.OnCall(t.Context(), session.Call{Name: kind + "." + strange, Err: errors.New(strange)})
		}
	}
	after := samples(t, reg)
	for series := range after {
		if strings.Contains(series, "strange") {
			t.Errorf("a label has an unknown value: %s", series)
		}
	}
	for _, series := range []string{
		`session_events_total{event="other"}`, `sessions_ended_total{reason="other"}`, `session_refusals_total{reason="other"}`,
		`session_refreshes_total{result="other"}`, `session_auth_call_duration_seconds_count{op="other",result="other"}`,
		`session_store_call_duration_seconds_count{op="other",result="failed"}`,
	} {
		if after[series] != 50 {
			t.Errorf("%s is %v, want 50", series, after[series])
		}
	}
}

func wrapped(errs ...error) error { return fmt.Errorf("call: %w", errors.Join(errs...)) }

// results has a row for every result of a call.
var results = []struct {
	call, op, result string
	err              error
}{
	{"auth", "refresh", "ok", nil},
	{"auth", "refresh", "refused", wrapped(auth.ErrRefused)},
	{"auth", "login", "second_factor", wrapped(auth.ErrSecondFactor)},
	{"auth", "login_totp", "refused", wrapped(auth.ErrRefused, auth.ErrTicketRefused)},
	{"auth", "register", "verification_pending", wrapped(auth.ErrVerificationPending)},
	{"auth", "change_email", "refused", wrapped(auth.ErrAccessTokenRefused)},
	{"auth", "refresh", "rate_limited", wrapped(auth.ErrUnavailable, auth.ErrRateLimited)},
	{"auth", "refresh", "invalid_response", wrapped(auth.ErrInvalidResponse, auth.ErrOutcomeUnknown)},
	{"auth", "refresh", "timeout", wrapped(auth.ErrUnavailable, context.DeadlineExceeded)},
	{"auth", "refresh", "unavailable", wrapped(auth.ErrUnavailable, auth.ErrOutcomeUnknown)},
	{"auth", "refresh", "canceled", wrapped(auth.ErrUnavailable, context.Canceled)},
	{"auth", "refresh", "other", errors.New("strange")},
	{"store", "get", "ok", nil},
	{"store", "get", "not_found", wrapped(store.ErrNotFound)},
	{"store", "put", "conflict", wrapped(store.ErrConflict)},
	{"store", "put", "full", wrapped(store.ErrFull)},
	{"store", "list", "timeout", wrapped(context.DeadlineExceeded)},
	{"store", "delete", "canceled", wrapped(context.Canceled)},
	{"store", "delete", "failed", errors.New("strange")},
}

// TestResults checks which error means which result.
func TestResults(t *testing.T) {
	t.Parallel()
	reg, tel := exposed(t)
	cfg := tel.Instrument(session.Config{})
	for _, tt := range results {
		series := fmt.Sprintf("session_%s_call_duration_seconds_count{op=%q,result=%q}", tt.call, tt.op, tt.result)
		before := samples(t, reg)[series]
		cfg.OnCall(t.Context(), session.Call{Name: tt.call + "." + tt.op, Err: tt.err})
		if got := samples(t, reg)[series]; got != before+1 {
			t.Errorf("%v: %s has not increased", tt.err, series)
		}
	}
	cfg.OnCall(t.Context(), session.Call{Name: "session.commit", Err: errors.New("strange")})
	if n := samples(t, reg)["session_cookie_bytes_count"]; n != 0 {
		t.Errorf("%v responses have set cookies, want none", n)
	}
}

// TestHooks checks that hooks of the app are called, too.
func TestHooks(t *testing.T) {
	t.Parallel()
	_, tel := exposed(t)
	var called []string
	cfg := tel.Instrument(session.Config{
		OnEvent:    func(context.Context, session.Event) { called = append(called, "event") },
		OnCall:     func(context.Context, session.Call) { called = append(called, "call") },
		BeforeCall: func(ctx context.Context, _ string) context.Context { called = append(called, "before"); return ctx },
	})
	cfg.OnEvent(t.Context(), session.Event{})
	cfg.BeforeCall(t.Context(), "store.get")
	cfg.OnCall(t.Context(), session.Call{Name: "store.get"})
	if !slices.Equal(called, []string{"event", "before", "call"}) {
		t.Errorf("called: %q", called)
	}
}

// TestRegister checks that a second Telemetry is an error, and that a registry is
// optional.
func TestRegister(t *testing.T) {
	t.Parallel()
	reg, _ := exposed(t)
	var registered prometheus.AlreadyRegisteredError
	if _, err := telemetry.New(reg); !errors.As(err, &registered) {
		t.Errorf("a second Telemetry: %v", err)
	}
	tel, err := telemetry.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	tel.Instrument(session.Config{}).OnEvent(t.Context(), session.Event{Name: session.EventSessionStarted})
}

// countingStore counts its calls.
type countingStore struct {
	store.Store
	n     int
	err   error
	calls int
}

func (s *countingStore) CountSessions(context.Context) (int, error) { s.calls++; return s.n, s.err }

// sliceStore cannot be compared.
type sliceStore struct {
	store.Store
	_ []int
}

func (sliceStore) CountSessions(context.Context) (int, error) { return 1, nil }

// TestLive checks the number of live sessions: the sum of several stores, each counted
// once, and absent while one of them is down.
func TestLive(t *testing.T) {
	t.Parallel()
	reg, tel := exposed(t)
	live := func() (float64, bool) { n, ok := samples(t, reg)["sessions_live"]; return n, ok }
	if _, ok := live(); ok {
		t.Error("without a store the number is known")
	}
	one, two := &countingStore{n: 3}, &countingStore{n: 4, err: errors.New("down")}
	for range 2 {
		tel.Instrument(session.Config{Store: one})
	}
	if n, ok := live(); n != 3 || !ok {
		t.Errorf("one store: %v, %v", n, ok)
	}
	tel.Instrument(session.Config{Store: two})
	if _, ok := live(); ok {
		t.Error("while a store is down the number is known")
	}
	two.err = nil
	tel.Instrument(session.Config{Store: sliceStore{}})
	if n, ok := live(); n != 8 || !ok {
		t.Errorf("three stores: %v, %v", n, ok)
	}
	for range 10 {
		live()
	}
	if one.calls != 1 {
		t.Errorf("within seconds the store was called %d times", one.calls)
	}
}
