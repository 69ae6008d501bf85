package session

import (
	"net/http"
	"slices"

	"github.com/synmetrix/session/internal/cookies"
	"github.com/synmetrix/session/internal/seal"
)

// The device cookie of a browser lists the accounts that have signed in there, as keyed
// hashes, so that guesses from other browsers do not lock its user out; see [Limits]. The
// cookie stays after a sign-out. It gives no access.

// maxDeviceAccounts is how many accounts the cookie lists. The oldest are removed.
const maxDeviceAccounts = 8

// isKnownDevice reports whether the browser has signed in to an account before. email is
// the account's address, "" if it is not known. With the address, accounts that were hashed
// with an older key are found, too.
func (x *Exchange) isKnownDevice(account, email string) bool {
	return slices.ContainsFunc(x.deviceAccounts(), func(a string) bool { return a == account || x.m.isAccount(a, email) })
}

// noteAccount records the account whose correct credentials the request has presented.
func (x *Exchange) noteAccount(account string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.account = account
}

// deviceAccounts returns the accounts in the presented device cookie.
func (x *Exchange) deviceAccounts() []string {
	name := x.m.jar.Device
	if !x.presented.Has(name) {
		return nil
	}
	for sealed := range x.m.jar.Candidates(x.presented, seal.Device, []string{name}) {
		if plain, _, ok := x.m.openText(seal.Device, name, sealed); ok {
			d := seal.NewDecoder(plain)
			accounts := make([]string, d.Count(maxDeviceAccounts))
			for i := range accounts {
				accounts[i] = d.Text()
			}
			if d.Done() {
				return accounts
			}
		}
	}
	return nil
}

// commitDevice adds the account that has just signed in to the device cookie.
func (x *Exchange) commitDevice(h http.Header, account string) {
	others := slices.DeleteFunc(x.deviceAccounts(), func(a string) bool { return a == account })
	others = others[:min(len(others), maxDeviceAccounts-1)]
	e := seal.NewEncoder()
	defer e.Free()
	e.Uint(uint64(1 + len(others)))
	e.Text(account)
	for _, a := range others {
		e.Text(a)
	}
	_ = x.set(h, []string{x.m.jar.Device}, seal.Device, e.B, x.m.ageOf(cookies.MaxAge)) // it is short
}
