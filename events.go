package session

import (
	"context"
	"log/slog"
	"time"

	"github.com/synmetrix/session/internal/guard"
	"github.com/synmetrix/session/internal/keeper"
)

// The names of events. They are also the messages in the Manager's log. The names and
// their levels, listed in docs/events.md, are stable.
const (
	EventAccessDenied        = "access_denied"        // a guard rejected a signed-in user
	EventAccountRefused      = "account_refused"      // the auth service rejected a registration, the sending of an e-mail, or a change of an account
	EventAccountUnavailable  = "account_unavailable"  // such a request failed for another reason
	EventBearerRefused       = "bearer_refused"       // a bearer token was not accepted
	EventClaimsUnreadable    = "claims_unreadable"    // an access token's claims, or only its roles, could not be read
	EventCookieRefused       = "cookie_refused"       // a presented cookie belongs to no valid session: see Reason
	EventCookiesDropped      = "cookies_dropped"      // a browser that drops the cookies requested a login page: see [Manager.DropsCookies]
	EventCrossOriginRefused  = "cross_origin_refused" // an unsafe request came from another origin
	EventLoginRefused        = "login_refused"        // the credentials, the one-time code or the link were not accepted, or the user has too many sessions
	EventLoginUnavailable    = "login_unavailable"    // a login failed for another reason: the auth service, the store, the size of the cookies, or a client that disconnected
	EventPasswordChanged     = "password_changed"     // a user has changed or reset a password
	EventRecordCorrupt       = "record_corrupt"       // the store returned data that is not the session's record
	EventRefreshUnavailable  = "refresh_unavailable"  // a refresh failed; the refresh token is still valid
	EventRefreshUnknown      = "refresh_unknown"      // a refresh failed, and the service may have used up the refresh token
	EventRevokeFailed        = "revoke_failed"        // the auth service did not revoke tokens
	EventSessionEnded        = "session_ended"        // a session has ended: see Reason
	EventSessionRefreshed    = "session_refreshed"    // a session has new tokens
	EventSessionStarted      = "session_started"      // a user has signed in, or has begun to act as another user
	EventStoreUnavailable    = "store_unavailable"    // a call of the store failed
	EventTokensLost          = "tokens_lost"          // new tokens could not be stored and are lost; alert on this event
	EventTokensUnwritten     = "tokens_unwritten"     // new tokens could not be stored yet, or do not fit the cookies; they are kept
	EventTooManyAttempts     = "too_many_attempts"    // one of Config.Limits is reached
	EventValuesLost          = "values_lost"          // values that a handler changed after the response had begun could not be saved
	EventVerifierUnavailable = "verifier_unavailable" // Config.Verifier could not determine whether a bearer token is genuine
)

// Event reports a change of a session, a rejection or a failure to the operator. It never
// contains a secret.
type Event struct {
	// Name is one of the Event constants.
	Name string

	// Reason is why a session has ended: "logout", "logout_all",
	// "replaced_by_login", "refresh_refused", "refresh_outcome_unknown",
	// "refresh_other_user", "idle_timeout", "lifetime", "revoked",
	// "login_not_delivered", "logout_elsewhere", "max_sessions" or "actor_ended". For
	// EventCookieRefused it is one of these or "unreadable". It is empty for other
	// events.
	Reason string

	// Session identifies the session in all of its events. It is part of a hash
	// of the session's ID, and gives no access to the session. It is empty if the
	// event is not about a session.
	Session string

	// UserID is the ID of the session's user. It is empty if the event is not
	// about a session, or if the user is unknown. It is not logged.
	UserID string

	// ActorID is the ID of the user who acts as the session's user; see [Manager.ActAs]. It
	// is empty if no user acts. It is not logged.
	ActorID string

	// RetryAfter is the pause before the next attempt, 0 if there is none.
	RetryAfter time.Duration

	// Err is the cause, nil if there is none.
	Err error
}

// event passes e to Config.OnEvent and logs it. r is a state of the session, nil if
// the event is not about a session.
//
// The hook and the log may use the session in ctx. So the caller must not hold a lock, and
// must have made the reported change before the call.
func (m *Manager) event(ctx context.Context, level slog.Level, r *keeper.Record, e Event) {
	if r != nil {
		e.Session, e.UserID = r.Key[:min(16, len(r.Key))], r.UserID
		if r.Actor != nil {
			e.ActorID = r.Actor.UserID
		}
	}
	// guard.Call recovers panics of the app's code. The call may run in a goroutine that
	// belongs to no request, where a panic would end the process.
	if m.cfg.OnEvent != nil {
		guard.Call(m.cfg.Logger, "Config.OnEvent", func() { m.cfg.OnEvent(ctx, e) })
	}
	guard.Call(m.cfg.Logger, "Config.Logger", func() { m.logEvent(ctx, level, e) })
}

func (m *Manager) logEvent(ctx context.Context, level slog.Level, e Event) {
	if !m.cfg.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 5)
	if e.Session != "" {
		attrs = append(attrs, slog.String("session", e.Session))
	}
	if e.ActorID != "" {
		attrs = append(attrs, slog.Bool("acting", true))
	}
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", e.Reason))
	}
	if e.RetryAfter > 0 {
		attrs = append(attrs, slog.Duration("retry_after", e.RetryAfter))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	m.cfg.Logger.LogAttrs(ctx, level, e.Name, attrs...)
}

// keeperEvent is event for events of the keeper.
func (m *Manager) keeperEvent(ctx context.Context, level slog.Level, r *keeper.Record, e keeper.Event) {
	m.event(ctx, level, r, Event{Name: e.Name, Reason: e.Reason, RetryAfter: e.RetryAfter, Err: e.Err})
}
