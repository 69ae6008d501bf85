// Package telemetry records the events and calls of a session.Manager as Prometheus
// metrics, and optionally its calls as OpenTelemetry spans and metrics.
//
//	t, err := telemetry.New(prometheus.DefaultRegisterer)
//	m, err := session.New(t.Instrument(session.Config{Auth: auth, Keys: keys}))
//	http.Handle("/metrics", promhttp.Handler())
//
// The metrics describe the app as a whole. No label contains a user, a session, a path or
// an address, and every label has a fixed set of values: an unknown value becomes "other".
// So the number of time series does not depend on the number of users and requests.
//
// docs/telemetry.md describes each metric. The files alerts.yml and grafana.json have alert
// rules and a dashboard for the metrics.
package telemetry

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
)

// Telemetry records the events and calls of one or more Managers. Create it with [New]. It
// is safe for concurrent use.
type Telemetry struct {
	metrics metrics
	live    live
	otel    instruments
}

// Option configures a [Telemetry].
type Option func(*options)

type options struct {
	tracers trace.TracerProvider
	meters  metric.MeterProvider
}

// WithTracerProvider creates a span for each call of the auth service and the store, such
// as "auth.refresh" and "store.get". It has the attribute "session.result", and is a child
// of the span in the context of the request, if the call belongs to one. For spans of the
// requests themselves, use otelhttp. Default (nil): no spans.
//
// Do not trace the HTTP requests of a synmetrix.Client: their addresses contain refresh
// tokens, which otelhttp records. The spans of calls contain no secret.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *options) { o.tracers = p } }

// WithMeterProvider records the durations of the calls with OpenTelemetry, too, in seconds:
// as "session.auth.call.duration" and "session.store.call.duration". Default (nil): only
// with Prometheus.
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.meters = p } }

// New returns a Telemetry whose metrics are registered with reg. It fails if reg has
// metrics of the same names, for example of another Telemetry. If reg is nil, the metrics
// are not registered, for programs that use only OpenTelemetry.
func New(reg prometheus.Registerer, opts ...Option) (*Telemetry, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	t := &Telemetry{metrics: newMetrics()}
	var err error
	if t.otel, err = newInstruments(o); err != nil || reg == nil {
		return t, err
	}
	for _, c := range append(t.metrics.collectors(), &t.live) {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Instrument returns cfg with hooks that record the events and calls of the Manager. Hooks
// that cfg already has are still called. Several Managers may share a Telemetry, which
// counts them together.
func (t *Telemetry) Instrument(cfg session.Config) session.Config {
	if c, ok := cfg.Store.(store.Counter); ok {
		t.live.add(c)
	}
	onEvent, onCall, before := cfg.OnEvent, cfg.OnCall, cfg.BeforeCall
	cfg.OnEvent = func(ctx context.Context, e session.Event) {
		t.metrics.event(e)
		if onEvent != nil {
			onEvent(ctx, e)
		}
	}
	cfg.OnCall = func(ctx context.Context, c session.Call) {
		t.call(ctx, c)
		if onCall != nil {
			onCall(ctx, c)
		}
	}
	if t.otel.tracer != nil {
		cfg.BeforeCall = func(ctx context.Context, name string) context.Context {
			if before != nil {
				ctx = before(ctx, name)
			}
			return t.otel.begin(ctx, name)
		}
	}
	return cfg
}

// call records a call.
func (t *Telemetry) call(ctx context.Context, c session.Call) {
	kind, op, _ := strings.Cut(c.Name, ".")
	seconds := c.Duration.Seconds()
	switch kind {
	case "auth":
		op, result := known(authOps, op), authResult(c.Err)
		t.metrics.authCalls.WithLabelValues(op, result).Observe(seconds)
		t.otel.done(ctx, c, t.otel.auth, op, result)
	case "store":
		op, result := known(storeOps, op), storeResult(c.Err)
		t.metrics.storeCalls.WithLabelValues(op, result).Observe(seconds)
		t.otel.done(ctx, c, t.otel.store, op, result)
	case "session":
		t.metrics.step(op, c)
	}
}
