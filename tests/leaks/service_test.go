package leaks_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/synmetrix/session/tests/internal/leaks"
)

// wire is a proxy between the app and the auth service. It records every secret, and can
// make calls fail in ways about which programs log the most.
type wire struct {
	*httptest.Server
	service string // its address
	secrets *leaks.Secrets
	client  *http.Client

	mu    sync.Mutex
	fault *fault // nil: none
	path  string // of the calls that it is for
	hits  int
	last  map[string][]byte // response of the last login of a user
}

// fault replaces the response to a call. With carryOut, the service executes the call.
type fault struct {
	name     string
	carryOut bool
	response func(w http.ResponseWriter, c *call)
}

// call is a request to the service, and its response.
type call struct {
	*http.Request
	body     []byte
	status   int
	header   http.Header
	response []byte
	others   []byte // the responses to another user
}

// text returns the parts of a call that may have secrets.
func (c *call) text() string {
	return c.URL.RequestURI() + " " + c.Header.Get("Authorization") + " " + string(c.body) + " " + string(c.response)
}

func newWire(t *testing.T, service string, secrets *leaks.Secrets) *wire {
	w := &wire{service: service, secrets: secrets, last: map[string][]byte{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 20}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	w.Server = httptest.NewUnstartedServer(w)
	w.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.Start()
	t.Cleanup(w.Close)
	return w
}

// set begins a fault of all calls of a path, or ends it.
func (w *wire) set(path string, f *fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.path, w.fault, w.hits = path, f, 0
}

// struck returns how many calls had the fault.
func (w *wire) struck() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hits
}

func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	c := &call{Request: r}
	var err error
	if c.body, err = io.ReadAll(r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.mu.Lock()
	f := w.fault
	if f != nil && r.URL.Path == w.path {
		w.hits++
	} else {
		f = nil
	}
	for user, response := range w.last {
		if !bytes.Contains(c.body, []byte(user)) {
			c.others = response
		}
	}
	w.mu.Unlock()
	w.learnFromRequest(c)
	if f == nil || f.carryOut {
		w.forward(c)
	}
	if f != nil {
		f.response(rw, c)
		return
	}
	for name, values := range c.header {
		rw.Header()[name] = values
	}
	rw.WriteHeader(c.status)
	_, _ = rw.Write(c.response)
}

func (w *wire) forward(c *call) {
	req, err := http.NewRequestWithContext(c.Context(), c.Method, w.service+c.URL.RequestURI(), bytes.NewReader(c.body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	req.Header = c.Header.Clone()
	res, err := w.client.Do(req)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	c.status, c.header = res.StatusCode, res.Header
	if c.response, err = io.ReadAll(res.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.learnFromResponse(c)
}

func (w *wire) learnFromRequest(c *call) {
	w.secrets.Add("refresh token", c.URL.Query().Get("refresh_token"))
	if token, ok := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer "); ok {
		w.secrets.AddJWT("access token", token)
	}
	w.learnFromJSON(c.body)
}

func (w *wire) learnFromResponse(c *call) {
	for _, cookie := range (&http.Response{Header: c.header}).Cookies() {
		w.secrets.Add("cookie of the service", cookie.Value)
	}
	w.learnFromJSON(c.response)
	var login struct{ Email string }
	if c.URL.Path == "/auth/login" && json.Unmarshal(c.body, &login) == nil && bytes.Contains(c.response, []byte("jwt_token")) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.last[login.Email] = c.response
	}
}

func (w *wire) learnFromJSON(body []byte) {
	var fields map[string]any
	if json.Unmarshal(body, &fields) != nil {
		return
	}
	for name, value := range fields {
		text, _ := value.(string)
		switch name {
		case "jwt_token":
			w.secrets.AddJWT("access token", text)
		case "refresh_token":
			w.secrets.Add("refresh token", text)
		case "password", "old_password", "new_password":
			w.secrets.Add("password", text)
		case "ticket":
			w.secrets.Add("ticket", text)
		}
	}
}

// raw responds with bytes that need not be HTTP.
func raw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, text)
}

func reply(w http.ResponseWriter, status int, contentType, body string) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// quote is a text in a JSON string.
func quote(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

// faults are responses that quote the secrets of the call in every place that an error
// may quote, and calls without an end.
var faults = []fault{
	{"reset", false, func(http.ResponseWriter, *call) { panic(http.ErrAbortHandler) }},
	{"response lost", true, func(http.ResponseWriter, *call) { panic(http.ErrAbortHandler) }},
	{"response cut", true, func(w http.ResponseWriter, c *call) {
		w.Header().Set("Content-Length", fmt.Sprint(len(c.response)+1))
		_, _ = w.Write(c.response[:len(c.response)*2/3])
	}},
	{"no response", false, func(_ http.ResponseWriter, c *call) { <-c.Context().Done() }},
	{"HTML", false, func(w http.ResponseWriter, c *call) {
		reply(w, 502, "text/html", "<h1>Bad gateway</h1><p>"+c.text())
	}},
	{"HTML that says 401", false, func(w http.ResponseWriter, c *call) {
		reply(w, 401, "text/html", "<p>"+c.text())
	}},
	{"HTML that says 200", true, func(w http.ResponseWriter, c *call) {
		reply(w, 200, "text/html", "<p>"+c.text())
	}},
	{"redirect", false, func(w http.ResponseWriter, c *call) {
		w.Header().Set("Location", "http://127.0.0.1:1/?"+c.URL.RawQuery+"&body="+string(c.body))
		w.WriteHeader(302)
	}},
	{"400 with internals", false, func(w http.ResponseWriter, c *call) {
		reply(w, 400, "application/json", `{"statusCode":400,"error":"Bad Request","message":`+quote("query failed: "+c.text())+`}`)
	}},
	{"500 with internals", true, func(w http.ResponseWriter, c *call) {
		reply(w, 500, "application/json", `{"statusCode":500,"error":`+quote(c.text())+`,"message":`+quote(c.text())+`}`)
	}},
	{"half renewed", true, func(w http.ResponseWriter, c *call) {
		var fields map[string]any
		if json.Unmarshal(c.response, &fields) != nil {
			panic(http.ErrAbortHandler)
		}
		if token, ok := fields["jwt_token"].(string); ok {
			_, rest, _ := strings.Cut(token, ".")
			fields["jwt_token"] = rest
		}
		response, _ := json.Marshal(fields)
		reply(w, 200, "application/json", string(response))
	}},
	{"tokens of strange types", true, func(w http.ResponseWriter, c *call) {
		reply(w, 200, "application/json", `{"jwt_token":[`+quote(c.text())+`],"refresh_token":{"a":`+quote(c.text())+`},"ticket":7}`)
	}},
	{"not JSON", true, func(w http.ResponseWriter, c *call) {
		reply(w, 200, "application/json", strings.ReplaceAll(string(c.response), `":"`, `":`)+c.text())
	}},
	{"another user's tokens", true, func(w http.ResponseWriter, c *call) {
		reply(w, 200, "application/json", string(c.others))
	}},
	{"no HTTP", true, func(w http.ResponseWriter, c *call) { raw(w, c.text()+"\r\n\r\n") }},
	{"no status", true, func(w http.ResponseWriter, c *call) { raw(w, "HTTP/1.1 "+c.text()+"\r\n\r\n") }},
	{"no header", true, func(w http.ResponseWriter, c *call) {
		raw(w, "HTTP/1.1 200 OK\r\n"+c.text()+"\r\n\r\n")
	}},
	{"a length that is none", true, func(w http.ResponseWriter, c *call) {
		raw(w, "HTTP/1.1 200 OK\r\nContent-Length: "+c.text()+"\r\n\r\n")
	}},
	{"chunks that are none", true, func(w http.ResponseWriter, c *call) {
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+c.text()+"\r\n")
	}},
	{"a coding that is none", true, func(w http.ResponseWriter, c *call) {
		raw(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: "+c.text()+"\r\n\r\n")
	}},
	{"rate limited", false, func(w http.ResponseWriter, c *call) {
		w.Header().Set("Retry-After", c.text())
		w.Header().Set("X-RateLimit-Reset", c.text())
		reply(w, 429, "text/html", c.text())
	}},
}

// faultNamed is one of the faults.
func faultNamed(t *testing.T, name string) *fault {
	i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("there is no fault %q", name)
	}
	return &faults[i]
}
