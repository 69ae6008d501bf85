package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/synmetrix/session/auth"
)

// Errors of this package; test with errors.Is. What an auth service's failure
// means is in the sentinels beside [auth.Service].
var (
	// ErrUnauthenticated: nobody is signed in.
	ErrUnauthenticated = errors.New("not signed in")

	// ErrForbidden: the user is signed in, and may not do this.
	ErrForbidden = errors.New("forbidden")

	// ErrSessionUnavailable: a session was presented, and cannot be told or
	// changed at the moment, because its store or the auth service does not
	// answer. The session lives; ask again later. See [UnavailableError].
	ErrSessionUnavailable = errors.New("session unavailable")

	// ErrNotLoaded: no session was loaded for this request, or it is another
	// Manager's: the handler is not inside this Manager's middleware. It is a
	// mistake in the program.
	ErrNotLoaded = errors.New("no session was loaded for this request; is the handler inside middleware.Sessions?")

	// ErrNoSession: nobody is signed in, and values need a session.
	ErrNoSession = errors.New("no session")

	// ErrEnded: the session is over. It was logged out, revoked or refused,
	// or has reached its idle timeout or the end of its lifetime.
	ErrEnded = errors.New("session has ended")

	// ErrLogoutIncomplete: the session of the request is over, and the auth
	// service has not confirmed the end of the user's other sessions yet. An
	// error that wraps it wraps auth.ErrUnavailable, too.
	ErrLogoutIncomplete = fmt.Errorf("other sessions of the user may live on: %w", auth.ErrUnavailable)

	// ErrTooLarge: the session does not fit.
	ErrTooLarge = errors.New("session too large")

	// ErrCommitted: it is too late in the request. The response has begun and
	// cookies can't be set any more, or the request is over.
	ErrCommitted = errors.New("response has begun")

	// ErrNoPendingLogin: there is no login that waits for a second factor.
	ErrNoPendingLogin = errors.New("no pending login")

	// ErrCrossOrigin: a request with an unsafe method comes from another
	// origin.
	ErrCrossOrigin = errors.New("cross-origin request")

	// ErrBearer: the request carries a bearer token, which alone decides, and
	// there is nothing to verify it with. An error that wraps it wraps
	// ErrUnauthenticated, too.
	ErrBearer = errors.New("bearer tokens are not accepted")

	// ErrShutdown: the Manager has been shut down.
	ErrShutdown = errors.New("session manager is shut down")
)

var errCookiesFull = fmt.Errorf("%w: it does not fit its cookies; keep sessions in a store (Config.Store)", ErrTooLarge)

// UnavailableError is a session that cannot be told or changed at the moment.
// It is [ErrSessionUnavailable] to errors.Is.
type UnavailableError struct {
	// RetryAfter is when it is worth to ask again, 0 if that is not known.
	RetryAfter time.Duration

	// Err is the cause: of the store or of the auth service.
	Err error
}

// Error returns a text that is fit for a log.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("session: %v: %v", ErrSessionUnavailable, e.Err)
}

// Unwrap returns e.Err.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Is reports whether target is ErrSessionUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrSessionUnavailable }
