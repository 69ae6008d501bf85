package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/throttle"
)

// Limits limit how often users and visitors may guess passwords and codes, and how many
// e-mails they may cause. Each limit is a number of attempts in Window. Zero selects the
// default, a negative number switches the limit off, and the maximum is 1,000.
//
// An address is that of [Manager.ClientAddr]; all addresses of an IPv6 network of 64 bits
// count as one. If the address is unknown, the limits for addresses do not apply. Behind a
// proxy, set Config.TrustedProxies: otherwise all users have the proxy's address.
//
// The processes that share Config.Store or Config.Coordinator count together. Without a
// shared store, and while it is down, each process counts by itself. The keys of the
// counters are keyed hashes, and a counter holds times only.
type Limits struct {
	// Window is the time in which attempts are counted. Default (0): 15 min.
	Window time.Duration

	// Guesses is the number of wrong passwords for one account from one address. It is also
	// the number of wrong codes, which have a separate counter. A right password clears the
	// first counter, and a right code the second. Default: 10.
	Guesses int

	// AddressGuesses is the number of wrong passwords, or codes, from one address for
	// all accounts together. Default: 100.
	AddressGuesses int

	// AccountGuesses is the number of wrong passwords, or codes, for one account from
	// all addresses together. A browser in which the user has signed in before is
	// exempt, so that others cannot lock the user out. Default: 100.
	AccountGuesses int

	// Mails is the number of e-mails to one address: links, resets of a password, changes
	// of the address, and registrations. E-mails that the service does not send, because
	// there is no account, count, too. Default: 5.
	Mails int

	// AddressMails is the number of e-mails that clients with one address may cause.
	// Default: 20.
	AddressMails int
}

func (l Limits) withDefaults() Limits {
	def := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	def(&l.Guesses, 10)
	def(&l.AddressGuesses, 100)
	def(&l.AccountGuesses, 100)
	def(&l.Mails, 5)
	def(&l.AddressMails, 20)
	if l.Window == 0 {
		l.Window = 15 * time.Minute
	}
	return l
}

func (l Limits) validate() error {
	for _, n := range []struct {
		field string
		v     int
	}{
		{"Guesses", l.Guesses}, {"AddressGuesses", l.AddressGuesses}, {"AccountGuesses", l.AccountGuesses},
		{"Mails", l.Mails}, {"AddressMails", l.AddressMails},
	} {
		if n.v > throttle.MaxLimit {
			return invalid("Limits."+n.field, "is %d; at most %d are allowed", n.v, throttle.MaxLimit)
		}
	}
	if l.Window < 0 || l.Window > 24*time.Hour {
		return invalid("Limits.Window", "is %v; it must be positive and at most 24h", l.Window)
	}
	return nil
}

// TooManyAttemptsError reports that one of Config.Limits is reached. The auth service
// was not called. errors.Is reports it as [ErrTooManyAttempts].
type TooManyAttemptsError struct {
	// RetryAfter is the time until another attempt is allowed.
	RetryAfter time.Duration
}

// Error returns a text with the time.
func (e *TooManyAttemptsError) Error() string {
	return fmt.Sprintf("session: %v; retry after %v", ErrTooManyAttempts, e.RetryAfter.Round(time.Second))
}

// Is reports whether target is ErrTooManyAttempts.
func (e *TooManyAttemptsError) Is(target error) bool { return target == ErrTooManyAttempts }

// maxCounters bounds the number of counters in the memory of a process. Attempts that would
// need more are not counted.
const maxCounters = 1 << 17

// newCounters returns the counters of a Manager.
func newCounters(cfg Config, k *keeper.Keeper) *throttle.Counters {
	return throttle.New(throttle.Config{
		Shared: k.Shared(), MaxLocal: maxCounters,
		Window: cfg.Limits.Window, Patience: cfg.AuthTimeout, Now: cfg.Now,
	})
}

// The kinds of attempts, which are counted separately.
const (
	passwordGuess = "password"
	codeGuess     = "code"
	mailRequest   = "mail"
)

// limit returns a limit for all attempts with the same parts, such as a kind of attempts,
// an account and an address.
func (m *Manager) limit(limit int, parts ...string) throttle.Limit {
	return throttle.Limit{Key: m.secrets[0].Counter(parts...), Max: limit}
}

// clientNetwork returns the address of the request's client for the limits, "" if it is
// unknown.
func (m *Manager) clientNetwork(x *Exchange) string {
	addr := m.clientAddr(x.peer, x.header)
	switch {
	case !addr.IsValid():
		return ""
	case addr.Is6():
		return netip.PrefixFrom(addr, 64).Masked().String()
	}
	return addr.String()
}

// guess counts a guess of a password or a code for an account. email is the account's
// e-mail address, "" if it is not known. The error is a [*TooManyAttemptsError]. The caller
// must call noteGuess.
func (m *Manager) guess(ctx context.Context, x *Exchange, kind, account, email string) (*throttle.Attempt, error) {
	l, network := m.cfg.Limits, m.clientNetwork(x)
	limits := make([]throttle.Limit, 0, 3)
	if network != "" {
		limits = append(limits, m.limit(l.AddressGuesses, kind, "address", network))
	}
	if !x.isKnownDevice(account, email) {
		limits = append(limits, m.limit(l.AccountGuesses, kind, "account", account))
	}
	if network != "" {
		both := m.limit(l.Guesses, kind, "both", account, network)
		both.Clear = true
		limits = append(limits, both)
	}
	return m.attempt(ctx, limits)
}

// attempt counts an attempt.
func (m *Manager) attempt(ctx context.Context, limits []throttle.Limit) (*throttle.Attempt, error) {
	a, wait := m.counters.Take(ctx, limits...)
	if wait > 0 {
		err := &TooManyAttemptsError{RetryAfter: wait}
		m.event(ctx, slog.LevelWarn, nil, Event{Name: EventTooManyAttempts, RetryAfter: wait})
		return nil, err
	}
	return a, nil
}

// noteGuess records the result of a guess. A guess does not count if the service failed.
func noteGuess(ctx context.Context, a *throttle.Attempt, err error) {
	switch {
	case err == nil, errors.Is(err, auth.ErrSecondFactor):
		a.Done(ctx, throttle.Clears)
	case errors.Is(err, auth.ErrRefused):
		a.Done(ctx, throttle.Counts)
	default:
		a.Done(ctx, throttle.Undone)
	}
}

// countMail counts an e-mail to the address of an account. The error is a
// [*TooManyAttemptsError]. The caller must call noteMail.
func (m *Manager) countMail(ctx context.Context, x *Exchange, account string) (*throttle.Attempt, error) {
	l, network := m.cfg.Limits, m.clientNetwork(x)
	var limits []throttle.Limit
	if network != "" {
		limits = append(limits, m.limit(l.AddressMails, mailRequest, "address", network))
	}
	return m.attempt(ctx, append(limits, m.limit(l.Mails, mailRequest, "account", account)))
}

// noteMail records the result of a request for an e-mail. The e-mail counts unless the
// service has certainly not sent it.
func noteMail(ctx context.Context, a *throttle.Attempt, err error) {
	if errors.Is(err, auth.ErrUnavailable) && !errors.Is(err, auth.ErrOutcomeUnknown) {
		a.Done(ctx, throttle.Undone)
		return
	}
	a.Done(ctx, throttle.Counts)
}
