package telemetry

import (
	"context"
	"errors"
	"slices"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/store"
)

// The values of the labels, except other. They are the names in docs/events.md.
var (
	eventNames = []string{
		session.EventAccessDenied, session.EventAccountRefused, session.EventAccountUnavailable,
		session.EventBearerRefused, session.EventClaimsUnreadable, session.EventCookieRefused, session.EventCookiesDropped,
		session.EventCrossOriginRefused, session.EventLoginRefused, session.EventLoginUnavailable,
		session.EventPasswordChanged, session.EventRecordCorrupt, session.EventRefreshUnavailable,
		session.EventRefreshUnknown, session.EventRevokeFailed, session.EventSessionEnded,
		session.EventSessionRefreshed, session.EventSessionStarted, session.EventStoreUnavailable,
		session.EventTokensLost, session.EventTokensUnwritten, session.EventTooManyAttempts,
		session.EventValuesLost, session.EventVerifierUnavailable,
	}
	endReasons = []string{
		"logout", "logout_all", "logout_elsewhere", "replaced_by_login", "refresh_refused", "refresh_outcome_unknown",
		"refresh_other_user", "idle_timeout", "lifetime", "login_not_delivered", "actor_ended", "max_sessions", "revoked",
	}
	refusalReasons = append([]string{
		"unreadable", session.EventAccessDenied, session.EventAccountRefused, session.EventBearerRefused, session.EventCrossOriginRefused,
		session.EventLoginRefused, session.EventTooManyAttempts,
	}, endReasons...)

	signInResults  = []string{"success", "refused", "unavailable"}
	refreshResults = []string{"refreshed", "refused", "outcome_unknown", "other_user", "unavailable", "unknown"}

	authOps = []string{
		"login", "login_totp", "refresh", "logout", "register", "send_magic_link", "change_password",
		"send_password_reset", "reset_password", "change_email", "send_email_change", "confirm_email_change",
		"generate_mfa", "enable_mfa", "disable_mfa", "delete_account",
	}
	storeOps = []string{"get", "put", "delete", "list"}
)

// other is the value for names that this version of the package does not know.
const other = "other"

// known returns value if it is one of values, and other otherwise.
func known(values []string, value string) string {
	if slices.Contains(values, value) {
		return value
	}
	return other
}

// result is the label value for errors that wrap err.
type result struct {
	err  error
	name string
}

// authResults are in the order of precedence: errors may wrap several.
var authResults = []result{
	{context.Canceled, "canceled"},
	{auth.ErrSecondFactor, "second_factor"},
	{auth.ErrVerificationPending, "verification_pending"},
	{auth.ErrRefused, "refused"},
	{auth.ErrAccessTokenRefused, "refused"},
	{auth.ErrRateLimited, "rate_limited"},
	{auth.ErrInvalidResponse, "invalid_response"},
	{context.DeadlineExceeded, "timeout"},
	{auth.ErrUnavailable, "unavailable"},
}

var storeResults = []result{
	{context.Canceled, "canceled"},
	{store.ErrNotFound, "not_found"},
	{store.ErrConflict, "conflict"},
	{store.ErrFull, "full"},
	{context.DeadlineExceeded, "timeout"},
}

// authResult returns the result of a call of the auth service.
func authResult(err error) string { return resultOf(authResults, err, other) }

// storeResult returns the result of a call of the store. Every error that is not part of
// the contract means that the call has failed.
func storeResult(err error) string { return resultOf(storeResults, err, "failed") }

func resultOf(results []result, err error, unknown string) string {
	if err == nil {
		return "ok"
	}
	for _, r := range results {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return unknown
}

// isResponse reports whether a result is a response of a service or a store that works.
func isResponse(result string) bool {
	return slices.Contains([]string{"ok", "refused", "second_factor", "verification_pending", "not_found", "conflict", "canceled"}, result)
}
