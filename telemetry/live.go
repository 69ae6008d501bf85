package telemetry

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/synmetrix/session/store"
)

const (
	countTimeout = 2 * time.Second
	// countEvery bounds how often a store is called, because counting may be costly.
	countEvery = 10 * time.Second
)

var liveDesc = prometheus.NewDesc("sessions_live", "Sessions of signed-in users in the store. Absent if the store cannot count them.", nil, nil)

// live collects the number of live sessions. Its zero value has no stores.
type live struct {
	mu     sync.Mutex
	stores []*counted
}

// counted is a store with its last count.
type counted struct {
	store store.Counter
	last  atomic.Pointer[count]
}

type count struct {
	n  int
	at time.Time
}

// add adds a store, once: Managers may share it.
func (l *live) add(c store.Counter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.stores {
		if reflect.TypeOf(c).Comparable() && s.store == c {
			return
		}
	}
	l.stores = append(l.stores, &counted{store: c})
}

// Describe implements [prometheus.Collector].
func (l *live) Describe(ch chan<- *prometheus.Desc) { ch <- liveDesc }

// Collect implements [prometheus.Collector]. The metric is absent while a store is down:
// an error would fail the whole response.
func (l *live) Collect(ch chan<- prometheus.Metric) {
	l.mu.Lock()
	stores := l.stores // only ever appended to
	l.mu.Unlock()
	sum := 0
	for _, s := range stores {
		n, ok := s.sessions()
		if !ok {
			return
		}
		sum += n
	}
	if len(stores) > 0 {
		ch <- prometheus.MustNewConstMetric(liveDesc, prometheus.GaugeValue, float64(sum))
	}
}

func (s *counted) sessions() (n int, ok bool) {
	if c := s.last.Load(); c != nil && time.Since(c.at) < countEvery {
		return c.n, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), countTimeout)
	defer cancel()
	n, err := s.store.CountSessions(ctx)
	if err != nil {
		return 0, false
	}
	s.last.Store(&count{n, time.Now()})
	return n, true
}
