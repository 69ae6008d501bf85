package dashboard_test

import (
	"net"
	"strings"
	"testing"

	"github.com/synmetrix/session/tests/internal/proc"
)

const (
	keyA = "bnSQWYP/zj8A0xARy0OmavpGqdVjnCjLu1gfGsbf1vg="
	keyB = "zsxE7VeLmSX/yIvmNQ0gu9DvbRtOOC9pknmL9SQjXoE="
)

// An invalid setting causes exit status 2, no standard output, and one line that names
// the variable and contains no secret.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	tests := []struct {
		name string
		env  []string // and arguments, which begin with a dash
		want []string // in the line
	}{
		{"address without port", []string{"ADDR=localhost"}, []string{"ADDR", "HOST:PORT"}},
		{"address with a name for a port", []string{"ADDR=127.0.0.1:http"}, []string{"ADDR", "65535"}},
		{"address with a port too high", []string{"ADDR=127.0.0.1:65536"}, []string{"ADDR", "65535"}},
		{"address with a sign", []string{"ADDR=127.0.0.1:+80"}, []string{"ADDR"}},
		{"auth scheme", []string{"AUTH_URL=ftp://auth.example.org"}, []string{"AUTH_URL", "http"}},
		{"auth without host", []string{"AUTH_URL=http://"}, []string{"AUTH_URL"}},
		{"auth with a password", []string{"AUTH_URL=https://me:" + secret + "@auth.example.org"}, []string{"AUTH_URL", "user"}},
		{"auth with a query", []string{"AUTH_URL=https://auth.example.org/?key=" + secret}, []string{"AUTH_URL", "query"}},
		{"auth with a port too high", []string{"AUTH_URL=http://auth.example.org:99999"}, []string{"AUTH_URL"}},
		{"framework", []string{"FRAMEWORK=fiber"}, []string{"FRAMEWORK", "nethttp or echo or gin or echo5"}},
		{"framework in capitals", []string{"FRAMEWORK=NetHTTP"}, []string{"FRAMEWORK", "nethttp"}},
		{"store", []string{"STORE=disk"}, []string{"STORE", "cookie", "memory"}},
		{"store address", []string{"STORE=mongodb://me:" + secret + "@db.example.org"}, []string{"STORE", "cookie", "memory"}},
		{"store without an address", []string{"STORE=sqlite"}, []string{"STORE", "sqlite:FILE"}},
		{"sqlite without a file", []string{"STORE=sqlite:"}, []string{"STORE", "sqlite:FILE"}},
		{"sqlite in memory", []string{"STORE=sqlite::memory:"}, []string{"STORE", "sqlite:FILE"}},
		{"postgres", []string{"STORE=postgres://me:" + secret + "@db.example.org:port/app"}, []string{"STORE", "postgres://"}},
		{"postgres parameter", []string{"STORE=postgres://me:" + secret + "@db.example.org/app?sslmode=maybe"}, []string{"STORE", "postgres://"}},
		{"postgres without slashes", []string{"STORE=postgres:me:" + secret + "@db.example.org/app"}, []string{"STORE", "postgres://"}},
		{"postgres in its driver's words", []string{"STORE=host=db.example.org password=" + secret}, []string{"STORE", "postgres://"}},
		{"mysql", []string{"STORE=mysql://me:" + secret + "@db.example.org:port/app"}, []string{"STORE", "mysql://"}},
		{"mysql without a host", []string{"STORE=mysql://me:" + secret + "@/app"}, []string{"STORE", "mysql://"}},
		{"mysql without a database", []string{"STORE=mysql://me:" + secret + "@db.example.org"}, []string{"STORE", "mysql://"}},
		{"mysql parameter", []string{"STORE=mysql://me:" + secret + "@db.example.org/app?tls=maybe"}, []string{"STORE", "mysql://"}},
		{"mysql in its driver's words", []string{"STORE=me:" + secret + "@tcp(db.example.org)/app"}, []string{"STORE", "mysql://"}},
		{"redis", []string{"STORE=redis://:" + secret + "@db.example.org:port"}, []string{"STORE", "redis://"}},
		{"redis with a port too high", []string{"STORE=redis://:" + secret + "@db.example.org:99999"}, []string{"STORE", "redis://"}},
		{"redis without a host", []string{"STORE=redis://:" + secret + "@/1"}, []string{"STORE", "redis://"}},
		{"redis without slashes", []string{"STORE=redis:me:" + secret + "@db.example.org"}, []string{"STORE", "redis://"}},
		{"redis database", []string{"STORE=rediss://:" + secret + "@db.example.org/sessions"}, []string{"STORE", "rediss://"}},
		{"redis parameter", []string{"STORE=rediss://:" + secret + "@db.example.org?db=" + secret}, []string{"STORE", "rediss://"}},
		{"second redis address", []string{"STORE=redis://db.example.org?addr=other.example.org:99999"}, []string{"STORE", "redis://"}},
		{"store as a flag", []string{"-store=mongodb://me:" + secret + "@db.example.org/app"}, []string{"STORE", "postgres://"}},
		{"coordinator", []string{"COORDINATOR=cookie"}, []string{"COORDINATOR", "memory"}},
		{"coordinator address", []string{"COORDINATOR=mysql://me:" + secret + "@db.example.org"}, []string{"COORDINATOR", "mysql://"}},
		{"coordinator in redis", []string{"COORDINATOR=redis://:" + secret + "@db.example.org:0"}, []string{"COORDINATOR", "redis://"}},
		{"coordinator of a database beside a store", []string{"STORE=memory", "COORDINATOR=sqlite:/nowhere/sessions.db"}, []string{"COORDINATOR"}},
		{"database with a setting that is wrong", []string{"STORE=sqlite:/nowhere/sessions.db", "COOKIE_NAME=my session"}, []string{"COOKIE_NAME"}},
		{"coordinator beside a store", []string{"STORE=memory", "COORDINATOR=memory"}, []string{"COORDINATOR"}},
		{"cookie name", []string{"COOKIE_NAME=my session"}, []string{"COOKIE_NAME", "letters"}},
		{"cookie name with a prefix", []string{"COOKIE_NAME=__Host-session"}, []string{"COOKIE_NAME", "prefix"}},
		{"cookie insecure", []string{"COOKIE_INSECURE=maybe"}, []string{"COOKIE_INSECURE", "true or false"}},
		{"cookie insecure as a flag", []string{"-cookie-insecure=maybe"}, []string{"COOKIE_INSECURE", "true or false"}},
		{"cookie insecure as a flag and its value", []string{"-cookie-insecure", "maybe"}, []string{"COOKIE_INSECURE", "true or false"}},
		{"auth timeout", []string{"AUTH_TIMEOUT=25h"}, []string{"AUTH_TIMEOUT", "at most 24h"}},
		{"store timeout", []string{"STORE_TIMEOUT=25h"}, []string{"STORE_TIMEOUT", "at most 24h"}},
		{"register", []string{"REGISTER=always"}, []string{"REGISTER", "verify", "direct", "off"}},
		{"remember", []string{"REMEMBER=yes"}, []string{"REMEMBER", "off or on or checked"}},
		{"signed out", []string{"SIGNED_OUT=/bye"}, []string{"SIGNED_OUT", "plain or message"}},
		{"fresh", []string{"FRESH=now"}, []string{"FRESH", "duration"}},
		{"key is not base64", []string{"SESSION_KEYS=" + secret + "!"}, []string{"SESSION_KEYS", "base64"}},
		{"key too short", []string{"SESSION_KEYS=aHVudGVyMmh1bnRlcjI"}, []string{"SESSION_KEYS", "32"}},
		{"second key too short", []string{"SESSION_KEYS=" + keyA + ",aHVudGVyMmh1bnRlcjI"}, []string{"SESSION_KEYS", "key 2"}},
		{"empty key in the list", []string{"SESSION_KEYS=" + keyA + ","}, []string{"SESSION_KEYS", "key 2"}},
		{"key twice", []string{"SESSION_KEYS=" + keyA + "," + keyA}, []string{"SESSION_KEYS", "key 2"}},
		{"key of one word", []string{"SESSION_KEYS=" + keyA + "," + strings.Repeat("password", 6)}, []string{"SESSION_KEYS", "key 2", "openssl rand -base64 32"}},
		{"hexadecimal key", []string{"SESSION_KEYS=" + strings.Repeat("0123456789abcdef", 4)}, []string{"SESSION_KEYS", "hexadecimal", "openssl rand -base64 32"}},
		{"key of zeros", []string{"SESSION_KEYS=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, []string{"SESSION_KEYS"}},
		{"keys as a flag", []string{"-session-keys=" + keyA}, []string{"-session-keys"}},
		{"duration", []string{"REFRESH_BEFORE=10"}, []string{"REFRESH_BEFORE", "duration"}},
		{"grace", []string{"GRACE=soon"}, []string{"GRACE", "duration"}},
		{"zero grace", []string{"GRACE=0s"}, []string{"GRACE", "positive"}},
		{"negative idle timeout", []string{"IDLE_TIMEOUT=-1h"}, []string{"IDLE_TIMEOUT", "positive"}},
		{"lifetime", []string{"LIFETIME=1d"}, []string{"LIFETIME", "duration"}},
		{"lifetime too long", []string{"LIFETIME=10000h"}, []string{"LIFETIME", "9600h"}},
		{"lifetime under idle timeout", []string{"LIFETIME=1h", "IDLE_TIMEOUT=2h"}, []string{"LIFETIME", "IDLE_TIMEOUT"}},
		{"default lifetime under idle timeout", []string{"IDLE_TIMEOUT=1000h"}, []string{"LIFETIME", "IDLE_TIMEOUT"}},
		{"auth timeout", []string{"AUTH_TIMEOUT=0"}, []string{"AUTH_TIMEOUT"}},
		{"store timeout", []string{"STORE_TIMEOUT=x"}, []string{"STORE_TIMEOUT"}},
		{"token age", []string{"MAX_TOKEN_AGE=1"}, []string{"MAX_TOKEN_AGE", "duration"}},
		{"jwt key too short", []string{"JWT_KEY=" + secret}, []string{"JWT_KEY", "32 bytes", "14 bytes"}},
		{"jwt key of one character", []string{"JWT_KEY=" + strings.Repeat("x", 64)}, []string{"JWT_KEY", "few different"}},
		{"public key as a secret", []string{"JWT_KEY=-----BEGIN PUBLIC KEY-----\n" + keyA}, []string{"JWT_KEY", "PEM"}},
		{"jwt key beside jwks", []string{"JWT_KEY=" + keyA, "JWKS_URL=https://auth.example.org/auth/jwks"}, []string{"JWT_KEY", "JWKS_URL"}},
		{"jwt key beside a file", []string{"JWT_KEY=" + keyA, "JWT_PUBLIC_KEY_FILE=/etc/key.pem"}, []string{"JWT_KEY", "JWT_PUBLIC_KEY_FILE"}},
		{"jwks beside a file", []string{"JWKS_URL=https://auth.example.org/auth/jwks", "JWT_PUBLIC_KEY_FILE=/etc/key.pem"}, []string{"JWKS_URL", "JWT_PUBLIC_KEY_FILE"}},
		{"jwt key as a flag", []string{"-jwt-key=" + secret}, []string{"-jwt-key"}},
		{"jwks", []string{"JWKS_URL=auth.example.org/jwks"}, []string{"JWKS_URL", "http"}},
		{"jwks with a password", []string{"JWKS_URL=https://me:" + secret + "@auth.example.org/jwks"}, []string{"JWKS_URL", "user"}},
		{"public key file", []string{"JWT_PUBLIC_KEY_FILE=settings_test.go"}, []string{"JWT_PUBLIC_KEY_FILE", "PEM"}},
		{"base path without a slash", []string{"BASE_PATH=app"}, []string{"BASE_PATH", "/app"}},
		{"base path elsewhere", []string{"BASE_PATH=//evil.example.org"}, []string{"BASE_PATH", "path"}},
		{"base path as a flag", []string{"-base-path=https://evil.example.org/app"}, []string{"BASE_PATH", "path"}},
		{"upstream", []string{"UPSTREAM_URL=api.example.org"}, []string{"UPSTREAM_URL", "http"}},
		{"upstream with a password", []string{"UPSTREAM_URL=http://me:" + secret + "@api.example.org"}, []string{"UPSTREAM_URL", "user"}},
		{"upstream with a port too high", []string{"UPSTREAM_URL=http://api.example.org:99999/"}, []string{"UPSTREAM_URL"}},
		{"origin of all", []string{"TRUSTED_ORIGINS=https://*.example.org"}, []string{"TRUSTED_ORIGINS", "as browsers send it"}},
		{"origin in capitals", []string{"TRUSTED_ORIGINS=https://App.example.org"}, []string{"TRUSTED_ORIGINS", "https://app.example.org"}},
		{"origin with its scheme's port", []string{"TRUSTED_ORIGINS=https://app.example.org:443"}, []string{"TRUSTED_ORIGINS", "https://app.example.org"}},
		{"origin with a port too high", []string{"TRUSTED_ORIGINS=https://app.example.org:99999"}, []string{"TRUSTED_ORIGINS"}},
		{"origin", []string{"TRUSTED_ORIGINS=app.example.org"}, []string{"TRUSTED_ORIGINS", "https://app.example.org"}},
		{"origin with a path", []string{"TRUSTED_ORIGINS=https://app.example.org/x"}, []string{"TRUSTED_ORIGINS"}},
		{"origin with a password", []string{"TRUSTED_ORIGINS=https://me:" + secret + "@app.example.org"}, []string{"TRUSTED_ORIGINS"}},
		{"second origin", []string{"TRUSTED_ORIGINS=https://app.example.org,nowhere"}, []string{"TRUSTED_ORIGINS"}},
		{"proxy by name", []string{"TRUSTED_PROXIES=proxy.example.org"}, []string{"TRUSTED_PROXIES", "10.0.0.0/8"}},
		{"second proxy", []string{"TRUSTED_PROXIES=10.0.0.1, 10.0.0.0/33"}, []string{"TRUSTED_PROXIES", "CIDR"}},
		{"proxy with a zone", []string{"TRUSTED_PROXIES=fe80::1%eth0"}, []string{"TRUSTED_PROXIES"}},
		{"proxies of IPv4 as IPv6", []string{"TRUSTED_PROXIES=::ffff:10.0.0.0/104"}, []string{"TRUSTED_PROXIES", "IPv4"}},
		{"log level", []string{"LOG_LEVEL=trace"}, []string{"LOG_LEVEL", "debug"}},
		{"log format", []string{"LOG_FORMAT=xml"}, []string{"LOG_FORMAT", "json"}},
		{"metrics without a port", []string{"METRICS=127.0.0.1"}, []string{"METRICS", "HOST:PORT"}},
		{"unknown flag", []string{"-port=80"}, []string{"-port"}},
		{"flag without its value", []string{"-addr"}, []string{"-addr"}},
		{"argument", []string{"-store=memory", "-log-level=info", "-", secret}, []string{"unexpected argument"}},
		{"flag beats variable", []string{"LOG_LEVEL=info", "-log-level=trace"}, []string{"LOG_LEVEL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			env, args := []string{"ADDR=127.0.0.1:0"}, []string{}
			for i, setting := range tt.env {
				if strings.HasPrefix(setting, "-") {
					args = tt.env[i:]
					break
				}
				env = append(env, setting)
			}
			status, stdout, stderr := proc.Run(t, "dashboard", env, args...)
			if status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			if stdout != "" {
				t.Errorf("standard output is %q, want nothing", stdout)
			}
			if strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
				t.Errorf("standard error is %q, want one line", stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("standard error is %q, want %q in it", stderr, want)
				}
			}
			for _, secret := range []string{secret, "aHVudGVyMmh1bnRlcjI", keyA} {
				if strings.Contains(stderr, secret) {
					t.Errorf("standard error is %q, with a secret in it", stderr)
				}
			}
		})
	}
}

// Each setting except the secrets is also a flag, and an empty value counts as not set.
func TestGoodSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  []string
		args []string
	}{
		{"empty variables", []string{
			"AUTH_URL=", "FRAMEWORK=", "STORE=", "COORDINATOR=", "COOKIE_NAME=", "COOKIE_INSECURE=", "REGISTER=",
			"SESSION_KEYS=", "REFRESH_BEFORE=", "GRACE=", "IDLE_TIMEOUT=", "LIFETIME=", "MAX_TOKEN_AGE=", "AUTH_TIMEOUT=", "STORE_TIMEOUT=",
			"JWT_KEY=", "JWKS_URL=", "JWT_PUBLIC_KEY_FILE=", "UPSTREAM_URL=", "TRUSTED_ORIGINS=", "TRUSTED_PROXIES=",
			"LOG_LEVEL=", "LOG_FORMAT=", "METRICS=",
		}, nil},
		{"empty flags", []string{"STORE=memory"}, []string{"-store=", "-cookie-name=", "-lifetime="}},
		{"variables", []string{
			"AUTH_URL=http://127.0.0.1:1/below", "FRAMEWORK=nethttp", "STORE=cookie", "COORDINATOR=memory", "COOKIE_NAME=sid",
			"COOKIE_INSECURE=true", "REGISTER=verify", "SESSION_KEYS=" + keyA + "," + keyB, "REFRESH_BEFORE=1m", "MAX_TOKEN_AGE=30m", "GRACE=30s", "IDLE_TIMEOUT=1h",
			"LIFETIME=24h", "AUTH_TIMEOUT=5s", "STORE_TIMEOUT=1s", "UPSTREAM_URL=http://127.0.0.1:1/api?x=1",
			"TRUSTED_ORIGINS=https://a.example.org, https://b.example.org:8443", "LOG_LEVEL=debug", "LOG_FORMAT=json",
		}, nil},
		{"flags beat variables", []string{
			"ADDR=nowhere", "AUTH_URL=nowhere", "FRAMEWORK=x", "STORE=x", "COOKIE_NAME=;", "COOKIE_INSECURE=x", "REGISTER=x",
			"REFRESH_BEFORE=x", "GRACE=x", "IDLE_TIMEOUT=x", "LIFETIME=x", "AUTH_TIMEOUT=x", "STORE_TIMEOUT=x", "UPSTREAM_URL=x",
			"TRUSTED_ORIGINS=x", "LOG_LEVEL=x", "LOG_FORMAT=x", "COORDINATOR=x",
		}, []string{
			"-addr=127.0.0.1:0", "-auth-url=http://127.0.0.1:1", "-framework=nethttp", "-store=cookie", "-coordinator=memory",
			"-cookie-name=sid", "-cookie-insecure", "-register=verify", "-refresh-before=1m", "-grace=30s", "-idle-timeout=1h",
			"-lifetime=24h", "-auth-timeout=5s", "-store-timeout=1s", "-upstream-url=http://127.0.0.1:1",
			"-trusted-origins=https://a.example.org", "-log-level=debug", "-log-format=json",
		}},
		{"idle timeout shortened by lifetime", []string{"LIFETIME=1h"}, nil},
		{"lifetime equal to idle timeout", []string{"LIFETIME=1h", "IDLE_TIMEOUT=1h"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := proc.Start(t, "dashboard", tt.env, tt.args...)
			(&site{Process: p}).browser(t).get("/healthz").is(200)
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := proc.Run(t, "dashboard", nil, "-help")
	if status != 0 || stderr != "" {
		t.Errorf("exit status %d and %q, want 0 and nothing", status, stderr)
	}
	for _, name := range []string{"ADDR", "-auth-url", "SESSION_KEYS", "-cookie-insecure", "METRICS"} {
		if !strings.Contains(stdout, name) {
			t.Errorf("%s is not in the help", name)
		}
	}
	if strings.Contains(stdout, "-session-keys") || strings.Contains(stdout, "-jwt-key") {
		t.Error("the help shows a flag for a secret")
	}
}

// A file that cannot be opened is a failure at run time.
func TestNoKeyFile(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := proc.Run(t, "dashboard", []string{"JWT_PUBLIC_KEY_FILE=" + t.TempDir() + "/none.pem"})
	if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "none.pem") || stdout != "" {
		t.Errorf("exit status %d, %q and %q, want 1 and one line", status, stdout, stderr)
	}
}

// A failure at run time causes exit status 1 and one line.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, env := range [][]string{nil, {"AUTH_URL=http://127.0.0.1:1"}, {"STORE=memory"}} {
		status, stdout, stderr := proc.Run(t, "dashboard", append(env, "ADDR="+l.Addr().String()))
		if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, "in use") {
			t.Errorf("%q: exit status %d and %q, want 1 and one line", env, status, stderr)
		}
		if stdout != "" {
			t.Errorf("%q: standard output is %q, want nothing", env, stdout)
		}
	}
}
