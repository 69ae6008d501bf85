package authtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"
)

// Fault makes a request fail or holds it at a chosen point. The fields can be
// combined. The zero value does nothing.
//
//	Fault{Status: 503}                              // not carried out
//	Fault{Status: 502, Body: "<h1>Bad gateway</h1>"}
//	Fault{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}
//	Fault{Delay: time.Second, Times: 3}             // the next three are slow
//	Fault{Deliver: Reset}                           // reset before anything is done
//	Fault{Deliver: Reset, CarryOut: true}           // token rotated, response lost
//	Fault{Deliver: HalfThenReset}                   // reset in the middle of the body
//	Fault{BackendDown: true}                        // the database is down
//	Fault{NoToken: true}                            // registered, but not signed in
//	Fault{Edit: SpoilAccessToken}                   // new refresh token, no usable JWT
type Fault struct {
	// Times is the number of requests that the fault applies to. Default: all,
	// until Clear.
	Times int

	// Delay is a pause before the request is processed. As with the real service,
	// the request is carried out even if the client disconnects meanwhile. Delay, like
	// Drip, is real time, not time of the service's clock.
	Delay time.Duration

	// Before holds the request before it is carried out.
	Before *Gate

	// Between holds a request between two steps: a refresh in lax mode between the
	// lookup of the token and its rotation (in strict mode there is one step), a
	// logout of all sessions between finding the user and ending the sessions, a
	// login between checking the password and issuing tokens, a registration
	// between finding the address free and storing it.
	Between *Gate

	// After holds the request after it was carried out and before the response is
	// sent.
	After *Gate

	// Status, Header and Body replace the service's response, and the request is
	// not carried out. Status is from 200 to 599. Without it, Header and Body have
	// no effect. If Header has no Content-Type, a Body that begins with "<" is sent
	// as HTML, and any other as JSON.
	Status int
	Header http.Header
	Body   string

	// CarryOut makes the service carry out the request even if its response is
	// replaced or lost.
	CarryOut bool

	// BackendDown makes the service's database fail. Steps that need the database
	// are not carried out, and the response usually reports another error. For
	// example, a login reports that the account does not exist, and a logout
	// reports success.
	BackendDown bool

	// NoToken makes the database reject the new refresh token of the request, after
	// all steps before it. For example, a registration creates the account, but
	// does not sign it in, and responds with a 400 without a message. A refresh
	// responds with 500, and its token stays valid.
	NoToken bool

	// Edit changes the response before it is sent: [DropTokens],
	// [SpoilAccessToken], [Truncate], [Enlarge], or your own function. Calls may be
	// concurrent.
	Edit func(*Response)

	// Deliver selects how the response is sent. Default: Whole. A request without a
	// response (Hang, Close, Reset) is carried out only with CarryOut.
	Deliver Delivery

	// Drip is the time over which the body of the response is sent, in small
	// pieces.
	Drip time.Duration
}

// Delivery is a way to send a response, or not to send it.
type Delivery int

// The values of [Fault.Deliver].
const (
	Whole         Delivery = iota
	Hang                   // no response until the client disconnects or the server closes
	Close                  // the connection is closed without a response
	Reset                  // the connection is reset (TCP RST) without a response
	HalfThenClose          // the connection is closed after half of the body
	HalfThenReset          // the connection is reset after half of the body
)

func (f *Fault) carryOut() bool {
	if f.CarryOut {
		return true
	}
	return f.Status == 0 && f.Deliver != Hang && f.Deliver != Close && f.Deliver != Reset
}

// response returns the response that replaces the service's.
func (f *Fault) response() *Response {
	resp := &Response{Status: f.Status, Header: make(http.Header), Body: []byte(f.Body)}
	if f.Body != "" {
		resp.Header.Set("Content-Type", "application/json; charset=utf-8")
		if f.Body[0] == '<' {
			resp.Header.Set("Content-Type", "text/html; charset=utf-8")
		}
	}
	maps.Copy(resp.Header, f.Header.Clone())
	return resp
}

// DropTokens removes the tokens from a body, for [Fault.Edit].
func DropTokens(resp *Response) {
	editBody(resp, func(body map[string]json.RawMessage) {
		delete(body, "jwt_token")
		delete(body, "refresh_token")
	})
}

// SpoilAccessToken replaces the access token with a text that is not a JWT, and
// keeps the refresh token, for [Fault.Edit].
func SpoilAccessToken(resp *Response) {
	editBody(resp, func(body map[string]json.RawMessage) {
		body["jwt_token"] = json.RawMessage(`"unusable"`)
	})
}

func editBody(resp *Response, edit func(map[string]json.RawMessage)) {
	var body map[string]json.RawMessage
	if json.Unmarshal(resp.Body, &body) == nil && body != nil {
		edit(body)
		resp.Body = marshal(body)
	}
}

// Truncate removes the second half of the body, for [Fault.Edit]. The response is
// still valid HTTP.
func Truncate(resp *Response) { resp.Body = resp.Body[:len(resp.Body)/2] }

// Enlarge makes a JSON body larger than 2 MiB, for [Fault.Edit]. It adds white space
// before the last byte, so that the body stays valid JSON.
func Enlarge(resp *Response) {
	if n := len(resp.Body); n > 0 {
		padding := bytes.Repeat([]byte(" "), 2<<20)
		resp.Body = append(append(append([]byte(nil), resp.Body[:n-1]...), padding...), resp.Body[n-1])
	}
}

// faults holds the faults of coming requests, and counts the requests.
type faults struct {
	mu       sync.Mutex
	pending  map[Endpoint][]*Fault
	requests map[Endpoint]int
	total    int
}

// Inject applies a fault to coming requests to an endpoint, or to all endpoints for
// [Any]. Faults of one endpoint apply in the order in which they were injected,
// each for its number of requests. Faults of Any apply to endpoints without a fault.
// Inject panics if the fault has an invalid Status.
func (s *Server) Inject(e Endpoint, f Fault) {
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		panic(fmt.Sprintf("authtest: Inject: Status is %d, must be from 200 to 599", f.Status))
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.pending == nil {
		s.faults.pending = make(map[Endpoint][]*Fault)
	}
	f.Header = f.Header.Clone()
	s.faults.pending[e] = append(s.faults.pending[e], &f)
}

// Clear removes the faults of the given endpoints, or all faults if no endpoint is
// given. Faults still apply to requests that have already arrived.
func (s *Server) Clear(endpoints ...Endpoint) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if len(endpoints) == 0 {
		s.faults.pending = nil
	}
	for _, e := range endpoints {
		delete(s.faults.pending, e)
	}
}

// Requests returns the number of requests to an endpoint that have arrived, whatever
// their outcome. For [Any] it returns the number of all requests.
func (s *Server) Requests(e Endpoint) int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if e == Any {
		return s.faults.total
	}
	return s.faults.requests[e]
}

// next counts a request and returns the fault that applies to it.
func (f *faults) next(e Endpoint) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.total++
	if e != Any {
		if f.requests == nil {
			f.requests = make(map[Endpoint]int)
		}
		f.requests[e]++
	}
	key := e
	if len(f.pending[key]) == 0 {
		key = Any
	}
	queue := f.pending[key]
	if len(queue) == 0 {
		return Fault{}
	}
	fault := *queue[0]
	if queue[0].Times > 0 {
		if queue[0].Times--; queue[0].Times == 0 {
			f.pending[key] = queue[1:]
		}
	}
	return fault
}
