package session

import (
	"errors"
	"fmt"
	"time"

	"github.com/synmetrix/session/auth"
)

// Errors of this package. Test for them with errors.Is. Package auth defines the
// errors of auth services, see [auth.Service].
var (
	// ErrUnauthenticated: no user is signed in.
	ErrUnauthenticated = errors.New("not signed in")

	// ErrReauthenticationRequired: the user is signed in, but entered the credentials too
	// long ago. See [Session.AuthorizeFresh].
	ErrReauthenticationRequired = errors.New("the user must sign in again")

	// ErrActing: the user acts as another user, and must stop that first. See
	// [Manager.ActAs].
	ErrActing = errors.New("the user acts as another user")

	// ErrForbidden: the user is signed in, but a [Policy] rejects the request.
	ErrForbidden = errors.New("forbidden")

	// ErrSessionUnavailable: the session that the request presents cannot be
	// determined or changed, because the store or the auth service is down. The
	// session has not ended, and the request can be retried later. See
	// [UnavailableError].
	ErrSessionUnavailable = errors.New("session unavailable")

	// ErrNotLoaded: no session was loaded for the request, or another Manager has loaded
	// it. The handler is not inside this Manager's middleware. This is a mistake in the
	// program.
	ErrNotLoaded = errors.New("no session was loaded for this request; is the handler inside middleware.Sessions?")

	// ErrEnded: the session has ended. The user has signed out or in again, the
	// auth service has rejected the refresh token, the session was revoked, or it
	// has reached its idle timeout or the end of its lifetime.
	ErrEnded = errors.New("session has ended")

	// ErrLogoutIncomplete: the session of the request has ended, but the user's other
	// sessions may not have ended, because their end could not be stored. An error that
	// wraps ErrLogoutIncomplete also wraps auth.ErrUnavailable.
	ErrLogoutIncomplete = fmt.Errorf("other sessions of the user may not have ended: %w", auth.ErrUnavailable)

	// ErrTooManySessions: the user has Config.MaxSessions sessions, and
	// Config.RejectOverMax is set. The sign-in had no effect.
	ErrTooManySessions = errors.New("the user has too many sessions")

	// ErrTooLarge: the session does not fit its cookies, or its values exceed a
	// limit. See [Key.Set].
	ErrTooLarge = errors.New("session too large")

	// ErrCommitted: it is too late for the change. The response has begun, so
	// cookies cannot be set any more, or the request has ended.
	ErrCommitted = errors.New("response has begun")

	// ErrNoPendingLogin: no login waits for a one-time code, or for a link.
	ErrNoPendingLogin = errors.New("no pending login")

	// ErrTooManyAttempts: one of Config.Limits is reached. See [TooManyAttemptsError].
	ErrTooManyAttempts = errors.New("too many attempts")

	// ErrOtherAccount: the browser requested a link for one account and followed a link for
	// another. See [Manager.FollowLink].
	ErrOtherAccount = errors.New("the link is for another account")

	// ErrSignInAgain: the password is changed, and the user has to sign in with the new
	// one. See [Manager.ChangePassword].
	ErrSignInAgain = errors.New("the password is changed, but the new sign-in failed")

	// ErrCrossOrigin: a page of another origin sent a request with an unsafe method. See
	// [Manager.CheckOrigin].
	ErrCrossOrigin = errors.New("cross-origin request")

	// ErrBearer: the request carries a bearer token that is not accepted: Config.Verifier
	// rejects it, it has expired, or there is no Verifier. Cookies of such a request are
	// ignored. An error that wraps ErrBearer also wraps ErrUnauthenticated, or, from
	// [Session.AuthorizeFresh], ErrReauthenticationRequired.
	ErrBearer = errors.New("the bearer token is not accepted")

	// ErrSessionRequired: the call needs a session, and the request has a bearer token
	// instead. See [Session.Bearer].
	ErrSessionRequired = errors.New("a request with a bearer token has no session")

	// ErrNoSuchSession: the user has no session with this handle. See
	// [Manager.EndSession].
	ErrNoSuchSession = errors.New("no such session")
)

var errCookiesFull = fmt.Errorf("%w: it does not fit its cookies; keep sessions in a store (Config.Store)", ErrTooLarge)

// UnavailableError reports that a session cannot be determined or changed, because
// the store or the auth service is down. errors.Is reports it as
// [ErrSessionUnavailable].
type UnavailableError struct {
	// RetryAfter is how long a client should wait before it retries the request,
	// 0 if that is unknown.
	RetryAfter time.Duration

	// Err is the error of the store or of the auth service.
	Err error
}

// Error returns a text without secrets.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("session: %v: %v", ErrSessionUnavailable, e.Err)
}

// Unwrap returns e.Err.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Is reports whether target is ErrSessionUnavailable.
func (e *UnavailableError) Is(target error) bool { return target == ErrSessionUnavailable }
