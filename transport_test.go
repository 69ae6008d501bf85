package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/internal/testkit"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
)

// api is an API that accepts some tokens and rejects others.
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

// apiCaller is an app with a page that calls an API as its user.
type apiCaller struct {
	auth   *authtest.Server
	config session.Config
	app    *httptest.Server
	client *http.Client
}

// apiLife is the life of an access token.
const apiLife = 15 * time.Minute

// newAPICaller serves call at /call. The response is the result of call.
func newAPICaller(t *testing.T, call func(r *http.Request, m *session.Manager) (int, error), set ...func(*session.Config)) *apiCaller {
	t.Helper()
	c := &apiCaller{auth: authtest.NewServer(t, authtest.Options{
		PasswordCost: -1, AccessLife: apiLife,
		Accounts: []authtest.Account{{Email: "ada@example.com", Password: "password"}},
	})}
	c.config = session.Config{
		Auth: synmetrix.NewClient(c.auth.URL), Keys: []session.SecretKey{session.GenerateKey()},
		Cookie: session.Cookie{Insecure: true}, Logger: slog.New(slog.DiscardHandler), Now: c.auth.Now,
	}
	for _, f := range set {
		f(&c.config)
	}
	m, err := session.New(c.config)
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
	jar, _ := cookiejar.New(nil)
	c.client = &http.Client{Jar: jar}
	t.Cleanup(func() {
		c.app.Close()
		shutdown(t, m)
	})
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

// A token that is due is refreshed and saved before the API receives a request.
// Every process then knows the new token, even for a request with the browser's
// older cookies.
func TestTransportRefreshesAndSavesBeforeTheCall(t *testing.T) {
	overKinds(t, func(t *testing.T, _ func(*session.Config), stored bool) {
		shared := &testkit.FailingStore{} // is not the process's own memory
		var old string                    // the browser's cookies
		var other *session.Manager
		known := make(chan string, 1) // the token that the other process has
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if old == "" {
				return
			}
			req := httptest.NewRequest("GET", "/", nil)
			req.Header.Set("Cookie", old)
			req, x := testkit.Begin(other, req)
			token, err := session.FromContext(req.Context()).AccessToken(req.Context())
			_ = x.Commit(http.Header{})
			if "Bearer "+token != r.Header.Get("Authorization") || err != nil {
				known <- fmt.Sprintf("not that of the call (%v)", err)
				return
			}
			known <- token
		}))
		defer srv.Close()
		c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
			return send(m, r, srv.URL, nil, strings.TrimPrefix(srv.URL, "http://"))
		}, func(c *session.Config) {
			shared.Store = &memstore.Store{Now: c.Now}
			if c.Coordinator = shared; stored {
				c.Coordinator, c.Store = nil, shared
			}
		})
		var err error
		if other, err = session.New(c.config); err != nil {
			t.Fatal(err)
		}
		defer shutdown(t, other)
		c.signIn(t)
		c.call(t)
		u, _ := url.Parse(c.app.URL)
		for _, cookie := range c.client.Jar.Cookies(u) {
			old += cookie.Name + "=" + cookie.Value + "; "
		}
		c.auth.Advance(apiLife)
		if got := c.call(t); got != "200 <nil>" {
			t.Errorf("call: %s", got)
		}
		if token := <-known; strings.Count(token, ".") != 2 {
			t.Errorf("the other process's token is %s", token)
		}
		if n := c.auth.Refreshes(); n != 1 {
			t.Errorf("%d refreshes, want 1", n)
		}
	})
}

// If an API rejects the token of many concurrent calls, the token is refreshed
// once.
func TestTransportRefreshesOnceForMany(t *testing.T) {
	overKinds(t, func(t *testing.T, kind func(*session.Config), _ bool) {
		srv := newAPI(t)
		c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
			return send(m, r, srv.URL, nil, srv.host())
		}, kind)
		c.signIn(t)
		c.call(t)
		srv.mu.Lock()
		srv.refuses[strings.TrimPrefix(srv.seen[0], "Bearer ")] = true
		srv.mu.Unlock()
		results := inParallel(30, func(int) string { return c.call(t) })
		if len(results) != 1 || results["200 <nil>"] != 30 || c.auth.Refreshes() != 1 || c.auth.Reuses() != 0 {
			t.Errorf("results %v, %d refreshes", results, c.auth.Refreshes())
		}
	})
}

func TestTransportRefreshesARejectedToken(t *testing.T) {
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
	// The API rejects the session's token: one refresh and one more request follow.
	if got := c.call(t); got != "200 <nil>" {
		t.Errorf("call: %s", got)
	}
	seen := srv.requests()
	if len(seen) != 3 || seen[1] != first || seen[2] == first || c.auth.Refreshes() != 1 {
		t.Errorf("%d requests, %d refreshes; want the old token, then the new one", len(seen), c.auth.Refreshes())
	}
	// The new token was saved: the next call begins with it.
	if c.call(t); len(srv.requests()) != 4 || srv.requests()[3] != seen[2] || c.auth.Refreshes() != 1 {
		t.Error("the refreshed token was not kept")
	}
	if c.auth.Reuses() != 0 {
		t.Error("a refresh token was used twice")
	}
}

func TestTransportStopsRefreshing(t *testing.T) {
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

func TestTransportKeepsTheResponseIfTheRefreshFails(t *testing.T) {
	srv := newAPI(t)
	srv.refuses["*"] = true
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		return send(m, r, srv.URL, nil, srv.host())
	})
	c.signIn(t)
	c.auth.Inject(authtest.Refresh, authtest.Fault{Status: 503})
	if got := c.call(t); got != "401 <nil>" {
		t.Errorf("call: %s; want the API's response", got)
	}
}

// Without a token, no request is sent, and the app gets the reason.
func TestTransportWithoutAToken(t *testing.T) {
	srv := newAPI(t)
	var got error
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		body := &closing{Reader: strings.NewReader("body")}
		_, got = send(m, r, srv.URL, body, srv.host())
		if !body.closed {
			t.Error("the request's body was not closed")
		}
		return 0, got
	})
	c.signIn(t)
	c.auth.Inject(authtest.Refresh, authtest.Fault{Status: 503})
	c.auth.Advance(apiLife)
	if c.call(t); !errors.Is(got, session.ErrSessionUnavailable) {
		t.Errorf("while the service is down: %v", got)
	}
	c.auth.Clear()
	c.auth.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = true })
	c.auth.Advance(apiLife)
	if c.call(t); !errors.Is(got, session.ErrUnauthenticated) && !errors.Is(got, session.ErrEnded) {
		t.Errorf("after the session was refused: %v", got)
	}
	m, err := session.New(c.config)
	if err != nil {
		t.Fatal(err)
	}
	defer shutdown(t, m)
	outside := httptest.NewRequest("GET", "/", nil)
	if _, err := send(m, outside, srv.URL, nil, srv.host()); !errors.Is(err, session.ErrNotLoaded) {
		t.Errorf("outside of the middleware: %v", err)
	}
	outside.Header.Set("Authorization", "Bearer x")
	bearer, _ := testkit.Begin(m, outside)
	if _, err := send(m, bearer, srv.URL, nil, srv.host()); !errors.Is(err, session.ErrBearer) {
		t.Errorf("as a bearer: %v", err)
	}
	if n := len(srv.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// closing is a body that records whether it was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// If the service rejects the session's refresh token during the retry of a
// call, the session ends, and the app gets the API's own response.
func TestTransportRejectedDuringTheRetry(t *testing.T) {
	srv := newAPI(t)
	srv.refuses["*"] = true
	var after bool
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		defer func() { after = session.FromContext(r.Context()).SignedIn() }()
		return send(m, r, srv.URL, nil, srv.host())
	})
	c.signIn(t)
	c.auth.UpdateAccount("ada@example.com", func(a *authtest.Account) { a.Inactive = true })
	if got := c.call(t); got != "401 <nil>" || after {
		t.Errorf("%s; signed in afterwards: %v", got, after)
	}
}

// If an API redirects to another host and back, only the named host receives
// the token.
func TestTransportRedirects(t *testing.T) {
	named, other := newAPI(t), newAPI(t)
	c := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
		there := other.URL + "?to=" + url.QueryEscape(named.URL)
		return send(m, r, named.URL+"?to="+url.QueryEscape(there), nil, named.host())
	})
	c.signIn(t)
	if got := c.call(t); got != "200 <nil>" {
		t.Errorf("call: %s", got)
	}
	if seen := other.requests(); !slices.Equal(seen, []string{""}) {
		t.Errorf("another host got %d requests, one of them with a token", len(seen))
	}
	if seen := named.requests(); len(seen) != 2 || seen[0] == "" || seen[0] != seen[1] {
		t.Errorf("the named host got %d requests, not all with the token", len(seen))
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Hosts are compared without regard to case.
func TestTransportHostNames(t *testing.T) {
	for _, c := range []struct {
		host, address string
		want          bool
	}{
		{"API.Example.org", "https://api.example.org/x", true},
		{"api.example.org", "https://API.EXAMPLE.ORG:443/x", true},
		{"api.example.org:443", "https://api.example.org/x", true},
		{"api.example.org:8443", "https://api.example.org:8443/x", true},
		{"[2001:DB8::1]", "https://[2001:db8::1]/x", true},
		{"[::1]:9000", "http://[::1]:9000/x", true},
		{"localhost:9000", "http://LOCALHOST:9000/x", true},
		{"api.example.org", "http://api.example.org/x", false},
		{"api.example.org", "https://api.example.org:8443/x", false},
		{"api.example.org", "https://api.example.org.evil.example/x", false},
		{"api.example.org", "https://evil.example/api.example.org", false},
		{"api.example.org", "https://api.example.org@evil.example/x", false},
		{"example.org", "https://api.example.org/x", false},
	} {
		caller := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
			tr := m.Transport(c.host)
			tr.Base = roundTripper(func(r *http.Request) (*http.Response, error) {
				got := http.StatusNoContent
				if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
					got = http.StatusOK
				}
				return &http.Response{StatusCode: got, Body: http.NoBody}, nil
			})
			req, err := http.NewRequestWithContext(r.Context(), "GET", c.address, nil)
			if err != nil {
				return 0, err
			}
			resp, err := (&http.Client{Transport: tr}).Do(req)
			if err != nil {
				return 0, err
			}
			return resp.StatusCode, nil
		})
		caller.signIn(t)
		if got, want := caller.call(t), map[bool]string{true: "200 <nil>", false: "204 <nil>"}[c.want]; got != want {
			t.Errorf("named %s, called %s: %s, want %s", c.host, c.address, got, want)
		}
	}
}

// Closing a client's idle connections closes those of Transport.Base.
func TestTransportCloseIdleConnections(t *testing.T) {
	closed := make(chan struct{}, 1)
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	srv.Start()
	defer srv.Close()
	tr := newApp(t).Transport("api.example.org")
	tr.Base = &http.Transport{}
	client := &http.Client{Transport: tr}
	resp, err := client.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	client.CloseIdleConnections()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("the connection is kept")
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
		{"an address with a user", []string{"api.example.org", "http://user:secret@127.0.0.1" + port}, "argument 2 is not a host"},
		{"another scheme", []string{"ftp://127.0.0.1" + port}, "not a host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(srv.requests())
			caller := newAPICaller(t, func(r *http.Request, m *session.Manager) (int, error) {
				return send(m, r, srv.URL, nil, c.hosts...)
			})
			caller.signIn(t)
			result := caller.call(t)
			got := "none"
			if seen := srv.requests(); len(seen) == before {
				got = result
			} else if seen[before] != "" {
				got = "token"
			}
			if !strings.Contains(got, c.want) || strings.Contains(got, "secret") {
				t.Errorf("got %q, want %q and no password", got, c.want)
			}
		})
	}
}

// A request that is not complete causes no panic. An http.Client completes it, but a program
// may call RoundTrip itself.
func TestTransportWithoutAHeader(t *testing.T) {
	api, a := newAPI(t), newApp(t)
	a.signedIn().visit(func(ctx context.Context, _ *session.Session) {
		tr := a.Transport(api.host())
		u, err := url.Parse(api.URL)
		if err != nil {
			t.Fatal(err)
		}
		res, err := tr.RoundTrip((&http.Request{Method: "GET", URL: u}).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if seen := api.requests(); len(seen) != 1 || !strings.HasPrefix(seen[0], "Bearer ey") {
			t.Errorf("%d requests, without the token", len(seen))
		}
		if res, err := tr.RoundTrip((&http.Request{Method: "GET"}).WithContext(ctx)); err == nil {
			_ = res.Body.Close()
			t.Error("a request without a URL is sent")
		}
	})
}
