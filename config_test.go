package session_test

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store/memstore"
)

// notReadyAuth is an auth service whose Validate method returns an error.
type notReadyAuth struct{ *stubAuth }

func (notReadyAuth) Validate() error { return errors.New("no address") }

// An invalid setting is an error of New, which names the field and the allowed
// values.
func TestWrongConfig(t *testing.T) {
	key := session.GenerateKey()
	for _, tt := range []struct {
		name  string
		set   func(*session.Config)
		field string
		says  string
	}{
		{"no auth service", func(c *session.Config) { c.Auth = nil }, "Auth", "required"},
		{"an auth service that is not ready", func(c *session.Config) { c.Auth = notReadyAuth{} }, "Auth", "no address"},
		{"no keys", func(c *session.Config) { c.Keys = nil }, "Keys", "at least one"},
		{"the zero key", func(c *session.Config) { c.Keys = []session.SecretKey{{}} }, "Keys", "key 1 is empty"},
		{"an empty second key", func(c *session.Config) { c.Keys = []session.SecretKey{key, {}} }, "Keys", "key 2"},
		{"a repeated key", func(c *session.Config) { c.Keys = []session.SecretKey{key, key} }, "Keys", "key 2 is a repetition"},
		{"AuthTimeout", func(c *session.Config) { c.AuthTimeout = -1 }, "AuthTimeout", "negative"},
		{"a long AuthTimeout", func(c *session.Config) { c.AuthTimeout = math.MaxInt64 / 2 }, "AuthTimeout", "at most 24h"},
		{"a long StoreTimeout", func(c *session.Config) { c.StoreTimeout = math.MaxInt64 }, "StoreTimeout", "at most 24h"},
		{"CacheBytes", func(c *session.Config) { c.CacheBytes = -1 }, "CacheBytes", "negative"},
		{"MaxValueBytes", func(c *session.Config) { c.MaxValueBytes = -1 }, "MaxValueBytes", "negative"},
		{"Grace", func(c *session.Config) { c.Grace = -time.Second }, "Grace", "negative"},
		{"IdleTimeout", func(c *session.Config) { c.IdleTimeout = -1 }, "IdleTimeout", "negative"},
		{"Lifetime", func(c *session.Config) { c.Lifetime, c.IdleTimeout = -1, time.Hour }, "Lifetime", "negative"},
		{"RefreshBefore", func(c *session.Config) { c.RefreshBefore = -1 }, "RefreshBefore", "negative"},
		{"StoreTimeout", func(c *session.Config) { c.StoreTimeout = -1 }, "StoreTimeout", "negative"},
		{"a lifetime under the idle timeout", func(c *session.Config) { c.Lifetime, c.IdleTimeout = time.Hour, 2*time.Hour }, "Lifetime", "shorter than IdleTimeout"},
		{"an idle timeout over the default lifetime", func(c *session.Config) { c.IdleTimeout = 31 * 24 * time.Hour }, "Lifetime", "shorter than IdleTimeout"},
		{"a lifetime that no browser keeps", func(c *session.Config) { c.Lifetime = 401 * 24 * time.Hour }, "Lifetime", "9600h"},
		{"a coordinator and a store", func(c *session.Config) { c.Store, c.Coordinator = memstore.New(), memstore.New() }, "Coordinator", "nil if Store is set"},
		{"a relative base path", func(c *session.Config) { c.BasePath = "app" }, "BasePath", "/app"},
		{"a base path elsewhere", func(c *session.Config) { c.BasePath = "//evil.example" }, "BasePath", "path"},
		{"a base address", func(c *session.Config) { c.BasePath = "https://a.example/app" }, "BasePath", "path"},
		{"a base address with a user", func(c *session.Config) { c.BasePath = "https://me:secret@a.example/app" }, "BasePath", "path"},
		{"a base path with a backslash", func(c *session.Config) { c.BasePath = `/\evil.example` }, "BasePath", "escaping"},
		{"a base path with dots", func(c *session.Config) { c.BasePath = "/app/.." }, "BasePath", "path"},
		{"a base path with a query", func(c *session.Config) { c.BasePath = "/app?x" }, "BasePath", "escaping"},
		{"a base path with an escape", func(c *session.Config) { c.BasePath = "/%61pp" }, "BasePath", "escaping"},
		{"a base path with a line break", func(c *session.Config) { c.BasePath = "/a\r\nSet-Cookie: x" }, "BasePath", "escaping"},
		{"a relative login path", func(c *session.Config) { c.LoginPath = "login" }, "LoginPath", "slash"},
		{"a login path elsewhere", func(c *session.Config) { c.LoginPath = "//evil.example/login" }, "LoginPath", "slash"},
		{"a login address", func(c *session.Config) { c.LoginPath = "https://a.example/login" }, "LoginPath", "slash"},
		{"a login address with a user", func(c *session.Config) { c.LoginPath = "https://me:secret@a.example/login" }, "LoginPath", "slash"},
		{"a login path with a query", func(c *session.Config) { c.LoginPath = "/login?a=b" }, "LoginPath", "path"},
		{"a login path with a backslash", func(c *session.Config) { c.LoginPath = `/\evil.example` }, "LoginPath", "path"},
		{"an origin without a scheme", func(c *session.Config) { c.TrustedOrigins = []string{"https://a.example", "app.example.org"} }, "TrustedOrigins", "origin 2: an origin is a scheme and a host"},
		{"an origin with a wildcard", func(c *session.Config) { c.TrustedOrigins = []string{"https://*.example.org"} }, "TrustedOrigins", "one host"},
		{"an origin in capitals", func(c *session.Config) { c.TrustedOrigins = []string{"https://App.example.org"} }, "TrustedOrigins", "browsers send it: https://app.example.org"},
		{"an origin with its scheme's port", func(c *session.Config) { c.TrustedOrigins = []string{"http://app.example.org:80"} }, "TrustedOrigins", "browsers send it: http://app.example.org"},
		{"an origin with a port too high", func(c *session.Config) { c.TrustedOrigins = []string{"http://app.example.org:65536"} }, "TrustedOrigins", "65535"},
		{"an origin with a user", func(c *session.Config) { c.TrustedOrigins = []string{"https://me:secret@app.example.org"} }, "TrustedOrigins", "a scheme and a host"},
		{"an origin with a user and a path", func(c *session.Config) { c.TrustedOrigins = []string{"https://me:secret@app.example.org/"} }, "TrustedOrigins", "a scheme and a host"},
		{"an origin with a user, without a scheme", func(c *session.Config) { c.TrustedOrigins = []string{"me:secret@app.example.org"} }, "TrustedOrigins", "a scheme and a host"},
		{"an origin with a path", func(c *session.Config) { c.TrustedOrigins = []string{"https://app.example.org/x"} }, "TrustedOrigins", "browsers send it: https://app.example.org"},
		{"an embedder without a scheme", func(c *session.Config) { c.Embedders = []string{"https://a.example", "shop.example.com"} }, "Embedders", "origin 2: an origin is a scheme and a host"},
		{"an embedder with a wildcard", func(c *session.Config) { c.Embedders = []string{"https://*.example.com"} }, "Embedders", "one host"},
		{"an embedder with a path", func(c *session.Config) { c.Embedders = []string{"https://shop.example.com/x"} }, "Embedders", "browsers send it: https://shop.example.com"},
		{"an embedder with a directive", func(c *session.Config) { c.Embedders = []string{"https://a;script-src"} }, "Embedders", "letters"},
		{"an embedder with a quote", func(c *session.Config) { c.Embedders = []string{`https://a"b`} }, "Embedders", "letters"},
		{"an embedder with a comma", func(c *session.Config) { c.Embedders = []string{"https://a,b"} }, "Embedders", "letters"},
		{"a cookie name with a space", func(c *session.Config) { c.Cookie.Name = "a b" }, "Cookie.Name", "allowed"},
		{"a cookie name with an equal sign", func(c *session.Config) { c.Cookie.Name = "a=b" }, "Cookie.Name", "allowed"},
		{"a cookie name with a line break", func(c *session.Config) { c.Cookie.Name = "a\r\nSet-Cookie: x" }, "Cookie.Name", "allowed"},
		{"a cookie name beyond ASCII", func(c *session.Config) { c.Cookie.Name = "é" }, "Cookie.Name", "allowed"},
		{"a long cookie name", func(c *session.Config) { c.Cookie.Name = strings.Repeat("n", 65) }, "Cookie.Name", "64"},
		{"__Host- in the name", func(c *session.Config) { c.Cookie.Name = "__Host-session" }, "Cookie.Name", "prefix"},
		{"__secure- in the name", func(c *session.Config) { c.Cookie.Name = "__secure-session" }, "Cookie.Name", "prefix"},
		{"__http- in the name", func(c *session.Config) { c.Cookie.Name = "__http-session" }, "Cookie.Name", "prefix"},
		{"a relative cookie path", func(c *session.Config) { c.Cookie.Path = "app" }, "Cookie.Path", "/app"},
		{"a cookie path with a slash at its end", func(c *session.Config) { c.Cookie.Path = "/app/" }, "Cookie.Path", "/app"},
		{"a cookie path with an attribute", func(c *session.Config) { c.Cookie.Path = "/app; Domain=example.org" }, "Cookie.Path", "escaping"},
		{"a cookie path with a semicolon", func(c *session.Config) { c.Cookie.Path = "/app;x" }, "Cookie.Path", "escaping"},
		{"a cookie path with a line break", func(c *session.Config) { c.Cookie.Path = "/app\r\nSet-Cookie: x" }, "Cookie.Path", "escaping"},
		{"a cookie path with a zero byte", func(c *session.Config) { c.Cookie.Path = "/app\x00" }, "Cookie.Path", "escaping"},
		{"a cookie path beyond ASCII", func(c *session.Config) { c.Cookie.Path = "/é" }, "Cookie.Path", "escaping"},
		{"a cookie path with an escape", func(c *session.Config) { c.Cookie.Path = "/%61pp" }, "Cookie.Path", "escaping"},
		{"a cookie path with dots", func(c *session.Config) { c.Cookie.Path = "/app/.." }, "Cookie.Path", "path"},
		{"a long cookie path", func(c *session.Config) { c.Cookie.Path = "/" + strings.Repeat("p", 256) }, "Cookie.Path", "256"},
		{"a login page outside the cookie path", func(c *session.Config) { c.Cookie.Path = "/app" }, "Cookie.Path", "below"},
		{"a login page outside the cookie path", func(c *session.Config) { c.Cookie.Path, c.LoginPath = "/app", "/apple/login" }, "Cookie.Path", "below"},
		{"a base path outside the cookie path", func(c *session.Config) { c.Cookie.Path, c.BasePath = "/app", "/other" }, "Cookie.Path", "below"},
		{"an insecure prefix", func(c *session.Config) { c.Cookie.HTTPPrefix, c.Cookie.Insecure = true, true }, "Cookie.HTTPPrefix", "Insecure"},
		{"partitioned by default", func(c *session.Config) { c.Cookie.Partitioned = true }, "Cookie.Partitioned", "None"},
		{"partitioned and strict", func(c *session.Config) { c.Cookie.Partitioned, c.Cookie.SameSite = true, http.SameSiteStrictMode }, "Cookie.Partitioned", "None"},
		{"partitioned without Secure", func(c *session.Config) {
			c.Cookie.Partitioned, c.Cookie.SameSite, c.Cookie.Insecure = true, http.SameSiteNoneMode, true
		}, "Cookie.SameSite", "Insecure"},
		{"__Host- with a domain", func(c *session.Config) { c.Cookie.Name, c.Cookie.Domain = "__Host-s", "example.org" }, "Cookie.Name", "prefix"},
		{"a domain of one label", func(c *session.Config) { c.Cookie.Domain = "localhost" }, "Cookie.Domain", "two labels"},
		{"a domain with a dot at its end", func(c *session.Config) { c.Cookie.Domain = "example.org." }, "Cookie.Domain", "dot"},
		{"a domain with a port", func(c *session.Config) { c.Cookie.Domain = "example.org:8080" }, "Cookie.Domain", "domain"},
		{"a domain with a semicolon", func(c *session.Config) { c.Cookie.Domain = "example.org; Path=/x" }, "Cookie.Domain", "domain"},
		{"an address for a domain", func(c *session.Config) { c.Cookie.Domain = "https://example.org" }, "Cookie.Domain", "domain"},
		{"an address with a user for a domain", func(c *session.Config) { c.Cookie.Domain = "https://me:secret@example.org" }, "Cookie.Domain", "domain"},
		{"an unknown mode", func(c *session.Config) { c.Cookie.SameSite = http.SameSiteNoneMode + 1 }, "Cookie.SameSite", "modes"},
		{"a negative mode", func(c *session.Config) { c.Cookie.SameSite = -1 }, "Cookie.SameSite", "modes"},
		{"None without Secure", func(c *session.Config) { c.Cookie.SameSite, c.Cookie.Insecure = http.SameSiteNoneMode, true }, "Cookie.SameSite", "Insecure"},
		{"too many chunks", func(c *session.Config) { c.Cookie.MaxChunks = 11 }, "Cookie.MaxChunks", "1 to 10"},
		{"a negative number of chunks", func(c *session.Config) { c.Cookie.MaxChunks = -1 }, "Cookie.MaxChunks", "1 to 10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := session.Config{Auth: &stubAuth{clock: &clock{}}, Keys: []session.SecretKey{key}}
			tt.set(&cfg)
			m, err := session.New(cfg)
			if err == nil {
				t.Fatal("no error")
			}
			if m != nil {
				t.Error("a Manager together with an error")
			}
			if !strings.HasPrefix(err.Error(), "session: Config."+tt.field+" ") || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q, want it to name Config.%s and say %q", err, tt.field, tt.says)
			}
			if strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), key.Encode()) || strings.Contains(err.Error(), "me:secret") {
				t.Errorf("%q is not fit for a log", err)
			}
		})
	}
}

// Settings at the limits are accepted.
func TestConfigAtTheEdges(t *testing.T) {
	for _, set := range []func(*session.Config){
		func(c *session.Config) { c.Lifetime = 400 * 24 * time.Hour },
		func(c *session.Config) { c.Lifetime = time.Hour }, // the idle timeout follows
		func(c *session.Config) { c.Lifetime, c.IdleTimeout = time.Hour, time.Hour },
		func(c *session.Config) { c.Cookie.Name = strings.Repeat("n", 64) },
		func(c *session.Config) { c.Cookie.MaxChunks = 10 },
		func(c *session.Config) { c.Cookie.Domain = ".example.org" },
		func(c *session.Config) { c.Cookie.Domain, c.Cookie.Insecure = "example.org", true },
		func(c *session.Config) { c.Cookie.Path = "/" },
		func(c *session.Config) {
			c.Embedders = []string{"https://shop.example.com", "http://localhost:8081", "https://[::1]:8443"}
		},
		func(c *session.Config) { c.Cookie.Path, c.BasePath = "/app", "/app/" },
		func(c *session.Config) { c.Cookie.Path, c.BasePath = "/app", "/app/admin" },
		func(c *session.Config) { c.Cookie.Path, c.LoginPath = "/app", "/app" },
		func(c *session.Config) { c.Cookie.Path, c.LoginPath = "/a-b_c.d~e+f@g", "/a-b_c.d~e+f@g/login" },
		func(c *session.Config) { c.Coordinator = &memstore.Store{Now: c.Now} },
		func(c *session.Config) { c.RefreshBefore = 1000 * time.Hour },
		func(c *session.Config) {
			c.TrustedOrigins = []string{"https://app.example.org", "http://localhost:3000", "https://[2001:db8::1]", "http://[::1]:8080", "http://10.0.0.1:8080"}
		},
		func(c *session.Config) { c.LoginPath = "/" },
	} {
		newApp(t, set).signedIn().is(true)
	}
}

// A slash at the end of the base path has no effect.
func TestBasePath(t *testing.T) {
	for given, want := range map[string]string{"": "", "/": "", "/app": "/app", "/app/": "/app", "/a/b-c_d.e~f": "/a/b-c_d.e~f"} {
		m, err := session.New(session.Config{Auth: &stubAuth{clock: &clock{}}, Keys: []session.SecretKey{session.GenerateKey()}, BasePath: given})
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Config().BasePath; got != want {
			t.Errorf("%q: %q, want %q", given, got, want)
		}
	}
}

// The configuration of a Manager has defaults, and no keys.
func TestManagerConfig(t *testing.T) {
	m, err := session.New(session.Config{Auth: &stubAuth{clock: &clock{}}, Keys: []session.SecretKey{session.GenerateKey()}})
	if err != nil {
		t.Fatal(err)
	}
	c := m.Config()
	if c.Keys != nil || c.LoginPath != "/login" || c.Cookie.Name != "session" || c.Logger == nil || c.Lifetime == 0 {
		t.Errorf("Keys %v, LoginPath %q, Cookie.Name %q, Logger %v, Lifetime %v", c.Keys, c.LoginPath, c.Cookie.Name, c.Logger, c.Lifetime)
	}
}
