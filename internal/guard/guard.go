// Package guard calls code of the app and recovers its panics. The keeper calls that
// code in its own goroutines, where a panic would end the process. net/http
// recovers panics in the goroutines of requests only.
package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
)

// errPanic is wrapped by the error of a call of a store or an auth service that has
// panicked. Panics of hooks and slog handlers are only logged.
var errPanic = errors.New("panic")

// panicked logs a panic with its stack and returns the error for it. value is the result of
// recover. panicked logs only the type of value, because value may contain a secret. A
// runtime error contains none, and is logged in full.
func panicked(log *slog.Logger, value any, where string) error {
	what := fmt.Sprintf("%T", value)
	if e, ok := value.(runtime.Error); ok {
		what = e.Error()
	}
	stack := string(debug.Stack())
	func() {
		defer func() { _ = recover() }() // the logger itself may have panicked
		log.Error("panic", "in", where, "value", what, "stack", stack)
	}()
	return fmt.Errorf("%w in %s: %s", errPanic, where, what)
}

// Call calls code of the app that returns nothing.
func Call(log *slog.Logger, where string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			_ = panicked(log, v, where)
		}
	}()
	call()
}

// Store recovers the panics of a store, and reports its calls to the hooks. Its methods
// return panics as errors.
type Store struct {
	store.Store
	Log   *slog.Logger
	Calls Calls
}

// returned ends a call. It is deferred: only then recover works.
func (g Store) returned(ctx context.Context, name string, start time.Time, err *error) {
	if v := recover(); v != nil {
		*err = panicked(g.Log, v, "store")
	}
	g.Calls.Done(ctx, g.Log, name, start, *err)
}

// Get implements [store.Store].
func (g Store) Get(ctx context.Context, key string) (rec store.Record, err error) {
	ctx, start := g.Calls.begin(ctx, g.Log, "store.get")
	defer g.returned(ctx, "store.get", start, &err)
	return g.Store.Get(ctx, key)
}

// Put implements [store.Store].
func (g Store) Put(ctx context.Context, rec store.Record, prev uint64) (err error) {
	ctx, start := g.Calls.begin(ctx, g.Log, "store.put")
	defer g.returned(ctx, "store.put", start, &err)
	return g.Store.Put(ctx, rec, prev)
}

// Delete implements [store.Store].
func (g Store) Delete(ctx context.Context, key string) (err error) {
	ctx, start := g.Calls.begin(ctx, g.Log, "store.delete")
	defer g.returned(ctx, "store.delete", start, &err)
	return g.Store.Delete(ctx, key)
}

// List implements [store.Store].
func (g Store) List(ctx context.Context, owner string) (recs []store.Record, err error) {
	ctx, start := g.Calls.begin(ctx, g.Log, "store.list")
	defer g.returned(ctx, "store.list", start, &err)
	return g.Store.List(ctx, owner)
}

// Auth recovers the panics of an auth service, and reports its calls to the hooks. Its
// methods return panics as errors that are [auth.ErrOutcomeUnknown]: the service may have
// used the refresh token before it panicked.
type Auth struct {
	Service auth.Service
	Log     *slog.Logger
	Calls   Calls
}

// authCall is a call of an auth service.
type authCall struct {
	op    string
	ctx   context.Context // nil if the call is not reported
	start time.Time
}

// begin begins a call, and returns the context for it.
func (s Auth) begin(ctx context.Context, op string) (context.Context, authCall) {
	if !s.Calls.Any() {
		return ctx, authCall{op: op}
	}
	ctx, start := s.Calls.begin(ctx, s.Log, "auth."+op)
	return ctx, authCall{op, ctx, start}
}

// returned ends a call. It is deferred: only then recover works.
func (s Auth) returned(c authCall, err *error) {
	if v := recover(); v != nil {
		*err = &auth.Error{Op: c.op, Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown, panicked(s.Log, v, "auth service"))}
	}
	if c.ctx != nil {
		s.Calls.Done(c.ctx, s.Log, "auth."+c.op, c.start, *err)
	}
}

// Login calls [auth.PasswordLogin]. The error is [errors.ErrUnsupported] if Service
// does not implement it.
func (s Auth) Login(ctx context.Context, email, password string) (g auth.Grant, err error) {
	service, ok := s.Service.(auth.PasswordLogin)
	if !ok {
		return auth.Grant{}, fmt.Errorf("the auth service has no password login: %w", errors.ErrUnsupported)
	}
	ctx, c := s.begin(ctx, "login")
	defer s.returned(c, &err)
	return service.Login(ctx, email, password)
}

// LoginTOTP calls [auth.SecondFactor]. Service must implement it.
func (s Auth) LoginTOTP(ctx context.Context, ticket, code string) (g auth.Grant, err error) {
	ctx, c := s.begin(ctx, "login_totp")
	defer s.returned(c, &err)
	return s.Service.(auth.SecondFactor).LoginTOTP(ctx, ticket, code)
}

// Refresh implements [auth.Service].
func (s Auth) Refresh(ctx context.Context, t auth.Tokens) (g auth.Grant, err error) {
	ctx, c := s.begin(ctx, "refresh")
	defer s.returned(c, &err)
	return s.Service.Refresh(ctx, t)
}

// Logout implements [auth.Service].
func (s Auth) Logout(ctx context.Context, t auth.Tokens, all bool) (err error) {
	ctx, c := s.begin(ctx, "logout")
	defer s.returned(c, &err)
	return s.Service.Logout(ctx, t, all)
}

// Verifier recovers the panics of a verifier. Only [auth.ErrInvalidToken] rejects a token,
// so a panic does not reject it.
type Verifier struct {
	auth.Verifier
	Log *slog.Logger
}

// Verify implements [auth.Verifier].
func (g Verifier) Verify(ctx context.Context, token string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(g.Log, v, "verifier")
		}
	}()
	return g.Verifier.Verify(ctx, token)
}
