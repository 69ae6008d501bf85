package session

import (
	"context"
	"log/slog"
	"time"

	"github.com/synmetrix/session/internal/guard"
	"github.com/synmetrix/session/internal/keeper"
)

// The names of events. They are the messages of the Manager's log, and do not
// change; neither do their levels, which docs/events.md tells.
const (
	EventAccessDenied       = "access_denied"        // a guard refused a signed-in user
	EventClaimsUnreadable   = "claims_unreadable"    // an access token's claims, or its roles alone, could not be read
	EventCookieRefused      = "cookie_refused"       // a presented session is none: Reason tells why
	EventCookiesDropped     = "cookies_dropped"      // a login page was requested over plain HTTP, where browsers drop Secure cookies
	EventCrossOriginRefused = "cross_origin_refused" // an unsafe request came from another origin
	EventLoginRefused       = "login_refused"        // wrong credentials, or a wrong code
	EventLoginUnavailable   = "login_unavailable"    // a login was not carried out: the auth service failed, or the session could not be kept
	EventRecordCorrupt      = "record_corrupt"       // the store returned what is not the session's record
	EventRefreshUnavailable = "refresh_unavailable"  // the auth service did not renew; the refresh token is still good
	EventRefreshUnknown     = "refresh_unknown"      // it cannot be told whether it renewed
	EventRevokeFailed       = "revoke_failed"        // the auth service did not take tokens back
	EventSessionEnded       = "session_ended"        // Reason tells why
	EventSessionRefreshed   = "session_refreshed"    // new tokens
	EventSessionStarted     = "session_started"      // a user has signed in
	EventStoreUnavailable   = "store_unavailable"    // the store did not answer
	EventTokensLost         = "tokens_lost"          // new tokens could not be written until the end: an alarm
	EventTokensUnwritten    = "tokens_unwritten"     // new tokens could not be written yet, or not into cookies; they are kept
)

// Event is something that an operator wants to see. It never holds a secret.
type Event struct {
	// Name is one of the Event constants.
	Name string

	// Reason tells apart what can have several causes: why a session ended
	// ("logout", "logout_all", "replaced_by_login", "refresh_refused",
	// "refresh_outcome_unknown", "refresh_other_user", "idle_timeout",
	// "lifetime", "revoked", "login_not_delivered"), or why a cookie was
	// refused: "unreadable", or one of those.
	Reason string

	// Session is a hash of the session's ID, the same in all of its events.
	// Nothing can be opened or found with it. Empty where the event is about
	// no session.
	Session string

	// UserID is the user's whose session it is. Empty where the event is about
	// no session, or where that could not be read. It is not logged.
	UserID string

	// RetryAfter is when the next try may be made, 0 where there is none.
	RetryAfter time.Duration

	// Err is the cause, where there is one.
	Err error
}

// event logs e and hands it to Config.OnEvent. r is a state of the session, nil
// if e is about none.
//
// The hook and the log may use the session that is in ctx: it must not be
// locked, and must have changed already if the event says so.
func (m *Manager) event(ctx context.Context, level slog.Level, r *keeper.Record, e Event) {
	if r != nil {
		e.Session, e.UserID = r.Key[:min(16, len(r.Key))], r.UserID
	}
	if m.cfg.OnEvent != nil {
		guard.Call(m.cfg.Logger, "Config.OnEvent", func() { m.cfg.OnEvent(ctx, e) })
	}
	guard.Call(m.cfg.Logger, "Config.Logger", func() { m.logEvent(ctx, level, e) })
}

func (m *Manager) logEvent(ctx context.Context, level slog.Level, e Event) {
	if !m.cfg.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 4)
	if e.Session != "" {
		attrs = append(attrs, slog.String("session", e.Session))
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

// keeperEvent is event for what the keeper reports.
func (m *Manager) keeperEvent(ctx context.Context, level slog.Level, r *keeper.Record, e keeper.Event) {
	m.event(ctx, level, r, Event{Name: e.Name, Reason: e.Reason, RetryAfter: e.RetryAfter, Err: e.Err})
}
