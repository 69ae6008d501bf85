package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
)

// The Manager calls code of the app in goroutines of its own, where a panic would
// end the process. A panic of a store or an auth service counts as a failure of
// the call, one of Config.OnEvent or of a slog handler as none.

var errPanic = errors.New("panic")

// panicked makes an error of what recover has returned, and logs the stack. The
// value is not logged unless the runtime made it: it may hold a secret.
func panicked(log *slog.Logger, value any, where string) error {
	what := fmt.Sprintf("%T", value)
	if e, ok := value.(runtime.Error); ok {
		what = e.Error()
	}
	stack := string(debug.Stack())
	func() {
		defer func() { _ = recover() }() // it may be the logger's
		log.Error("panic", "in", where, "value", what, "stack", stack)
	}()
	return fmt.Errorf("%w in %s: %s", errPanic, where, what)
}

// guarded calls code of the app that has nothing to return.
func (m *Manager) guarded(where string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			_ = panicked(m.log, v, where)
		}
	}()
	call()
}

// guardedStore is a store of the app.
type guardedStore struct {
	store.Store
	log *slog.Logger
}

func (g guardedStore) recovered(err *error) {
	if v := recover(); v != nil {
		*err = panicked(g.log, v, "store")
	}
}

func (g guardedStore) Get(ctx context.Context, key string) (rec store.Record, err error) {
	defer g.recovered(&err)
	return g.Store.Get(ctx, key)
}

func (g guardedStore) Put(ctx context.Context, rec store.Record, prev uint64) (err error) {
	defer g.recovered(&err)
	return g.Store.Put(ctx, rec, prev)
}

func (g guardedStore) Delete(ctx context.Context, key string) (err error) {
	defer g.recovered(&err)
	return g.Store.Delete(ctx, key)
}

func (g guardedStore) List(ctx context.Context, owner string) (recs []store.Record, err error) {
	defer g.recovered(&err)
	return g.Store.List(ctx, owner)
}

// guardedAuth is the auth service of the app.
type guardedAuth struct {
	service auth.Service
	log     *slog.Logger
}

func (s guardedAuth) recovered(op string, err *error) {
	if v := recover(); v != nil {
		*err = &auth.Error{Op: op, Err: errors.Join(auth.ErrUnavailable, auth.ErrOutcomeUnknown, panicked(s.log, v, "auth service"))}
	}
}

func (s guardedAuth) Login(ctx context.Context, email, password string) (g auth.Grant, err error) {
	defer s.recovered("login", &err)
	service, ok := s.service.(auth.PasswordLogin)
	if !ok {
		return auth.Grant{}, fmt.Errorf("the auth service has no passwords: %w", errors.ErrUnsupported)
	}
	return service.Login(ctx, email, password)
}

func (s guardedAuth) LoginTOTP(ctx context.Context, ticket, code string) (g auth.Grant, err error) {
	defer s.recovered("login_totp", &err)
	return s.service.(auth.SecondFactor).LoginTOTP(ctx, ticket, code)
}

func (s guardedAuth) Refresh(ctx context.Context, t auth.Tokens) (g auth.Grant, err error) {
	defer s.recovered("refresh", &err)
	return s.service.Refresh(ctx, t)
}

func (s guardedAuth) Logout(ctx context.Context, t auth.Tokens, all bool) (err error) {
	defer s.recovered("logout", &err)
	return s.service.Logout(ctx, t, all)
}
