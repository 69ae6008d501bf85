package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/synmetrix"
)

// variables are the settings. Each is an environment variable and, unless it is a
// secret, a flag.
var variables = []struct {
	name, usage string
	secret      bool
}{
	{name: "ADDR", usage: "address to listen on; port 0 selects a free one (default 127.0.0.1:8080)"},
	{name: "AUTH_URL", usage: "address of an auth service, to which /auth/... is appended (default: one in this process)"},
	{name: "FRAMEWORK", usage: "nethttp, echo, gin or echo5 (default nethttp)"},
	{name: "STORE", usage: "where sessions are stored: cookie, memory, " + addressForms + " (default cookie)"},
	{name: "COORDINATOR", usage: "store that processes with cookie sessions share: memory, or an address as for STORE (default memory)"},
	{name: "COOKIE_NAME", usage: "name of the cookies, without a prefix (default session)"},
	{name: "COOKIE_INSECURE", usage: "send cookies over plain HTTP to other hosts, too (default false)"},
	{name: "REGISTER", usage: "how visitors create accounts: verify (by a link in an e-mail), direct, or off (default verify)"},
	{name: "REMEMBER", usage: "box on the login page to stay signed in: off, on, or checked at first; without the check a session lasts 12h (default off)"},
	{name: "FRESH", usage: "how long after a sign-in /note can be opened without the password (default 10m)"},
	{name: "SIGNED_OUT", usage: "after signing out: plain, or message, which shows a message once (default plain)"},
	{name: "SESSION_KEYS", usage: "comma-separated base64 secrets of 32 bytes or more, newest first (default: a new secret)", secret: true},
	{name: "REFRESH_BEFORE", usage: "how long before its expiry an access token is refreshed (default: a tenth of its lifetime)"},
	{name: "GRACE", usage: "how long a cookie with replaced tokens is still accepted (default 1m)"},
	{name: "IDLE_TIMEOUT", usage: "how long a session may be unused (default 24h)"},
	{name: "LIFETIME", usage: "how long a session lasts after login (default 720h)"},
	{name: "MAX_TOKEN_AGE", usage: "age at which tokens are refreshed, even if they are valid for longer (default 1h)"},
	{name: "AUTH_TIMEOUT", usage: "how long a request waits for the auth service (default 10s)"},
	{name: "STORE_TIMEOUT", usage: "how long one call of the store may take (default 2s)"},
	{name: "BASE_PATH", usage: "path prefix that a proxy strips, such as /app (default none)"},
	{name: "JWT_KEY", usage: "shared secret of 32 bytes or more that checks access tokens; bearer tokens are then accepted (default none)", secret: true},
	{name: "JWKS_URL", usage: "address of a JWKS, in place of JWT_KEY"},
	{name: "JWT_PUBLIC_KEY_FILE", usage: "file with public keys or certificates in PEM, in place of JWT_KEY"},
	{name: "UPSTREAM_URL", usage: "API that /api/upstream calls as the signed-in user"},
	{name: "TRUSTED_ORIGINS", usage: "comma-separated origins whose pages may send forms here"},
	{name: "TRUSTED_PROXIES", usage: "comma-separated addresses or CIDR ranges of proxies, whose X-Forwarded-For is used"},
	{name: "LOG_LEVEL", usage: "debug, info, warn, error (default info)"},
	{name: "LOG_FORMAT", usage: "text, json (default text)"},
	{name: "METRICS", usage: "address to listen on for Prometheus, at /metrics (default none)"},
}

// settings are the program's settings. A duration that is not set is zero, which selects
// the library's default.
type settings struct {
	addr        string
	authURL     string           // empty: start a service in this process
	ownAuth     *authtest.Server // the service at authURL, if it is in this process
	framework   string
	store       place
	coordinator place
	upstreamURL string
	basePath    string
	metrics     string // empty: no metrics
	register    string // "verify", "direct" or "off"
	tokens      verification
	remember    string // "off", "on" or "checked"
	signedOut   string // "plain" or "message"
	fresh       time.Duration

	cookie         session.Cookie
	keys           []session.SecretKey // empty: generate a key at the start
	refreshBefore  time.Duration
	maxTokenAge    time.Duration
	grace          time.Duration
	idleTimeout    time.Duration
	lifetime       time.Duration
	authTimeout    time.Duration
	storeTimeout   time.Duration
	trustedOrigins []string
	trustedProxies []netip.Prefix

	logLevel slog.Level
	logJSON  bool
}

// readSettings reads the flags and the environment. A flag overrides its variable,
// and an empty value counts as not set. The error is one line that names the
// variable and the allowed values. It never quotes a value, which may contain a
// password.
func readSettings(args []string, getenv func(string) string) (settings, error) {
	p := parser{flags: map[string]*string{}, getenv: getenv}
	if err := p.parseFlags(args); err != nil {
		return settings{}, err
	}
	s := settings{
		addr:        p.address("ADDR", "127.0.0.1:8080"),
		authURL:     p.authURL("AUTH_URL"),
		framework:   p.choice("FRAMEWORK", []string{"nethttp", "echo", "gin", "echo5"}),
		store:       p.place("STORE", "cookie", "memory"),
		coordinator: p.place("COORDINATOR", "memory"),
		upstreamURL: p.upstreamURL("UPSTREAM_URL"),
		basePath:    p.get("BASE_PATH"),
		metrics:     p.address("METRICS", ""),
		register:    p.choice("REGISTER", []string{"verify", "direct", "off"}),
		tokens:      p.verification(),
		remember:    p.choice("REMEMBER", []string{"off", "on", "checked"}),
		signedOut:   p.choice("SIGNED_OUT", []string{"plain", "message"}),
		fresh:       cmp.Or(p.duration("FRESH"), 10*time.Minute),

		cookie:         session.Cookie{Name: p.get("COOKIE_NAME"), Insecure: p.boolean("COOKIE_INSECURE")},
		keys:           p.keys("SESSION_KEYS"),
		refreshBefore:  p.duration("REFRESH_BEFORE"),
		maxTokenAge:    p.duration("MAX_TOKEN_AGE"),
		grace:          p.duration("GRACE"),
		idleTimeout:    p.duration("IDLE_TIMEOUT"),
		lifetime:       p.duration("LIFETIME"),
		authTimeout:    p.duration("AUTH_TIMEOUT"),
		storeTimeout:   p.duration("STORE_TIMEOUT"),
		trustedOrigins: p.origins("TRUSTED_ORIGINS"),
		trustedProxies: p.prefixes("TRUSTED_PROXIES"),

		logLevel: logLevels[p.choice("LOG_LEVEL", []string{"info", "debug", "warn", "error"})],
		logJSON:  p.choice("LOG_FORMAT", []string{"text", "json"}) == "json",
	}
	if s.store.kind != "cookie" && p.get("COORDINATOR") != "" {
		p.fail("COORDINATOR", "is for cookie sessions; it must be empty if STORE is set")
	}
	return s, p.err
}

var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// logger returns a logger for LOG_LEVEL and LOG_FORMAT.
func (s settings) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: s.logLevel}
	if s.logJSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// config returns the settings of the library.
func (s settings) config() session.Config {
	return session.Config{
		AuthTimeout:    s.authTimeout,
		BasePath:       s.basePath,
		Cookie:         s.cookie,
		Grace:          s.grace,
		IdleTimeout:    s.idleTimeout,
		Keys:           s.keys,
		Lifetime:       s.lifetime,
		RefreshBefore:  s.refreshBefore,
		MaxTokenAge:    s.maxTokenAge,
		StoreTimeout:   s.storeTimeout,
		TrustedOrigins: s.trustedOrigins,
		TrustedProxies: s.trustedProxies,
	}
}

// fieldNames replaces the names of Config's fields in errors of session.New with
// the names of this program's variables.
var fieldNames = strings.NewReplacer(
	"session: Config.AuthTimeout", "AUTH_TIMEOUT",
	"session: Config.BasePath", "BASE_PATH",
	"session: Config.Cookie.Name", "COOKIE_NAME",
	"session: Config.TrustedOrigins", "TRUSTED_ORIGINS",
	"session: Config.TrustedProxies", "TRUSTED_PROXIES",
	"session: Config.Lifetime", "LIFETIME",
	"session: Config.IdleTimeout", "IDLE_TIMEOUT",
	"session: Config.StoreTimeout", "STORE_TIMEOUT",
	"IdleTimeout", "IDLE_TIMEOUT",
)

// parser parses the settings and keeps the first error.
type parser struct {
	flags  map[string]*string // by the name of the variable
	getenv func(string) string
	err    error
}

func (p *parser) parseFlags(args []string) error {
	flags := flag.NewFlagSet("dashboard", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	for _, v := range variables {
		if v.secret {
			continue // other users of the machine can see arguments
		}
		value := new(string)
		p.flags[v.name] = value
		set := func(text string) error { *value = text; return nil }
		if v.name == "COOKIE_INSECURE" {
			flags.BoolFunc(flagName(v.name), "", set)
		} else {
			flags.Func(flagName(v.name), "", set)
		}
	}
	err := flags.Parse(withValue(args, flagName("COOKIE_INSECURE")))
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%s (see -help)", strings.Join(strings.Fields(err.Error()), " "))
	case flags.NArg() > 0:
		return errors.New("unexpected argument: settings are flags or environment variables (see -help)")
	}
	return nil
}

// withValue joins a boolean flag with the argument that follows it, so that its
// value may be a separate argument, as for all other flags.
func withValue(args []string, name string) []string {
	var joined []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if strings.TrimLeft(arg, "-") == name && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			arg += "=" + args[i]
		}
		joined = append(joined, arg)
	}
	return joined
}

// flagName returns the flag of a variable, such as auth-url for AUTH_URL.
func flagName(variable string) string {
	return strings.ReplaceAll(strings.ToLower(variable), "_", "-")
}

// printUsage lists the settings.
func printUsage(w io.Writer) {
	fmt.Fprintln(w, "usage: dashboard [flags]; each flag is also an environment variable")
	for _, v := range variables {
		name := "-" + flagName(v.name) + ", "
		if v.secret {
			name = ""
		}
		fmt.Fprintf(w, "  %s%s\n    \t%s\n", name, v.name, v.usage)
	}
}

// fail reports an error of the setting name, unless there was an earlier error.
func (p *parser) fail(name, what string) {
	if p.err == nil {
		p.err = errors.New(name + " " + what)
	}
}

// get returns the value of a setting, or the empty string.
func (p *parser) get(name string) string {
	if value, ok := p.flags[name]; ok && *value != "" {
		return *value
	}
	return p.getenv(name)
}

// choice parses one of several words. The default is the first word.
func (p *parser) choice(name string, allowed []string) string {
	value := cmp.Or(p.get(name), allowed[0])
	if !slices.Contains(allowed, value) {
		p.fail(name, "must be "+strings.Join(allowed, " or "))
	}
	return value
}

// place parses one of several words, or an address. The default is the first word.
func (p *parser) place(name string, words ...string) place {
	value := cmp.Or(p.get(name), words[0])
	if slices.Contains(words, value) {
		return place{kind: value}
	}
	at, ok := parseAddress(value)
	if !ok {
		p.fail(name, "must be "+strings.Join(append(words, addressForms), ", "))
	}
	return at
}

func (p *parser) boolean(name string) bool {
	value := cmp.Or(p.get(name), "false")
	b, err := strconv.ParseBool(value)
	if err != nil {
		p.fail(name, "must be true or false")
	}
	return b
}

func (p *parser) duration(name string) time.Duration {
	value := p.get(name)
	if value == "" {
		return 0
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		p.fail(name, "must be a positive Go duration, such as 90s or 24h")
		return 0
	}
	return d
}

func (p *parser) address(name, missing string) string {
	value := cmp.Or(p.get(name), missing)
	if value == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(value)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || strconv.FormatUint(n, 10) != port {
		p.fail(name, "must be HOST:PORT with a port from 0 to 65535")
	}
	return value
}

func (p *parser) authURL(name string) string {
	value := p.get(name)
	if _, ok := parseWebURL(value); value != "" && (!ok || synmetrix.NewClient(value).Validate() != nil) {
		p.fail(name, "must be an http or https address without a user, a query or a fragment")
	}
	return value
}

func (p *parser) upstreamURL(name string) string {
	value := p.get(name)
	if value == "" {
		return ""
	}
	if u, ok := parseWebURL(value); !ok || u.Fragment != "" {
		p.fail(name, "must be an http or https address without a user or a fragment")
	}
	return value
}

func (p *parser) origins(name string) []string {
	var origins []string
	for text := range strings.SplitSeq(p.get(name), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		u, ok := parseWebURL(text)
		if !ok || text != u.Scheme+"://"+u.Host {
			p.fail(name, "must be comma-separated origins, such as https://app.example.org")
			return nil
		}
		origins = append(origins, text)
	}
	return origins
}

// prefixes parses addresses and ranges of addresses.
func (p *parser) prefixes(name string) []netip.Prefix {
	var prefixes []netip.Prefix
	for text := range strings.SplitSeq(p.get(name), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			p.fail(name, "must be comma-separated addresses or CIDR ranges, such as 10.0.0.0/8")
			return nil
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes
}

// parseWebURL parses an absolute http or https address without a user.
func parseWebURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return nil, false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, false
		}
	}
	return u, true
}

func (p *parser) keys(name string) []session.SecretKey {
	value := p.get(name)
	if value == "" {
		return nil
	}
	keys, err := session.ParseKeys(value)
	if err != nil {
		why := strings.TrimPrefix(err.Error(), "session: ")
		p.fail(name, "must be comma-separated base64 secrets of 32 bytes or more: "+why)
	}
	return keys
}
