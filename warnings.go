package session

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/synmetrix/session/internal/guard"
)

// maxKeyAge is the age of the newest key above which New logs a warning.
const maxKeyAge = 365 * 24 * time.Hour

// unsafeSetting is the message of the warnings of New.
const unsafeSetting = "unsafe_setting"

// warning describes a setting that is valid but weakens the protection of sessions.
type warning struct{ field, why string }

// warnings returns the warnings that New logs.
func (c Config) warnings() []warning {
	var all []warning
	if c.Cookie.Insecure {
		all = append(all, warning{"Cookie.Insecure", "browsers also send the cookies over plain HTTP, where others can read them; use it for local work only"})
	}
	// This package does not know the addresses of Auth and Verifier, so these report the
	// warnings about them.
	for _, v := range []struct {
		field string
		value any
	}{{"Auth", c.Auth}, {"Verifier", c.Verifier}} {
		if w, ok := v.value.(interface{ Warnings() []string }); ok {
			for _, why := range w.Warnings() {
				all = append(all, warning{v.field, why})
			}
		}
	}
	if made := c.Keys[0].made; made != 0 {
		switch age := c.Now().Sub(time.Unix(made, 0)); {
		case age >= maxKeyAge:
			all = append(all, warning{"Keys", fmt.Sprintf("the newest key is %d days old; put a new key first, and remove this one after Lifetime", int(age.Hours()/24))})
		case age < -48*time.Hour: // the day may be from another time zone
			all = append(all, warning{"Keys", "the day of the newest key is in the future, so that its age is unknown"})
		}
	}
	return all
}

// warn logs the warnings of New.
func (m *Manager) warn() {
	guard.Call(m.cfg.Logger, "Config.Auth", func() {
		for _, w := range m.cfg.warnings() {
			m.cfg.Logger.Warn(unsafeSetting, slog.String("setting", "Config."+w.field), slog.String("why", w.why))
		}
	})
}
