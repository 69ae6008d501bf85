package session

// Done returns a channel that is closed when the session has ended, for what
// answers a request for a long time: a stream of events, a WebSocket. An end
// in this process (a logout, a refused refresh) closes it at once; an end in
// another process that shares the store or the coordinator, and the end of the
// session's lifetime, within about two seconds, or after an outage of the store
// within as long of its return. So does the idle timeout of a stored session,
// which a stream does not move; that of a cookie session is only known to the
// browser's next request.
//
// If nobody is signed in the channel is closed already. When the request is
// over nothing is watched any more, and the channel stays as it is.
func (s *Session) Done() <-chan struct{} {
	rec := s.user()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return s.done
	}
	if rec == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	done := make(chan struct{})
	s.done = done
	ctx := s.ctx
	go func() {
		if s.m.keeper.Watch(ctx, rec) {
			close(done)
		}
	}()
	return done
}
