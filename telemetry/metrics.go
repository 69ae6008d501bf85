package telemetry

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/synmetrix/session"
)

// metrics are the metrics of Prometheus, except the number of live sessions.
type metrics struct {
	started                                     prometheus.Counter
	signIns, refreshes, refusals, ended, events *prometheus.CounterVec
	signInTime, refreshTime, cookieBytes        prometheus.Histogram
	authCalls, storeCalls                       *prometheus.HistogramVec
}

var (
	// A call of the auth service goes over a network and may check a password, and a
	// refresh waits for three times session.Config.AuthTimeout at most, 30 s by default.
	slowBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

	// A call of the store takes from microseconds, in memory, to session.Config.StoreTimeout.
	fastBuckets = []float64{.00001, .0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}

	// A cookie has 4,096 bytes at most. Proxies limit headers to 4, 8 or 16 KiB.
	byteBuckets = []float64{256, 512, 1024, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768}
)

func newMetrics() metrics {
	counter := func(name, help, label string, values []string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		// Start all counters at zero: otherwise alerts do not see the first increase.
		for _, value := range values {
			v.WithLabelValues(value)
		}
		v.WithLabelValues(other)
		return v
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	calls := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"op", "result"})
	}
	return metrics{
		started:     prometheus.NewCounter(prometheus.CounterOpts{Name: "sessions_started_total", Help: "Sessions that have begun."}),
		signIns:     counter("session_sign_ins_total", "Sign-ins by result.", "result", signInResults),
		refreshes:   counter("session_refreshes_total", "Refreshes of tokens by result.", "result", refreshResults),
		refusals:    counter("session_refusals_total", "Requests that were refused, by reason.", "reason", refusalReasons),
		ended:       counter("sessions_ended_total", "Sessions that have ended, by reason.", "reason", endReasons),
		events:      counter("session_events_total", "All events by name.", "event", eventNames),
		signInTime:  histogram("session_sign_in_duration_seconds", "Duration of sign-ins with a password or a code, including the delay of refusals.", slowBuckets),
		refreshTime: histogram("session_refresh_duration_seconds", "Duration of refreshes, including the waits for a slot and for other processes.", slowBuckets),
		cookieBytes: histogram("session_cookie_bytes", "Size of the Set-Cookie fields of a response that sets session cookies.", byteBuckets),
		authCalls:   calls("session_auth_call_duration_seconds", "Duration of calls of the auth service.", slowBuckets),
		storeCalls:  calls("session_store_call_duration_seconds", "Duration of calls of the store or the coordinator.", fastBuckets),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		m.started, m.signIns, m.refreshes, m.refusals, m.ended, m.events,
		m.signInTime, m.refreshTime, m.cookieBytes, m.authCalls, m.storeCalls,
	}
}

// event counts an event.
func (m *metrics) event(e session.Event) {
	m.events.WithLabelValues(known(eventNames, e.Name)).Inc()
	switch e.Name {
	case session.EventSessionStarted:
		m.started.Inc()
		if e.ActorID == "" { // if a user acts as another user, the other user has not signed in
			m.signIns.WithLabelValues("success").Inc()
		}
	case session.EventLoginRefused:
		m.signIns.WithLabelValues("refused").Inc()
		m.refuse(e.Name)
	case session.EventLoginUnavailable:
		m.signIns.WithLabelValues("unavailable").Inc()
	case session.EventSessionRefreshed:
		m.refreshes.WithLabelValues("refreshed").Inc()
	case session.EventRefreshUnavailable:
		m.refreshes.WithLabelValues("unavailable").Inc()
	case session.EventRefreshUnknown:
		m.refreshes.WithLabelValues("unknown").Inc()
	case session.EventSessionEnded:
		m.ended.WithLabelValues(known(endReasons, e.Reason)).Inc()
		if result, ok := strings.CutPrefix(e.Reason, "refresh_"); ok {
			m.refreshes.WithLabelValues(known(refreshResults, result)).Inc()
		}
	case session.EventCookieRefused:
		m.refuse(e.Reason)
	case session.EventAccessDenied, session.EventAccountRefused, session.EventBearerRefused,
		session.EventCrossOriginRefused, session.EventTooManyAttempts:
		m.refuse(e.Name)
	}
}

func (m *metrics) refuse(reason string) {
	m.refusals.WithLabelValues(known(refusalReasons, reason)).Inc()
}

// step records a step of the Manager.
func (m *metrics) step(name string, c session.Call) {
	switch name {
	case "refresh":
		m.refreshTime.Observe(c.Duration.Seconds())
	case "sign_in":
		m.signInTime.Observe(c.Duration.Seconds())
	case "commit":
		if c.CookieBytes > 0 {
			m.cookieBytes.Observe(float64(c.CookieBytes))
		}
	}
}
