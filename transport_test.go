package session_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// api is an API that takes some tokens and refuses others.
type api struct {
	*httptest.Server

	mu      sync.Mutex
	refuses map[string]bool // tokens; "*" stands for all
	seen    []string        // Authorization of each request
	bodies  []string
}

func newAPI(t *testing.T) *api {
	a := &api{refuses: map[string]bool{}}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		defer a.mu.Unlock()
		auth := r.Header.Get("Authorization")
		a.seen, a.bodies = append(a.seen, auth), append(a.bodies, string(body))
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		if a.refuses["*"] || a.refuses[strings.TrimPrefix(auth, "Bearer ")] {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) host() string { return strings.TrimPrefix(a.URL, "http://") }

func (a *api) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.seen)
}

// apiCaller is an app one of whose pages calls an API as its user.
type apiCaller struct {
	auth   *authtest.Server
	app    *httptest.Server
	client *http.Client
}

// newAPICaller serves call at /call. Its answer is what call returns.
func newAPICaller(t *testing.T, call func(r *http.Request, m *session.Manager) (int, error)) *apiCaller {
	t.Helper()
	c := &apiCaller{auth: authtest.NewServer(t, authtest.Options{
		PasswordCost: -1,
		Accounts:     []authtest.Account{{Email: "ada@example.com", Password: "password"}},
	})}
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(c.auth.URL), Keys: []session.SecretKey{session.GenerateKey()},
		Cookie: session.Cookie{Insecure: true}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)
	mux.HandleFunc("/call", func(w http.ResponseWriter, r *http.Request) {
		status, err := call(r, m)
		fmt.Fprintf(w, "%d %v", status, err)
	})
	c.app = httptest.NewServer(middleware.Sessions(m)(mux))
	t.Cleanup(c.app.Close)
	jar, _ := cookiejar.New(nil)
	c.client = &http.Client{Jar: jar}
	return c
}

func (c *apiCaller) signIn(t *testing.T) {
	t.Helper()
	resp, err := c.client.Post(c.app.URL+"/login", "application/json", strings.NewReader(`{"email":"ada@example.com","password":"password"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("login: %s", resp.Status)
	}
	// Within one second the service issues the same access token again.
	c.auth.Advance(2 * time.Second)
}

func (c *apiCaller) call(t *testing.T) string {
	t.Helper()
	resp, err := c.client.Get(c.app.URL + "/call")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// send does one request through m.Transport(hosts...).
func send(m *session.Manager, r *http.Request, url string, body io.Reader, hosts ...string) (int, error) {
	req, err := http.NewRequestWithContext(r.Context(), "POST", url, body)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Transport: m.Transport(hosts...)}).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func TestTransportSendsTheTokenToNamedHostsOnly(t *testing.T) {
	named, other := newAPI(t), newAPI(t)
	target := named.URL
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		return send(m, r, target, nil, named.host())
	})
	c.signIn(t)
	if got := c.call(t); got != "200 <nil>" {
		t.Errorf("call: %s", got)
	}
	if seen := named.requests(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Bearer ey") {
		t.Errorf("the named host got %d requests, with a token: %v", len(seen), len(seen) == 1 && seen[0] != "")
	}
	target = other.URL
	c.call(t)
	target = named.URL + "?to=" + other.URL
	c.call(t)
	if seen := other.requests(); !slices.Equal(seen, []string{"", ""}) {
		t.Error("another host got the token, by itself or by a redirect")
	}
}

func TestTransportRenewsBeforeTheCall(t *testing.T) {
	srv := newAPI(t)
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		return send(m, r, srv.URL, nil, srv.host())
	})
	c.signIn(t)
	c.call(t)
	first := srv.requests()[0]
	srv.mu.Lock()
	srv.refuses[strings.TrimPrefix(first, "Bearer ")] = true
	srv.mu.Unlock()
	// The API refuses what the session holds: one renewal, one more request.
	if got := c.call(t); got != "200 <nil>" {
		t.Errorf("call: %s", got)
	}
	seen := srv.requests()
	if len(seen) != 3 || seen[1] != first || seen[2] == first || c.auth.Refreshes() != 1 {
		t.Errorf("%d requests, %d refreshes; want the old token, then the new one", len(seen), c.auth.Refreshes())
	}
	// It was saved: the next call begins with it.
	if c.call(t); len(srv.requests()) != 4 || srv.requests()[3] != seen[2] || c.auth.Refreshes() != 1 {
		t.Error("the renewed token was not kept")
	}
	if c.auth.Reuses() != 0 {
		t.Error("a refresh token was used twice")
	}
}

func TestTransportDoesNotRenewForEver(t *testing.T) {
	srv := newAPI(t)
	srv.refuses["*"] = true
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		return send(m, r, srv.URL, nil, srv.host())
	})
	c.signIn(t)
	for range 5 {
		if got := c.call(t); got != "401 <nil>" {
			t.Errorf("call: %s", got)
		}
	}
	if n := c.auth.Refreshes(); n != 1 {
		t.Errorf("%d refreshes for an API that refuses every token, want 1", n)
	}
	if n := len(srv.requests()); n != 6 {
		t.Errorf("%d requests, want 5 and one more try", n)
	}
}

func TestTransportSendsTheBodyAgainIfItCan(t *testing.T) {
	srv := newAPI(t)
	var body func() io.Reader
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		return send(m, r, srv.URL, body(), srv.host())
	})
	c.signIn(t)
	srv.refuses["*"] = true
	body = func() io.Reader { return io.MultiReader(strings.NewReader("once")) } // cannot be sent again
	c.call(t)
	if n := c.auth.Refreshes(); n != 0 || len(srv.requests()) != 1 {
		t.Errorf("%d refreshes, %d requests for a body that cannot be sent again", n, len(srv.requests()))
	}
	body = func() io.Reader { return strings.NewReader("twice") }
	c.call(t)
	if !slices.Equal(srv.bodies, []string{"once", "twice", "twice"}) {
		t.Errorf("bodies: %q", srv.bodies)
	}
}

func TestTransportKeepsTheAnswerWhenRenewingFails(t *testing.T) {
	srv := newAPI(t)
	srv.refuses["*"] = true
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		return send(m, r, srv.URL, nil, srv.host())
	})
	c.signIn(t)
	c.auth.Inject(authtest.Refresh, authtest.Fault{Status: 503})
	if got := c.call(t); got != "401 <nil>" {
		t.Errorf("call: %s; want the API's answer", got)
	}
}

func TestTransportWithoutAUser(t *testing.T) {
	srv := newAPI(t)
	var got error
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		_, got = send(m, r, srv.URL, strings.NewReader("body"), srv.host())
		return 0, got
	})
	c.call(t)
	if !errors.Is(got, session.ErrUnauthenticated) || len(srv.requests()) != 0 {
		t.Errorf("error %v, %d requests; want ErrUnauthenticated and none", got, len(srv.requests()))
	}
}

func TestTransportHosts(t *testing.T) {
	srv := newAPI(t)
	port := srv.host()[strings.LastIndex(srv.host(), ":"):]
	for _, c := range []struct {
		name  string
		hosts []string
		want  string // "token", "none" or part of an error
	}{
		{"host and port of a loopback address", []string{"127.0.0.1" + port}, "token"},
		{"with its scheme", []string{"http://127.0.0.1" + port}, "token"},
		{"one of several", []string{"api.example.org", "127.0.0.1" + port}, "token"},
		{"another port", []string{"127.0.0.1:1"}, "none"},
		{"without a port it is the scheme's", []string{"127.0.0.1"}, "none"},
		{"https only", []string{"https://127.0.0.1" + port}, "none"},
		{"none", nil, "no host"},
		{"empty", []string{""}, "not a host"},
		{"an address with a path", []string{"http://127.0.0.1" + port + "/api"}, "not a host"},
		{"an address with a user", []string{"http://user@127.0.0.1" + port}, "not a host"},
		{"another scheme", []string{"ftp://127.0.0.1" + port}, "not a host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(srv.requests())
			caller := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
				return send(m, r, srv.URL, nil, c.hosts...)
			})
			caller.signIn(t)
			answer := caller.call(t)
			got := "none"
			if seen := srv.requests(); len(seen) == before {
				got = answer
			} else if seen[before] != "" {
				got = "token"
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
