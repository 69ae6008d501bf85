package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/internal/testkit"
)

// Types that hold a secret redact it whenever they are printed, logged or
// marshaled: alone, by pointer, and inside other types.
func TestRedaction(t *testing.T) {
	key := session.GenerateKey()
	raw, err := base64.RawURLEncoding.DecodeString(key.Encode())
	if err != nil {
		t.Fatal(err)
	}
	a := newApp(t, func(c *session.Config) { c.Keys = []session.SecretKey{key} })
	b := a.withTheme("a-value-of-the-session")
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Cookie", b.header())
	r, x := testkit.Begin(a.Manager, r)
	s := session.FromContext(r.Context())
	access, err := s.AccessToken(r.Context())
	if err != nil {
		t.Fatal(err)
	}
	tokens := auth.Tokens{AccessToken: access, RefreshToken: "00000000-0000-4000-8000-000000000001"}
	factor := &auth.SecondFactorError{Ticket: "the-ticket-is-a-secret"}
	failure := &auth.Error{
		Op: "login", Code: "unclear", Message: "the-message-of-the-service", StatusCode: 400, Err: auth.ErrRefused,
	}
	secrets := []string{
		key.Encode(), string(raw), b.values["__Host-session"], b.values["__Host-session-state"], access, tokens.RefreshToken,
		factor.Ticket, failure.Message, "a-value-of-the-session",
	}
	secrets = append(secrets, strings.Split(access, ".")...)

	for name, v := range map[string]any{
		"SecretKey":                  key,
		"*SecretKey":                 &key,
		"Config":                     session.Config{Keys: []session.SecretKey{key}},
		"Tokens":                     tokens,
		"*Tokens":                    &tokens,
		"*Session":                   s,
		"anonymous *Session":         session.FromContext(context.Background()),
		"*Manager":                   a.Manager,
		"*Exchange":                  x,
		"context":                    r.Context(),
		"SecondFactorError":          *factor,
		"*SecondFactorError":         factor,
		"AuthError":                  *failure,
		"*AuthError":                 failure,
		"wrapped SecondFactorError":  fmt.Errorf("login: %w", factor),
		"wrapped AuthError":          fmt.Errorf("login: %w", failure),
		"UnavailableError":           session.UnavailableError{Err: failure},
		"*UnavailableError":          &session.UnavailableError{Err: failure},
		"Event":                      session.Event{Name: session.EventLoginRefused, Err: failure},
		"Claims":                     s.Claims(),
		"Key":                        favorite,
		"AuthError with a cause":     &auth.Error{Op: "login", Err: factor},
		"AuthError that is all zero": &auth.Error{},
	} {
		if name == "context" {
			// A context prints its own text only.
			noSecrets(t, name, fmt.Sprint(v), secrets)
			continue
		}
		for form, wrapped := range map[string]any{
			"alone": v, "in a struct": struct{ V any }{v}, "in a slice": []any{v}, "in a map": map[string]any{"v": v},
		} {
			form = name + " " + form
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X"} {
				noSecrets(t, form+" as "+verb, fmt.Sprintf(verb, wrapped), secrets)
			}
			noSecrets(t, form+" as Sprint", fmt.Sprint(wrapped)+fmt.Sprintln(wrapped), secrets)
			if text, err := json.Marshal(wrapped); err == nil {
				noSecrets(t, form+" as JSON", string(text), secrets)
			} else {
				noSecrets(t, form+" as a JSON error", err.Error(), secrets)
			}
			var log bytes.Buffer
			for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
				logger := slog.New(handler)
				logger.Info("a", "v", wrapped)
				logger.With("v", wrapped).WithGroup("g").Info("b", slog.Any("v", wrapped))
			}
			noSecrets(t, form+" in a log", log.String(), secrets)
		}
	}
	if err := x.Commit(map[string][]string{}); err != nil {
		t.Error(err)
	}
	noSecrets(t, "the log of it all", fmt.Sprint(a.log.lines), secrets)
}

func noSecrets(t *testing.T, what, text string, secrets []string) {
	t.Helper()
	for i, secret := range secrets {
		for _, form := range []string{
			secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
			base64.StdEncoding.EncodeToString([]byte(secret)), strings.Trim(fmt.Sprint([]byte(secret)), "[]"),
		} {
			if strings.Contains(text, form) {
				t.Errorf("%s gives secret %d away: %.200s", what, i, text)
				return
			}
		}
	}
}

// The redacted error still has the call, the code and the status.
func TestErrorTexts(t *testing.T) {
	for err, want := range map[error]string{
		&auth.SecondFactorError{Ticket: "t"}:                                             "second factor needed",
		&auth.Error{Op: "login", Code: "unclear", StatusCode: 400, Err: auth.ErrRefused}: "auth service: login: unclear (status 400): refused by the auth service",
		&auth.Error{}: "auth service",
		&session.UnavailableError{Err: auth.ErrUnavailable}: "session: session unavailable: auth service unavailable",
	} {
		for _, got := range []string{err.Error(), fmt.Sprint(err), fmt.Sprintf("%+v", err)} {
			if got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "error", err)
		if !strings.Contains(log.String(), `error="`+want+`"`) {
			t.Errorf("logged as %s, want %s", log.String(), want)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "session", session.FromContext(context.Background()))
	if !strings.Contains(log.String(), "session.signed_in=false") {
		t.Errorf("a session is logged as %s", log.String())
	}
}
