package authtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Options are the settings of a [Server]. The zero value is a strict service
// without accounts on a free port of the loopback interface.
type Options struct {
	// Accounts are the initial accounts.
	Accounts []Account

	// Addr is the address that Start and NewServer listen on. Default:
	// 127.0.0.1:0.
	Addr string

	// AccessLife is the lifetime of access tokens, in whole seconds. Default: 15
	// minutes. (The real service counts in minutes. Synmetrix sets 10800, which is
	// 7.5 days.)
	AccessLife time.Duration

	// RefreshLife is the lifetime of refresh tokens. Default: 30 days.
	RefreshLife time.Duration

	// Lax makes the service handle refresh tokens like the real one. It looks a
	// token up and rotates it in two steps, so that concurrent uses usually all
	// succeed. A later use is rejected and does not affect newer tokens.
	Lax bool

	// Secret is the key that signs access tokens with HS256, unless RSAKey is set.
	// Default: 32 random bytes; see [Server.Secret].
	Secret []byte

	// RSAKey makes the service sign with RS256 and publish the public key at
	// /auth/jwks.
	RSAKey *rsa.PrivateKey

	// JWKSWithout are members to leave out of the key at /auth/jwks. Default:
	// none. The real service leaves out "use" if its key comes from the
	// environment (JWT_KEY), and "alg" and "use" after a restart with a key file.
	JWKSWithout []string

	// Namespace is the claim that holds the user's ID and roles. Default:
	// "hasura", as Synmetrix sets it.
	Namespace string

	// CustomFields are names of account fields to include in access tokens. The
	// field "avatar_url" becomes the claim x-hasura-avatar-url.
	CustomFields []string

	// CookieSecret signs the service's own cookies. If it is set, the service
	// accepts only signed cookies. Default: cookies are not signed, as in
	// Synmetrix.
	CookieSecret string

	// CookieSecure marks the service's own cookies Secure.
	CookieSecure bool

	// CookieSameSite is the SameSite attribute of the service's own cookies.
	// Default: http.SameSiteLaxMode.
	CookieSameSite http.SameSite

	// PasswordCost is the bcrypt cost of a password check. Default: 10, as in the
	// real service. If it is negative, passwords are compared without bcrypt, for
	// tests that sign many users in.
	PasswordCost int

	// RateLimit is the number of requests that a client address may send in
	// RateWindow. Default: no limit. In production the real service allows 1000.
	// Requests to /healthz do not count.
	RateLimit int

	// RateWindow is the length of a window of RateLimit. Default: 15 minutes.
	RateWindow time.Duration

	// Now is the clock of the service. [Server.Advance] adds to it. It may be
	// called concurrently. Default: time.Now.
	Now func() time.Time

	// OnEmail is called with each e-mail before the service responds to the
	// request. Calls may be concurrent. If it returns an error, the e-mail counts
	// as rejected by the mail server. Otherwise [Server.Emails] returns it, too.
	OnEmail func(Email) error

	// The other fields are settings of the real service, whose names are in
	// parentheses. Their zero values are the settings of Synmetrix.

	NoActivation   bool // registered accounts are not active at once (AUTO_ACTIVATE_NEW_USERS=false)
	VerifyEmails   bool // changed addresses are confirmed by e-mail; with NoActivation also those of new accounts (VERIFY_EMAILS)
	NoEmails       bool // no e-mails are sent (EMAILS_ENABLED=false)
	NoMagicLink    bool // login and registration need a password (MAGIC_LINK_ENABLED=false)
	LostPassword   bool // a password can be reset by e-mail (LOST_PASSWORD_ENABLED)
	SelfDelete     bool // users can delete their account (ALLOW_USER_SELF_DELETE)
	AnonymousUsers bool // users can sign in without an account (ANONYMOUS_USERS_ENABLED)
	NoMFA          bool // second factors are off (MFA_ENABLED=false)
	NoAuth         bool // all paths under /auth return 404 (AUTH_ENABLED=false)

	// AdminSecret allows logins without the right password if they carry it in
	// X-Admin-Secret (USER_IMPERSONATION_ENABLED). Default: no such logins.
	AdminSecret string

	// EmailDomains are the allowed endings of registered addresses
	// (ALLOWED_EMAIL_DOMAINS). Default: any.
	EmailDomains []string

	// RegisterRoles are the roles that a registration may request
	// (ALLOWED_USER_ROLES). Default: "user". A registration that requests no role
	// gets "user".
	RegisterRoles []string

	// RegisterFields are the allowed names in user_data of a registration
	// (REGISTRATION_CUSTOM_FIELDS). They become Fields of the account, and
	// "display_name" its DisplayName. Values must be strings: for a value of
	// another type the service responds with 500. Default: none.
	RegisterFields []string
}

// TB is the part of testing.TB that NewServer needs.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Server is an auth service. Create one with [NewServer], [Start] or [New]. All
// methods are safe for concurrent use.
type Server struct {
	// URL is the base URL of a listening server, in the form
	// http://127.0.0.1:port. Append paths such as /auth/login to it.
	URL string

	opts   Options
	kid    string // the key ID of opts.RSAKey
	offset atomic.Int64
	faults faults
	limit  limiter

	hashing sync.Mutex // one password at a time

	mu        sync.Mutex
	accounts  map[string]*account      // by ID
	tokens    map[string]*refreshToken // by value
	refreshes int
	reuses    int
	emails    []Email
	success   string // redirect URL after a link of an e-mail
	failure   string // redirect URL if the link is refused

	running sync.RWMutex // read-locked by each request in progress
	done    chan struct{}
	close   sync.Once
	server  *http.Server
	served  chan struct{}
}

// NewServer starts a server for a test and closes it when the test ends. It accepts
// at most one Options value. An invalid option fails the test.
func NewServer(t TB, opts ...Options) *Server {
	t.Helper()
	var o Options
	switch len(opts) {
	case 0:
	case 1:
		o = opts[0]
	default:
		t.Fatalf("authtest: NewServer accepts one Options, not %d", len(opts))
	}
	s, err := Start(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server that listens on opts.Addr. The caller must close it.
func Start(opts Options) (*Server, error) {
	s, err := New(opts)
	if err != nil {
		return nil, err
	}
	addr := opts.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("authtest: %w", err)
	}
	s.URL = "http://" + l.Addr().String()
	s.server = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       keepAlive,
	}
	s.served = make(chan struct{})
	go func() {
		defer close(s.served)
		_ = s.server.Serve(l) // returns ErrServerClosed after Close
	}()
	return s, nil
}

// New returns a server that does not listen, for use as an [http.Handler]. It
// serves /auth/… and a few other paths. Use it with an http.Server whose
// IdleTimeout is 5 seconds, as its Keep-Alive header says.
func New(opts Options) (*Server, error) {
	o, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts:     o,
		accounts: make(map[string]*account),
		tokens:   make(map[string]*refreshToken),
		success:  defaultRedirect,
		failure:  defaultRedirect,
		done:     make(chan struct{}),
	}
	if o.RSAKey != nil {
		s.kid = thumbprint(&o.RSAKey.PublicKey)
	}
	s.limit = limiter{max: o.RateLimit, window: o.RateWindow}
	for _, a := range o.Accounts {
		if _, err := s.add(a); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func invalidOption(field, problem string) error {
	return fmt.Errorf("authtest: Options.%s %s", field, problem)
}

// setKey checks the key that signs access tokens, and generates a secret if there is
// none.
func (o *Options) setKey() error {
	if o.RSAKey != nil && o.Secret != nil {
		return invalidOption("Secret", "and RSAKey exclude each other")
	}
	if o.RSAKey != nil {
		if _, err := jwt.SigningMethodRS256.Sign("", o.RSAKey); err != nil {
			return invalidOption("RSAKey", "cannot sign: "+err.Error())
		}
	}
	for _, name := range o.JWKSWithout {
		if name != "alg" && name != "use" {
			return invalidOption("JWKSWithout", `must contain only "alg" and "use"`)
		}
	}
	if o.RSAKey == nil && o.Secret == nil {
		o.Secret = make([]byte, 32)
		_, _ = rand.Read(o.Secret) // never fails
	}
	if o.RSAKey == nil && len(o.Secret) == 0 {
		return invalidOption("Secret", "must not be empty")
	}
	return nil
}

// withDefaults returns o with all defaults set, or an error that names an invalid
// option.
func (o Options) withDefaults() (Options, error) {
	bad := func(field, problem string) (Options, error) { return Options{}, invalidOption(field, problem) }
	o.Secret = bytes.Clone(o.Secret)
	for _, list := range []*[]string{&o.JWKSWithout, &o.CustomFields, &o.EmailDomains, &o.RegisterRoles, &o.RegisterFields} {
		*list = slices.Clone(*list)
	}
	if o.AccessLife == 0 {
		o.AccessLife = 15 * time.Minute
	}
	if o.AccessLife < time.Second {
		return bad("AccessLife", "must be a second or more")
	}
	o.AccessLife = o.AccessLife.Truncate(time.Second)
	if o.RefreshLife == 0 {
		o.RefreshLife = 30 * 24 * time.Hour
	}
	if o.RefreshLife < 0 {
		return bad("RefreshLife", "must not be negative")
	}
	if err := o.setKey(); err != nil {
		return Options{}, err
	}
	if o.Namespace == "" {
		o.Namespace = "hasura"
	}
	if o.PasswordCost == 0 {
		o.PasswordCost = 10
	}
	if o.PasswordCost > 0 && o.PasswordCost < 4 || o.PasswordCost > 31 {
		return bad("PasswordCost", "must be from 4 to 31, 0 for the default, or negative for none")
	}
	if len(o.RegisterRoles) == 0 {
		o.RegisterRoles = []string{"user"}
	}
	if o.RateLimit < 0 {
		return bad("RateLimit", "must not be negative")
	}
	if o.RateWindow == 0 {
		o.RateWindow = 15 * time.Minute
	}
	if o.RateWindow < 0 {
		return bad("RateWindow", "must not be negative")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Close stops the server. It closes the listener and all connections, aborts
// requests that a fault holds, and waits for requests in progress. It may be called
// more than once.
func (s *Server) Close() {
	s.close.Do(func() {
		close(s.done)
		if s.server != nil {
			_ = s.server.Close() // an error would be of a connection that is closed already
			<-s.served
		}
	})
	s.running.Lock()
	defer s.running.Unlock()
}

// Shutdown closes the server like [Server.Close], but first lets requests in
// progress finish until ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.Close()
	if s.server == nil {
		return nil
	}
	if err := s.server.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("authtest: shutdown: %w", err)
	}
	return nil
}

// Format prints the URL and the number of accounts for every verb, and nothing
// about the accounts.
func (s *Server) Format(f fmt.State, _ rune) {
	s.mu.Lock()
	n := len(s.accounts)
	s.mu.Unlock()
	_, _ = fmt.Fprintf(f, "authtest.Server{%s, %d accounts}", cmp.Or(s.URL, "not listening"), n)
}

// Now returns the time of the service's clock.
func (s *Server) Now() time.Time {
	return s.opts.Now().Add(time.Duration(s.offset.Load()))
}

// Advance moves the service's clock by d, backwards if d is negative.
func (s *Server) Advance(d time.Duration) { s.offset.Add(int64(d)) }

// Secret returns a copy of the key that signs access tokens with HS256. It is nil if
// the service signs with RS256.
func (s *Server) Secret() []byte { return append([]byte(nil), s.opts.Secret...) }

// ServeHTTP serves one request, with the faults that apply to it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.running.RLock()
	defer s.running.RUnlock()
	select {
	case <-s.done:
		panic(http.ErrAbortHandler)
	default:
	}

	c := &call{server: s, req: r, header: make(http.Header)}
	// Only after the whole body is read does net/http notice that a client
	// disconnects while a fault holds its request.
	c.readBody()
	endpoint, handle := route(r)
	c.endpoint = endpoint
	s.perform(w, c, handle, s.faults.next(endpoint))
}
