package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// settings are the settings of the program, from the configuration file and the
// environment.
type settings struct {
	file        file
	certificate *tls.Certificate // nil: plain HTTP
	place       place            // of the session store
	logLevel    slog.Level

	stopTimeout time.Duration

	session session.Config // without Auth, Store and Logger
	gateway gateway.Config // without Manager
}

// The defaults of the configuration file.
const (
	defaultListen      = "127.0.0.1:8080"
	defaultCookie      = "gateway"
	defaultStopTimeout = 10 * time.Second
)

// reader turns a configuration file into settings, and collects all errors.
type reader struct {
	getenv func(string) string
	errs   []error
}

// fail reports an error of a field. It never quotes a value, which may be a secret in
// the wrong place.
func (r *reader) fail(field, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s %w", field, fmt.Errorf(format, args...)))
}

// readSettings reads the configuration file and the environment. The error joins all
// errors, each with the name of its field or variable. The settings are nil if the file
// cannot be read.
func readSettings(name string, getenv func(string) string) (*settings, error) {
	f, err := readFile(name)
	if err != nil {
		return nil, err
	}
	r := &reader{getenv: getenv}
	s := &settings{file: f}
	r.address("listen", &s.file.Listen, defaultListen)
	if f.Admin != "" {
		r.address("admin", &s.file.Admin, "")
	}
	s.stopTimeout = cmp.Or(r.duration("stop_timeout", f.StopTimeout), defaultStopTimeout)
	s.certificate = r.certificate(f.TLS)
	if s.file.AuthURL == "" {
		r.fail("auth_url", "is required")
	} else if synmetrix.NewClient(f.AuthURL).Validate() != nil {
		r.fail("auth_url", "must be an http or https address without a user, a query or a fragment")
	}
	s.logLevel = r.logLevel(f.Log)
	s.place = r.place(f.Session)
	s.session = r.sessionConfig(f)
	s.gateway = r.gatewayConfig(f)
	return s, errors.Join(r.errs...)
}

func (r *reader) sessionConfig(f file) session.Config {
	c := f.Session
	return session.Config{
		BasePath:  f.BasePath,
		LoginPath: strings.TrimSuffix(f.Pages.Path, "/") + "/login",
		Cookie: session.Cookie{
			Name: cmp.Or(c.Cookie.Name, defaultCookie), Domain: c.Cookie.Domain, Insecure: c.Cookie.Insecure,
			NonPersistent: c.Cookie.NonPersistent, MaxChunks: c.Cookie.MaxChunks,
		},
		IdleTimeout:    r.duration("session.idle_timeout", c.IdleTimeout),
		Keys:           r.keys(),
		Lifetime:       r.duration("session.lifetime", c.Lifetime),
		MaxSessions:    c.MaxSessions,
		MaxTokenAge:    r.duration("session.max_token_age", c.MaxTokenAge),
		RefreshBefore:  r.duration("session.refresh_before", c.RefreshBefore),
		TrustedOrigins: f.TrustedOrigins,
		Verifier:       r.verifier(f.JWT),
		TrustedProxies: r.prefixes("trusted_proxies", f.TrustedProxies),
	}
}

func (r *reader) gatewayConfig(f file) gateway.Config {
	g := gateway.Config{
		PagesPath: f.Pages.Path,
		Features:  f.Pages.Features,
	}
	if f.AuthRequest != nil {
		g.AuthHeaders = f.AuthRequest.Headers
		if f.Admin == "" {
			r.fail("auth_request", "needs admin, the address with the path /auth")
		}
	}
	if len(f.Upstreams) == 0 && f.AuthRequest == nil {
		r.fail("upstreams", "is required")
	}
	if f.Pages.Name != "" {
		g.Options = append(g.Options, middleware.WithBrand(f.Pages.Name, nil))
	}
	if home := f.Pages.Home; home != "" {
		if !strings.HasPrefix(home, "/") || middleware.ReturnTo(home) != home {
			r.fail("pages.home", "must be a path that begins with one slash")
		}
		g.Options = append(g.Options, middleware.WithHome(home))
	}
	for i, feature := range f.Pages.Features {
		if !slices.Contains(features, feature) {
			r.fail(fmt.Sprintf("pages.features[%d]", i), "must be one of %v", features)
		}
	}
	for i, u := range f.Upstreams {
		address, err := url.Parse(u.URL)
		if err != nil {
			r.fail(fmt.Sprintf("upstreams[%d].url", i), "must be an http or https address")
			address = &url.URL{Scheme: "http", Host: "invalid"} // already reported
		} else if u.URL == "" {
			address = nil
		}
		g.Upstreams = append(g.Upstreams, gateway.Upstream{
			Host: u.Host, Path: cmp.Or(u.Path, "/"), URL: address, StripPath: u.StripPath,
			Roles: u.Roles, Public: u.Public, Headers: u.Headers,
			Timeout: r.duration(fmt.Sprintf("upstreams[%d].timeout", i), u.Timeout),
		})
	}
	return g
}

// features are the features that the configuration may name.
var features = []middleware.Feature{
	middleware.Registration, middleware.DirectRegistration, middleware.MagicLink,
	middleware.PasswordChange, middleware.PasswordReset, middleware.EmailChange,
	middleware.VerifiedEmailChange, middleware.SecondFactorSetup, middleware.AccountDeletion,
}

// test returns the errors that package session and package gateway find, with the names
// of the configuration file. Nothing is opened or called.
func (s *settings) test() error {
	cfg := s.session
	cfg.Logger = slog.New(slog.DiscardHandler)
	// readSettings has already reported the errors of these two.
	auth := synmetrix.NewClient(s.file.AuthURL)
	if auth.Validate() != nil {
		auth = synmetrix.NewClient("http://127.0.0.1")
	}
	if cfg.Auth = auth; len(cfg.Keys) == 0 {
		cfg.Keys = []session.SecretKey{session.GenerateKey()}
	}
	if s.place.kind != "cookie" {
		cfg.Store = memstore.New()
	}
	m, err := session.New(cfg)
	if err != nil {
		return errors.New(fieldNames.Replace(err.Error()))
	}
	gcfg := s.gateway
	gcfg.Manager = m
	g, err := gateway.New(gcfg)
	if err == nil && s.file.AuthRequest != nil {
		_, err = g.AuthHandler()
	}
	if err != nil {
		return errors.New(fieldNames.Replace(strings.TrimPrefix(err.Error(), "gateway: ")))
	}
	return nil
}

// fieldNames replaces the names of fields in errors of the packages.
var fieldNames = strings.NewReplacer(
	"session: Config.", "", "Manager's LoginPath", "login path",
	"BasePath", "base_path", "Cookie.Name", "session.cookie.name", "Cookie.Domain", "session.cookie.domain",
	"Cookie.MaxChunks", "session.cookie.max_chunks", "Cookie.Insecure", "session.cookie.insecure",
	"IdleTimeout", "session.idle_timeout", "Lifetime", "session.lifetime", "MaxTokenAge", "session.max_token_age",
	"RefreshBefore", "session.refresh_before", "MaxSessions", "session.max_sessions",
	"TrustedOrigins", "trusted_origins", "TrustedProxies", "trusted_proxies", "Keys", "SESSION_KEYS",
	"LoginPath", "pages.path", "PagesPath", "pages.path", "AuthHandler", "auth_request", "AuthHeaders", "auth_request.headers",
	"Upstreams", "upstreams", ".Host", ".host", ".Path", ".path", ".URL", ".url", ".Roles", ".roles",
	".Public", ".public", ".Headers", ".headers", "below Path", "below path",
)

func (r *reader) address(field string, value *string, missing string) {
	*value = cmp.Or(*value, missing)
	_, port, err := net.SplitHostPort(*value)
	if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || strconv.FormatUint(n, 10) != port {
		r.fail(field, "must be HOST:PORT with a port from 0 to 65535; HOST may be empty")
	}
}

// duration parses a duration. It is 0 if the field is missing, and -1 for "none".
func (r *reader) duration(field, text string) time.Duration {
	if text == "" {
		return 0
	}
	if text == "none" && (field == "session.max_token_age" || strings.HasPrefix(field, "upstreams")) {
		return -1
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		r.fail(field, "must be a positive duration such as 90s, 15m or 24h")
	}
	return d
}

func (r *reader) certificate(f tlsFile) *tls.Certificate {
	if f == (tlsFile{}) {
		return nil
	}
	if f.Certificate == "" || f.Key == "" {
		r.fail("tls", "needs both certificate and key")
		return nil
	}
	cert, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		r.fail("tls", "cannot be loaded: %w", withoutPath(err))
	}
	return &cert
}

func (r *reader) logLevel(f logFile) slog.Level {
	levels := map[string]slog.Level{"": slog.LevelInfo, "info": slog.LevelInfo, "debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[f.Level]
	if !ok {
		r.fail("log.level", "must be debug, info, warn or error")
	}
	if !slices.Contains([]string{"", "text", "json"}, f.Format) {
		r.fail("log.format", "must be text or json")
	}
	return level
}

// secret returns a secret from the environment: the variable name, or the contents of the
// file in the variable with the suffix _FILE.
func (r *reader) secret(name string) string {
	value, from := r.getenv(name), r.getenv(name+"_FILE")
	switch {
	case value != "" && from != "":
		r.fail(name, "and %s_FILE are both set", name)
	case from != "":
		text, err := readBounded(from)
		if err != nil {
			r.fail(name+"_FILE", "cannot be read: %w", withoutPath(err))
		}
		return strings.TrimSpace(string(text))
	}
	return value
}

func (r *reader) keys() []session.SecretKey {
	value := r.secret("SESSION_KEYS")
	if value == "" {
		r.fail("SESSION_KEYS", "is required in the environment: base64 of 32 random bytes, such as from openssl rand -base64 32")
		return nil
	}
	keys, err := session.ParseKeys(value)
	if err != nil {
		r.fail("SESSION_KEYS", "must be comma-separated base64 secrets of 32 bytes or more: %s", strings.TrimPrefix(err.Error(), "session: "))
	}
	return keys
}

// prefixes parses addresses and ranges of addresses.
func (r *reader) prefixes(field string, texts []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for i, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			r.fail(fmt.Sprintf("%s[%d]", field, i), "must be an address or a range such as 10.0.0.0/8")
			continue
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes
}

// logger returns the program's logger.
func (s *settings) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: s.logLevel}
	if s.file.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// printErrors prints an error, each line of which may be a separate error. It replaces
// other control characters.
func printErrors(w io.Writer, err error) {
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(w, strings.Join(strings.FieldsFunc(line, unicode.IsControl), " "))
	}
}

// withoutPath returns the reason why a file cannot be read, without the name of the file,
// which may be a secret in the wrong place.
func withoutPath(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
