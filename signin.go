package session

import (
	"time"

	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/keeper"
	"github.com/synmetrix/session/internal/seal"
)

// SignInOption is an option of a sign-in. If the sign-in has a second step, such as a
// one-time code, pass the options to the first step. The cookie of the pending sign-in
// keeps them.
type SignInOption func(*signInOptions)

// signInOptions are the options of a sign-in. The zero value has none.
type signInOptions struct {
	remember remember
	lifetime time.Duration // 0: as configured
	returnTo string
}

// remember determines whether the cookies of a session outlive the browser.
type remember int

const (
	asConfigured remember = iota
	remembered
	forgotten
)

// WithRemember decides whether the user stays signed in when the browser is closed, for
// example by a checkbox "remember me". It applies to all cookies of the session until the
// session ends. Browsers that restore their windows also restore cookies, so combine
// WithRemember(false) with a short [WithLifetime]. Default: Cookie.NonPersistent decides.
func WithRemember(remember bool) SignInOption {
	return func(o *signInOptions) {
		o.remember = forgotten
		if remember {
			o.remember = remembered
		}
	}
}

// WithLifetime ends the session d after the sign-in, even if it is in use. Config.Lifetime
// is the maximum. If d is negative, for example because it is the time until a date that has
// passed, the session ends at once. Default (0): Config.Lifetime.
func WithLifetime(d time.Duration) SignInOption {
	if d != 0 {
		d = max(d, time.Millisecond) // the unit in which it is stored, where 0 is the default
	}
	return func(o *signInOptions) { o.lifetime = d }
}

// WithReturnTo keeps the address to which the app redirects the browser after a sign-in
// with a second step. [Manager.PendingLogin] and [Manager.PendingLink] return the address,
// so that the client need not send it again. The address is lost if the cookie has no room
// for it. The Manager does not check the address: package middleware checks it before it
// redirects.
func WithReturnTo(address string) SignInOption {
	return func(o *signInOptions) { o.returnTo = address }
}

func newSignInOptions(opts []SignInOption) signInOptions {
	if len(opts) == 0 {
		return signInOptions{}
	}
	var o signInOptions
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func (o signInOptions) encode(e *seal.Encoder) {
	e.Uint(uint64(o.remember))
	e.Duration(o.lifetime)
	e.Text(o.returnTo)
}

func decodeSignInOptions(d *seal.Decoder) signInOptions {
	return signInOptions{remember: remember(d.Count(uint64(forgotten))), lifetime: d.Duration(), returnTo: d.Text()}
}

// apply sets the options of the session r. An option that is not set is copied from
// continued, the session that r continues, or nil.
func (o signInOptions) apply(r *keeper.Record, continued *keeper.Record, c Cookie) {
	if continued != nil && o.remember == asConfigured && o.lifetime == 0 {
		r.Lifetime, r.Transient = continued.Lifetime, continued.Transient
		return
	}
	r.Lifetime, r.Transient = o.lifetime, o.remember == forgotten
	if o.remember == asConfigured {
		r.Transient = c.NonPersistent
	}
}

// ageOf returns the Max-Age of a cookie that belongs to no session and lasts for d.
func (m *Manager) ageOf(d time.Duration) time.Duration {
	if m.cfg.Cookie.NonPersistent {
		return cookies.UntilClosed
	}
	return d
}

// cookieAge returns the Max-Age of the cookies of r.
func (m *Manager) cookieAge(r *keeper.Record) time.Duration {
	if r.Transient {
		return cookies.UntilClosed
	}
	return max(m.keeper.LifetimeEnd(r).Sub(m.now()), time.Second)
}
