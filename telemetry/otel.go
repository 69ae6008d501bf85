package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/synmetrix/session"
)

// scope names this package in OpenTelemetry.
const scope = "github.com/synmetrix/session/telemetry"

// instruments are the instruments of OpenTelemetry. A nil field is off.
type instruments struct {
	tracer      trace.Tracer
	auth, store metric.Float64Histogram
}

func newInstruments(o options) (i instruments, err error) {
	if o.tracers != nil {
		i.tracer = o.tracers.Tracer(scope)
	}
	if o.meters == nil {
		return i, nil
	}
	m := o.meters.Meter(scope)
	histogram := func(name, what string, buckets []float64) metric.Float64Histogram {
		if err != nil {
			return nil
		}
		var h metric.Float64Histogram
		h, err = m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(buckets...))
		return h
	}
	i.auth = histogram("session.auth.call.duration", "Duration of calls of the auth service.", slowBuckets)
	i.store = histogram("session.store.call.duration", "Duration of calls of the store or the coordinator.", fastBuckets)
	return i, err
}

// spanKey is the key of the *callSpan in the context of a call.
type spanKey struct{}

type callSpan struct {
	name string
	trace.Span
}

// begin returns ctx with the span of a call.
func (i instruments) begin(ctx context.Context, name string) context.Context {
	ctx, span := i.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindInternal))
	return context.WithValue(ctx, spanKey{}, &callSpan{name, span})
}

// done records a call, and ends its span. Only the result of an error is recorded, because
// the text of a store's error may contain anything.
func (i instruments) done(ctx context.Context, c session.Call, h metric.Float64Histogram, op, result string) {
	if h != nil {
		h.Record(ctx, c.Duration.Seconds(), metric.WithAttributes(attribute.String("op", op), attribute.String("result", result)))
	}
	// The context has the span of another call if that call has made this one.
	span, _ := ctx.Value(spanKey{}).(*callSpan)
	if span == nil || span.name != c.Name {
		return
	}
	span.SetAttributes(attribute.String("session.result", result))
	if !isResponse(result) {
		span.SetStatus(codes.Error, result)
	}
	span.End()
}
