package session

import (
	"context"
	"log/slog"
)

// The messages of the Manager's log are these names; they do not change.
// Each comes with the attribute "session", a hash that neither reveals the
// session ID nor opens its record, where it is about one session.
const (
	eventStarted            = "session_started"
	eventRefreshed          = "session_refreshed"
	eventRefreshUnavailable = "refresh_unavailable" // the service did not renew; the token is still good
	eventRefreshUnknown     = "refresh_unknown"     // it cannot be told whether it did
	eventTokensUnwritten    = "tokens_unwritten"    // renewed, and the store does not take them yet
	eventTokensLost         = "tokens_lost"         // renewed, and given up
	eventEnded              = "session_ended"       // with a reason
	eventRevokeFailed       = "revoke_failed"       // the service did not take tokens back
	eventCookieRefused      = "cookie_refused"      // with a reason
	eventClaimsUnreadable   = "claims_unreadable"   // with a reason
	eventLoginRefused       = "login_refused"
	eventLoginUnavailable   = "login_unavailable"
	eventAccessDenied       = "access_denied"
	eventCrossOrigin        = "cross_origin_refused"
	eventStoreUnavailable   = "store_unavailable"
	eventRecordCorrupt      = "record_corrupt"
)

// event logs one of the names above. key is the record's, empty if the event
// is about no session.
func (m *Manager) event(ctx context.Context, level slog.Level, name, key string, attrs ...slog.Attr) {
	if !m.log.Enabled(ctx, level) {
		return
	}
	if key != "" {
		attrs = append(attrs, slog.String("session", key[:16]))
	}
	m.log.LogAttrs(ctx, level, name, attrs...)
}
