package gateway

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/synmetrix/session"
)

// lifetime ends a request when its session ends. Most requests are complete before the
// session needs to be watched.
type lifetime struct {
	ctx     context.Context // the request's
	cancel  context.CancelCauseFunc
	session *session.Session // nil if the request does not depend on it
	once    sync.Once
}

// watchAfter is how long a request may run before its session is watched. A stream is
// watched from its beginning.
const watchAfter = time.Second

// begin starts the watch after watchAfter, unless the timer is stopped.
func (l *lifetime) begin() *time.Timer {
	return time.AfterFunc(watchAfter, l.watch)
}

// stream makes the request also end when the streams end.
func (l *lifetime) stream(streams context.Context) {
	stop := context.AfterFunc(streams, func() { l.cancel(errStopping) })
	context.AfterFunc(l.ctx, func() { stop() })
	go l.watch()
}

// watch cancels the request when its session ends. It returns when the request or the
// session has ended.
func (l *lifetime) watch() {
	if l.session == nil {
		return
	}
	l.once.Do(func() {
		select {
		case <-l.session.Done():
			l.cancel(session.ErrEnded)
		case <-l.ctx.Done():
		}
	})
}

// errStopping ends streams when the gateway stops.
var errStopping = errors.New("gateway: stopping")
