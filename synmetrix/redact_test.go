package synmetrix_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/synmetrix"
)

// guarded is a round tripper with a secret. It is not a pointer, so that printing
// the fields of the struct that holds it prints the secret.
type guarded struct {
	http.RoundTripper
	secret string
}

// inside returns v by itself, and inside pointers, structs, slices and maps.
func inside[T any](v T) []any {
	return []any{v, &v, struct{ V T }{v}, struct{ V *T }{&v}, struct{ V any }{v}, []T{v}, []any{v}, map[string]T{"v": v}}
}

// Types that hold secrets do not reveal them when they are printed, logged or
// marshaled: by themselves, by pointer, or inside other values.
func TestRedaction(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-text"
	registration := synmetrix.Registration{
		Email: email, Password: secret, AllowedRoles: []string{secret}, Data: map[string]any{"pin": secret, secret: []byte(secret)},
	}
	key := auth.TOTPKey{Secret: secret, ImageURL: "data:image/png;base64," + secret}
	proxied := synmetrix.NewTransport()
	proxied.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example", User: url.UserPassword("user", secret)})
	proxied.ProxyConnectHeader = http.Header{"Proxy-Authorization": {secret}}
	client := synmetrix.NewClient("http://auth.example", synmetrix.WithTransport(guarded{proxied, secret}))
	source := synmetrix.NewTokenSource(client, auth.Tokens{AccessToken: validAccess, RefreshToken: oldRefresh}, synmetrix.TokenSourceConfig{})

	tests := map[string]struct {
		forms  []any // the first is the value by itself
		text   string
		json   string
		logged string
	}{
		"Registration":   {inside(registration), "synmetrix.Registration[redacted]", `"[redacted]"`, "[redacted]"},
		"*Registration":  {inside(&registration), "synmetrix.Registration[redacted]", `"[redacted]"`, "[redacted]"},
		"TOTPKey":        {inside(key), "auth.TOTPKey[redacted]", `"[redacted]"`, "[redacted]"},
		"*TOTPKey":       {inside(&key), "auth.TOTPKey[redacted]", `"[redacted]"`, "[redacted]"},
		"*TokenSource":   {inside(source), "synmetrix.TokenSource[redacted]", `"[redacted]"`, "[redacted]"},
		"Client":         {inside(*client), "synmetrix.Client(http://auth.example)", `{}`, "synmetrix.Client(http://auth.example)"},
		"*Client":        {inside(client), "synmetrix.Client(http://auth.example)", `{}`, "synmetrix.Client(http://auth.example)"},
		"*Client, proxy": {inside(synmetrix.NewClient("http://auth.example", synmetrix.WithTransport(proxied))), "synmetrix.Client(http://auth.example)", `{}`, "synmetrix.Client(http://auth.example)"},
	}
	hidden := append(strings.Split(validAccess, "."), secret, email, oldRefresh)
	verbs := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			alone := test.forms[0]
			for _, verb := range verbs {
				if got := fmt.Sprintf(verb, alone); got != test.text {
					t.Errorf("%s prints %s, want %s", verb, got, test.text)
				}
			}
			if got, err := json.Marshal(alone); err != nil || string(got) != test.json {
				t.Errorf("marshals to %s, error %v, want %s", got, err, test.json)
			}
			var line bytes.Buffer
			slog.New(slog.NewTextHandler(&line, nil)).Info("m", "v", alone)
			if !strings.HasSuffix(line.String(), " v="+test.logged+"\n") {
				t.Errorf("logged as %s, want %s", &line, test.logged)
			}
			for _, v := range test.forms {
				var out bytes.Buffer
				for _, verb := range verbs {
					fmt.Fprintf(&out, verb+"\n", v)
				}
				encoded, err := json.Marshal(v)
				fmt.Fprintln(&out, v, string(encoded), err)
				for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
					slog.New(handler).With("v", v).WithGroup("g").Info("m", "v", v)
				}
				for i, s := range hidden {
					for _, spelling := range []string{
						s, fmt.Sprintf("%x", s), fmt.Sprintf("%X", s), strings.Trim(fmt.Sprint([]byte(s)), "[]"),
						base64.StdEncoding.EncodeToString([]byte(s)),
					} {
						if strings.Contains(out.String(), spelling) {
							t.Errorf("%T reveals secret %d:\n%s", v, i, &out)
						}
					}
				}
			}
		})
	}
}
