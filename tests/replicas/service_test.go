package replicas_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session/authtest"
)

const password = "correct horse battery staple"

// service is the auth service of a cluster, and an API that is called with its tokens.
// Each user has a separate life of the first token, and a separate point at which
// requests are held.
type service struct {
	*authtest.Server
	url      string
	upstream string

	mu      sync.Mutex
	users   map[string]*user // by e-mail address
	byToken map[string]*user // by refresh token
	byID    map[string]*user
	secrets map[string]string      // the secrets that must not be found, and their kinds
	index   map[[grain]byte][]form // of the secrets; see search
	indexed int
}

// user is a user of the service.
type user struct {
	id, email string

	mu        sync.Mutex
	firstLife time.Duration // of the access token of a login; 0: as for all others
	refresh   *stop         // holds the refresh
	upstream  *stop         // holds the call of the API
	first     string        // the refresh token of the login
}

// stop holds a request until a test lets it pass, or for a while.
type stop struct {
	before bool          // before the request is executed, and not after
	lasts  time.Duration // 0: until the test lets it pass
	drop   bool          // the request is not executed and has no response

	arrived, release chan struct{}
	once             *sync.Once
}

func newStop(s stop) *stop {
	s.arrived, s.release, s.once = make(chan struct{}), make(chan struct{}), new(sync.Once)
	return &s
}

func (s *stop) pass() {
	s.once.Do(func() { close(s.arrived) })
	if s.lasts > 0 {
		time.Sleep(s.lasts)
		return
	}
	<-s.release
}

func newService(t *testing.T, opts authtest.Options) *service {
	t.Helper()
	opts.PasswordCost = -1
	inner, err := authtest.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &service{
		Server: inner, users: map[string]*user{}, byToken: map[string]*user{}, byID: map[string]*user{}, secrets: map[string]string{},
	}
	web := httptest.NewServer(s)
	api := httptest.NewServer(http.HandlerFunc(s.serveUpstream))
	s.url, s.upstream = web.URL, api.URL
	t.Cleanup(func() {
		for _, u := range s.users {
			u.letGo()
		}
		inner.Close()
		for _, server := range []*httptest.Server{web, api} {
			server.CloseClientConnections()
			server.Close()
		}
	})
	return s
}

// newUser adds an account.
func (s *service) newUser(firstLife time.Duration) *user {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &user{id: randomUUID(), email: strings.ToLower(rand.Text()) + "@example.com", firstLife: firstLife}
	s.AddAccount(authtest.Account{ID: u.id, Email: u.email, Password: password})
	s.users[u.email], s.byID[u.id] = u, u
	s.secrets[u.email], s.secrets[u.id] = "an e-mail address", "a user's ID"
	return u
}

// credentials returns the body of the user's login.
func (u *user) credentials() io.Reader {
	return strings.NewReader(`{"email":"` + u.email + `","password":"` + password + `"}`)
}

func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// holdRefresh and holdUpstream hold the next requests of a user.
func (u *user) holdRefresh(h stop) *stop {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refresh = newStop(h)
	return u.refresh
}

func (u *user) holdUpstream() *stop {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.upstream = newStop(stop{})
	return u.upstream
}

// letGo lets the held requests and all later ones pass.
func (u *user) letGo() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range []*stop{u.refresh, u.upstream} {
		if s != nil && s.lasts == 0 {
			close(s.release)
		}
	}
	u.refresh, u.upstream = nil, nil
}

// uses returns how often the refresh token of the user's login was used.
func (s *service) uses(u *user) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	info, _ := s.Token(u.first)
	return info.Uses
}

// ServeHTTP forwards requests to the service of package authtest.
func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var u *user
	var held *stop
	switch r.URL.Path {
	case "/auth/token/refresh":
		s.mu.Lock()
		u = s.byToken[r.URL.Query().Get("refresh_token")]
		s.mu.Unlock()
		if u != nil {
			u.mu.Lock()
			held = u.refresh
			u.mu.Unlock()
		}
	case "/auth/login":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var login struct{ Email string }
		if json.Unmarshal(body, &login) == nil {
			s.mu.Lock()
			u = s.users[login.Email]
			s.mu.Unlock()
		}
	}
	if held != nil && held.before {
		held.pass()
		if held.drop {
			panic(http.ErrAbortHandler)
		}
	}
	response := httptest.NewRecorder()
	s.Server.ServeHTTP(response, r)
	body := response.Body.Bytes()
	if u != nil && response.Code == http.StatusOK {
		body = s.note(u, r.URL.Path == "/auth/login", body)
	}
	if held != nil && !held.before {
		held.pass()
	}
	for name, values := range response.Header() {
		w.Header()[name] = values
	}
	w.Header().Del("Content-Length")
	w.WriteHeader(response.Code)
	_, _ = w.Write(body)
}

// note records the tokens of a response. It shortens the life of the user's first access
// token if firstLife is set.
func (s *service) note(u *user, login bool, body []byte) []byte {
	var tokens map[string]any
	if json.Unmarshal(body, &tokens) != nil {
		return body
	}
	access, _ := tokens["jwt_token"].(string)
	refresh, _ := tokens["refresh_token"].(string)
	u.mu.Lock()
	life := u.firstLife
	if login {
		u.first = refresh
	}
	u.mu.Unlock()
	if login && life > 0 {
		access = s.shorten(access, life)
		tokens["jwt_token"], tokens["jwt_expires_in"] = access, life.Milliseconds()
		body, _ = json.Marshal(tokens)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byToken[refresh] = u
	s.secrets[refresh], s.secrets[access] = "a refresh token", "an access token"
	return body
}

// shorten returns a copy of an access token that expires earlier.
func (s *service) shorten(token string, life time.Duration) string {
	parts := strings.Split(token, ".")
	claims := claimsOf(token)
	claims["exp"] = claims["iat"].(float64) + life.Seconds()
	payload, _ := json.Marshal(claims)
	signed := parts[0] + "." + base64.RawURLEncoding.EncodeToString(payload)
	mac := hmac.New(sha256.New, s.Secret())
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// claimsOf returns the payload of a JWT, nil if it is none.
func claimsOf(token string) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var claims map[string]any
	_ = json.Unmarshal(payload, &claims) // a payload that is not an object has no claims
	return claims
}

// userOf returns the user of an access token.
func (s *service) userOf(token string) *user {
	hasura, _ := claimsOf(token)["hasura"].(map[string]any)
	id, _ := hasura["x-hasura-user-id"].(string)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byID[id]
}

// serveUpstream responds with the token that it was called with.
func (s *service) serveUpstream(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if u := s.userOf(token); u != nil {
		u.mu.Lock()
		held := u.upstream
		u.mu.Unlock()
		if held != nil {
			held.pass()
		}
	}
	_, _ = io.WriteString(w, token)
}
