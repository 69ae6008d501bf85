package session

import (
	"context"
	"sync"

	"github.com/synmetrix/session/internal/keeper"
)

// Done returns a channel that is closed when the session ends, for handlers that
// respond for a long time, such as event streams and WebSockets.
//
// An end in this process, such as a logout or a rejected refresh, closes the
// channel at once. The channel is closed within about two seconds after an end in
// another process that shares the store or the coordinator, and after the end of
// the session's lifetime. If the store is down at that time, the channel is closed
// within about two seconds after the outage.
//
// The idle timeout of a stored session closes the channel in the same way, and an
// open stream does not extend the idle timeout. The idle timeout of a cookie session
// does not close the channel; it takes effect at the browser's next request.
//
// With a bearer token the channel is closed when the token expires.
//
// [Manager.EndStreams] closes the channels of all sessions, and [Manager.Shutdown] does so
// when it starts. The sessions continue: a client that connects again, to another process
// or after the restart, is still signed in.
//
// If no user is signed in, the channel is closed already. The session is watched
// until the request's context ends. After that the channel does not change.
func (s *Session) Done() <-chan struct{} {
	rec := s.user()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return s.done
	}
	done := make(chan struct{})
	if rec == nil {
		// Do not keep this channel in s: a session that is unavailable may be available at
		// the next call.
		close(done)
		return done
	}
	s.done = done
	if s.m.streams.Err() != nil {
		close(done)
		return done
	}
	s.closeAtEnd(done, rec)
	return done
}

// closeAtEnd closes done when the session of rec ends, or when EndStreams is called, until
// the request's context ends.
func (s *Session) closeAtEnd(done chan struct{}, rec *keeper.Record) {
	ended := sync.OnceFunc(func() { close(done) })
	ctx, cancel := context.WithCancel(s.ctx)
	stop := context.AfterFunc(s.m.streams, func() {
		ended()
		cancel()
	})
	if s.actor != nil {
		// A session in which a user acts as another user ends together with the actor's own
		// session.
		own := s.actor.Done()
		go func() {
			select {
			case <-own:
				cancel()
				ended()
			case <-ctx.Done():
			}
		}()
	}
	go func() {
		defer cancel()
		defer stop()
		watch := s.m.keeper.Watch
		if s.bearer {
			watch = s.m.bearerExpired
		}
		if watch(ctx, rec) {
			ended()
		}
	}()
}
