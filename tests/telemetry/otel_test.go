package telemetry_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/telemetry"
)

// TestSpans checks that the spans of calls are children of the request's span, and have a
// result and no error texts.
func TestSpans(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	_, tel := exposed(t, telemetry.WithTracerProvider(tracers))
	service := &testkit.Service{T: t}
	const secret = "secret of an error"
	service.OnRefresh = func(context.Context, string) (auth.Tokens, error) {
		return auth.Tokens{}, &auth.Error{Op: "refresh", Err: errors.Join(auth.ErrUnavailable, errors.New(secret))}
	}
	m, err := session.New(tel.Instrument(session.Config{
		Auth: service, Keys: []session.SecretKey{session.GenerateKey()}, Store: memstore.New(),
		Logger: slog.New(slog.DiscardHandler),
	}))
	if err != nil {
		t.Fatal(err)
	}
	c := &testkit.Visitor{T: t, M: m, Jar: map[string]string{}}
	ctx, request := tracers.Tracer("app").Start(t.Context(), "GET /")
	c.Do(ctx, func(ctx context.Context, s *session.Session) {
		if err := m.Login(ctx, "user@example.com", "password"); err != nil {
			t.Error(err)
		}
	})
	c.Do(ctx, func(ctx context.Context, s *session.Session) { _ = s.Refresh(ctx) })
	request.End()
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}

	seen := map[string]bool{}
	for _, span := range recorder.Ended() {
		if span.Name() == "GET /" {
			continue
		}
		seen[span.Name()] = true
		background := span.Name() == "auth.refresh"
		if span.Name() == "auth.login" && span.Parent().SpanID() != request.SpanContext().SpanID() {
			t.Errorf("%s is not below the request's span", span.Name())
		}
		if failed := span.Status().Code == codes.Error; failed != background {
			t.Errorf("%s: status %v", span.Name(), span.Status())
		}
		var text strings.Builder
		text.WriteString(span.Name() + span.Status().Description)
		results := 0
		for _, a := range span.Attributes() {
			text.WriteString(string(a.Key) + a.Value.String())
			if a.Key == "session.result" {
				results++
			}
		}
		if results != 1 || len(span.Events()) > 0 {
			t.Errorf("%s has %d results and %d events", span.Name(), results, len(span.Events()))
		}
		if strings.Contains(text.String(), secret) || strings.Contains(text.String(), "@") {
			t.Errorf("%s says more than the result: %s", span.Name(), &text)
		}
	}
	for _, name := range []string{"auth.login", "auth.refresh", "store.get", "store.put"} {
		if !seen[name] {
			t.Errorf("%s has no span", name)
		}
	}
	if n := len(recorder.Started()); n != len(recorder.Ended()) {
		t.Errorf("%d spans were started, and %d have ended", n, len(recorder.Ended()))
	}
}

// TestMeter checks the durations that OpenTelemetry receives. Without the options it
// receives none.
func TestMeter(t *testing.T) {
	t.Parallel()
	reader := sdkmetric.NewManualReader()
	_, tel := exposed(t, telemetry.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))))
	cfg := tel.Instrument(session.Config{})
	if cfg.BeforeCall != nil {
		t.Error("spans are created without the option")
	}
	cfg.OnCall(t.Context(), session.Call{Name: "auth.refresh", Duration: 2 * time.Second, Err: auth.ErrRefused})
	cfg.OnCall(t.Context(), session.Call{Name: "store.get", Duration: time.Second})
	cfg.OnCall(t.Context(), session.Call{Name: "session.refresh", Duration: time.Hour})
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, scope := range got.ScopeMetrics {
		for _, m := range scope.Metrics {
			for _, p := range m.Data.(metricdata.Histogram[float64]).DataPoints {
				op, _ := p.Attributes.Value("op")
				result, _ := p.Attributes.Value("result")
				lines = append(lines, strings.Join([]string{m.Name, m.Unit, op.AsString(), result.AsString(), time.Duration(p.Sum * 1e9).String()}, " "))
			}
		}
	}
	slices.Sort(lines)
	want := []string{"session.auth.call.duration s refresh refused 2s", "session.store.call.duration s get ok 1s"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}
