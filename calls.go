package session

import (
	"context"
	"net/http"
	"time"

	"github.com/synmetrix/session/internal/guard"
)

// Call reports to Config.OnCall a call of the auth service or the store, or a step of the
// Manager that makes such calls. It contains no secret, unless the errors of a store do.
type Call struct {
	// Name is one of
	//   - "auth." and the name of a method of the auth service, in lower case with
	//     underscores: "auth.login", "auth.login_totp", "auth.refresh", "auth.logout",
	//     "auth.register", "auth.change_password" and so on,
	//   - "store.get", "store.put", "store.delete" or "store.list", for Config.Store and
	//     Config.Coordinator, and for the memory of the process in their place,
	//   - "session.refresh", for a whole refresh of one session: it includes the wait for a
	//     free slot and for other processes, and the calls that write the new tokens,
	//   - "session.sign_in", for Login and LoginTOTP as a whole,
	//   - "session.commit", for [Exchange.Commit] if it has set a cookie or failed.
	//
	// docs/events.md lists the names. They are stable.
	Name string

	// Duration is how long the call took.
	Duration time.Duration

	// CookieBytes is the size of the values of the response's Set-Cookie fields, for
	// "session.commit". It is 0 for other calls.
	CookieBytes int

	// Err is the error of the call, nil if it succeeded. A store or a service that works
	// also returns errors, such as [store.ErrNotFound] and [auth.ErrRefused].
	Err error
}

// newCalls returns the hooks of cfg for the calls of the auth service and the store.
func newCalls(cfg Config) guard.Calls {
	var calls guard.Calls
	if cfg.BeforeCall != nil {
		calls.Before = func(ctx context.Context, name string) context.Context {
			own := cfg.BeforeCall(hookContext(ctx), name)
			if x := exchangeFrom(ctx); x != nil && own != nil {
				own = context.WithValue(own, contextKey{}, x) // for services that use the session
			}
			return own
		}
	}
	if cfg.OnCall != nil {
		calls.After = func(ctx context.Context, name string, d time.Duration, err error) {
			cfg.OnCall(hookContext(ctx), Call{Name: name, Duration: d, Err: err})
		}
	}
	return calls
}

// hookContext returns ctx for a hook of a call. The call may be the one that reads the
// session: a hook that used the session would wait for the call, which waits for the hook.
func hookContext(ctx context.Context) context.Context {
	if exchangeFrom(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, (*Exchange)(nil))
}

// reportSignIn reports the step "session.sign_in" that began at start. It is deferred.
func (m *Manager) reportSignIn(ctx context.Context, start time.Time, err *error) {
	m.calls.Done(ctx, m.cfg.Logger, "session.sign_in", start, *err)
}

// reportCommit reports the step "session.commit" that began at start. before is the number
// of Set-Cookie fields in h from before the step. It is deferred.
func (x *Exchange) reportCommit(h http.Header, before int, start time.Time, err *error) {
	m := x.m
	if m.cfg.OnCall == nil {
		return
	}
	size := 0
	for _, line := range h["Set-Cookie"][before:] {
		size += len(line)
	}
	if size == 0 && *err == nil {
		return
	}
	c := Call{Name: "session.commit", Duration: time.Since(start), CookieBytes: size, Err: *err}
	guard.Call(m.cfg.Logger, "Config.OnCall", func() { m.cfg.OnCall(hookContext(x.ctx), c) })
}
