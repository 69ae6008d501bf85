// Package refresh_test tests sessions whose access tokens expire, and races between
// responses that sign a user in or out: many requests at once, clients that disconnect,
// and logouts and other logins in every order. It uses real HTTP over sockets. Only the
// tests move the clock.
package refresh_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// kind is a place of sessions: cookies or a store.
type kind string

const (
	inCookies kind = "cookies"
	inMemory  kind = "memory"
)

var kinds = []kind{inCookies, inMemory}

// clock is shared by all parts of a run. Only the test moves it.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// accessLife is the life of access tokens. By default they are refreshed in the last
// minute of their life, or slightly less in some sessions.
const (
	accessLife = time.Hour
	intoWindow = accessLife - 30*time.Second
	intoExpiry = accessLife + time.Minute
)

// grace is Config.Grace of all sites.
const (
	grace = time.Minute
	day   = 24 * time.Hour
)

const password = "correct horse battery staple"

// site is an app with its users and its auth service.
type site struct {
	t       *testing.T
	kind    kind
	clock   *clock
	journal *journal
	auth    *authtest.Server
	config  session.Config
	mux     *http.ServeMux // of the current Manager
	serve   atomic.Value   // the current http.HandlerFunc
	url     string
	client  *http.Client
	stop    func() // shuts the Manager down
}

// setup has the settings that an option of newSite may change.
type setup struct {
	session.Config
	store   func(store.Store) store.Store   // wraps the store of sessions
	inside  func(http.Handler) http.Handler // wraps the app's handlers
	outside func(http.Handler) http.Handler // wraps the whole app
}

// newSite starts a site for the given users, whose names are IDs and the local
// parts of their addresses.
func newSite(t *testing.T, k kind, users []string, opts ...func(*setup)) *site {
	t.Helper()
	s := &site{t: t, kind: k, clock: new(clock), journal: newJournal()}
	var accounts []authtest.Account
	for _, u := range users {
		accounts = append(accounts, authtest.Account{ID: u, Email: address(u), Password: password})
	}
	s.auth = authtest.NewServer(t, authtest.Options{Accounts: accounts, AccessLife: accessLife, PasswordCost: -1, Now: s.clock.now})
	transport := synmetrix.NewTransport()
	keep := func(s store.Store) store.Store { return s }
	plain := func(next http.Handler) http.Handler { return next }
	set := setup{store: keep, inside: plain, outside: plain, Config: session.Config{
		Auth: synmetrix.NewClient(s.auth.URL, synmetrix.WithTransport(transport), synmetrix.WithTimeout(tooLong)),
		Keys: []session.SecretKey{session.GenerateKey()},
		Now:  s.clock.now, Logger: slog.New(slog.DiscardHandler), OnEvent: s.journal.note, Grace: grace,
		// A busy machine must not cause an outage.
		AuthTimeout: tooLong, StoreTimeout: tooLong,
	}}
	for _, o := range opts {
		o(&set)
	}
	memory := set.store(&memstore.Store{Now: s.clock.now})
	if k == inMemory {
		set.Store = memory
	} else {
		set.Coordinator = memory
	}
	s.config = set.Config
	s.start(set.inside)
	server := httptest.NewServer(set.outside(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serve.Load().(http.HandlerFunc)(w, r)
	})))
	s.url = server.URL
	browsers := &http.Transport{MaxIdleConnsPerHost: 1000}
	s.client = &http.Client{Transport: browsers, Timeout: 2 * tooLong}
	t.Cleanup(func() {
		browsers.CloseIdleConnections()
		server.Close()
		s.stop()
		transport.CloseIdleConnections()
	})
	return s
}

// start serves the app with a new Manager.
func (s *site) start(inside func(http.Handler) http.Handler) {
	s.t.Helper()
	m, err := session.New(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.mux = http.NewServeMux()
	middleware.Mount(s.mux, m)
	s.mux.HandleFunc("GET /who", who)
	s.mux.Handle("GET /upstream", middleware.RequireUser(http.HandlerFunc(callUpstream)))
	s.serve.Store(middleware.Sessions(m)(inside(s.mux)))
	s.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), tooLong)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			s.t.Error(err)
		}
	})
}

// restart waits until all work of earlier requests has ended, and then serves the app
// with another Manager with the same keys and the same store or coordinator.
func (s *site) restart() {
	s.t.Helper()
	s.stop()
	s.start(func(next http.Handler) http.Handler { return next })
}

func address(user string) string { return "user-" + user + "@example.com" }

// userID returns the ID of the n-th user.
func userID(n int) string {
	id := strconv.Itoa(n)
	return "00000000-0000-4000-8000-" + strings.Repeat("0", 12-len(id)) + id
}

// seen has the session's data in a response.
type seen struct{ User, Token string }

// who returns the user in a response, "" for a visitor.
func who(w http.ResponseWriter, r *http.Request) {
	respondWith(w, seen{User: session.FromContext(r.Context()).UserID()})
}

// callUpstream calls an API as the user, and returns the user that the API has seen.
func callUpstream(w http.ResponseWriter, r *http.Request) {
	token, err := session.FromContext(r.Context()).AccessToken(r.Context())
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, upstream.URL, nil)
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := upstream.Client().Do(req)
	if err != nil {
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusBadGateway, Err: err})
		return
	}
	defer res.Body.Close()
	bearer, err := io.ReadAll(res.Body)
	if err != nil {
		middleware.Refuse(w, r, &middleware.Problem{Status: http.StatusBadGateway, Err: err})
		return
	}
	respondWith(w, seen{User: session.FromContext(r.Context()).UserID(), Token: string(bearer)})
}

func respondWith(w http.ResponseWriter, v seen) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// upstream is an API that responds with the token that it was called with.
var upstream *httptest.Server

// subject is the user of an access token.
func subject(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("not a JWT was sent upstream")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Hasura struct {
			User string `json:"x-hasura-user-id"`
		} `json:"hasura"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Hasura.User
}

// jar has the cookies of a browser.
type jar = testkit.Jar

// The cookies of a session have the tokens or the ID, and the state.
const (
	mainCookie  = "__Host-session"
	stateCookie = "__Host-session-state"
)

// response is a response that has been read.
type response struct {
	status  int
	seen    seen
	body    string
	cookies []*http.Cookie
}

// sets reports whether the response sets a cookie with this name.
func (a response) sets(name string) bool {
	return slices.ContainsFunc(a.cookies, func(c *http.Cookie) bool { return c.Name == name && c.MaxAge >= 0 })
}

// names returns the names of the cookies that the response sets or deletes, for messages.
func (a response) names() []string {
	var names []string
	for _, c := range a.cookies {
		what := "sets "
		if c.MaxAge < 0 {
			what = "deletes "
		}
		names = append(names, what+c.Name)
	}
	return names
}

// isDevice reports whether a cookie is that of a known device, which belongs to no
// session.
func isDevice(c *http.Cookie) bool { return strings.HasSuffix(c.Name, "-device") }

// send sends a request with the cookies of a jar.
func (s *site) send(ctx context.Context, method, path, body string, j jar, header ...string) (response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("Accept", "application/json")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if len(j) > 0 {
		req.Header.Set("Cookie", j.String())
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return response{}, err
	}
	a := response{status: res.StatusCode, body: string(raw), cookies: slices.DeleteFunc(res.Cookies(), isDevice)}
	if res.StatusCode == http.StatusOK {
		err = json.NewDecoder(bytes.NewReader(raw)).Decode(&a.seen)
	}
	return a, err
}

func (s *site) get(path string, j jar) response {
	s.t.Helper()
	a, err := s.send(context.Background(), http.MethodGet, path, "", j)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func credentials(user string) string {
	return `{"email":"` + address(user) + `","password":"` + password + `"}`
}

// signIn returns the cookies of a browser in which a user has signed in, and
// the access token of the session.
func (s *site) signIn(user string) (jar, string) {
	s.t.Helper()
	a, err := s.send(context.Background(), http.MethodPost, "/login", credentials(user), nil)
	if err != nil || a.status != http.StatusOK {
		s.t.Fatalf("login: %v, %d %s", err, a.status, a.body)
	}
	j := jar(nil).After(a.cookies)
	a = s.get("/upstream", j)
	if a.status != http.StatusOK || a.seen.User != user || subject(s.t, a.seen.Token) != user {
		s.t.Fatalf("signed in as %s: %d %s", user, a.status, a.body)
	}
	return j, a.seen.Token
}

// served fails the test unless the response is for the user, and returns the token that
// was sent upstream for it.
func (s *site) served(a response, user string) (token string) {
	s.t.Helper()
	if a.status != http.StatusOK {
		s.t.Fatalf("%d %s, want %s to be served", a.status, a.body, user)
	}
	if a.seen.User != user || subject(s.t, a.seen.Token) != user {
		s.t.Fatalf("the response is %s's and was called for with a token of %s, want %s", a.seen.User, subject(s.t, a.seen.Token), user)
	}
	return a.seen.Token
}

// refreshed fails the test unless the auth service has received n refreshes, each with
// another refresh token.
func (s *site) refreshed(want int) {
	s.t.Helper()
	if arrived, done, again := s.auth.Requests(authtest.Refresh), s.auth.Refreshes(), s.auth.Reuses(); arrived != want || done != want || again != 0 {
		s.t.Fatalf("%d refreshes arrived and %d were carried out, want %d; %d refresh tokens were used again", arrived, done, want, again)
	}
}

// tooLong is a time that is enough on every machine.
const tooLong = 2 * time.Minute

// await waits for the first of several events, and returns its index.
func (s *site) await(what string, events ...<-chan struct{}) int {
	s.t.Helper()
	var all [3]<-chan struct{}
	copy(all[:], events)
	timer := time.NewTimer(tooLong)
	defer timer.Stop()
	select {
	case <-all[0]:
		return 0
	case <-all[1]:
		return 1
	case <-all[2]:
		return 2
	case <-timer.C:
		s.t.Fatalf("waited in vain: %s", what)
		return -1
	}
}

// journal counts a Manager's events, so that a test can wait for one.
type journal struct {
	mu      sync.Mutex
	counts  map[string]int
	waiting map[string]map[int]chan struct{}
}

func newJournal() *journal {
	return &journal{counts: map[string]int{}, waiting: map[string]map[int]chan struct{}{}}
}

func (j *journal) note(_ context.Context, e session.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.counts[e.Name]++
	if ch := j.waiting[e.Name][j.counts[e.Name]]; ch != nil {
		close(ch)
	}
}

// next returns a channel that is closed when the event happens again.
func (j *journal) next(event string) <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.waiting[event] == nil {
		j.waiting[event] = map[int]chan struct{}{}
	}
	n := j.counts[event] + 1
	if j.waiting[event][n] == nil {
		j.waiting[event][n] = make(chan struct{})
	}
	return j.waiting[event][n]
}
