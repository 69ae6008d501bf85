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

// Fault makes a request go wrong, or stops it on its way. Its parts can be
// combined; the zero value does nothing.
//
//	Fault{Status: 503}                              // refused, not carried out
//	Fault{Status: 502, Body: "<h1>Bad gateway</h1>"}
//	Fault{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}
//	Fault{Delay: time.Second, Times: 3}             // the next three are slow
//	Fault{Deliver: Reset}                           // reset before anything is done
//	Fault{Deliver: Reset, CarryOut: true}           // token rotated, answer lost
//	Fault{Deliver: HalfThenReset}                   // reset within the answer
//	Fault{BackendDown: true}                        // its database fails
//	Fault{NoToken: true}                            // registered, but not signed in
//	Fault{Edit: SpoilAccessToken}                   // new refresh token, no usable JWT
type Fault struct {
	// Times is how many requests the fault applies to. Default: all, until
	// Clear.
	Times int

	// Delay passes before anything else. It outlasts the client: as with the
	// real service, a request that was sent is carried out even though nobody
	// waits for its answer any more. Like all times of a Fault it is real
	// time, not that of the service's clock.
	Delay time.Duration

	// Before stops the request at a gate before it is carried out.
	Before *Gate

	// Between stops a request between its two steps: a refresh in lax mode
	// between looking the token up and rotating it (in strict mode the two
	// are one), a logout of all sessions between finding the user and ending
	// them, a login between checking the password and issuing tokens, a
	// registration between finding the address free and taking it.
	Between *Gate

	// After stops the request at a gate after it was carried out and before
	// anything is answered.
	After *Gate

	// Status, Header and Body are answered in place of the service's answer,
	// and the request is not carried out. Status is from 200 to 599; the
	// others do nothing without it. Body is taken for HTML if it begins with
	// "<" and for JSON else, unless Header says what it is.
	Status int
	Header http.Header
	Body   string

	// CarryOut has the request carried out even though its answer is replaced
	// or lost.
	CarryOut bool

	// BackendDown has the database behind the service fail: what needs it is
	// not done, and the answer rarely says so. A login, for example, is told
	// that the account does not exist, and a logout that it was done.
	BackendDown bool

	// NoToken has the database refuse the refresh token that a request would
	// get, after all that is done before: an account is registered then, but
	// not signed in, which is answered with a 400 without a message. A refresh
	// is answered with 500, and its token stays good.
	NoToken bool

	// Edit changes the answer before it is sent: [DropTokens],
	// [SpoilAccessToken], [Truncate], [Enlarge], or a function of the test. It
	// is called concurrently if requests are.
	Edit func(*Answer)

	// Deliver is how the answer goes out. Default: Whole. A request whose
	// answer never starts (Hang, Close, Reset) is carried out only with
	// CarryOut.
	Deliver Delivery

	// Drip spreads the body of the answer over a time, in small pieces.
	Drip time.Duration
}

// Delivery is how an answer reaches the client, or does not.
type Delivery int

// The ways to deliver an answer.
const (
	Whole         Delivery = iota
	Hang                   // nothing comes, until the client or the server closes
	Close                  // the connection is closed without an answer
	Reset                  // the connection is reset (TCP RST) without an answer
	HalfThenClose          // half of the body comes, then the connection is closed
	HalfThenReset          // half of the body comes, then the connection is reset
)

func (f *Fault) carryOut() bool {
	if f.CarryOut {
		return true
	}
	return f.Status == 0 && f.Deliver != Hang && f.Deliver != Close && f.Deliver != Reset
}

// answer is the fault's own answer.
func (f *Fault) answer() *Answer {
	a := &Answer{Status: f.Status, Header: make(http.Header), Body: []byte(f.Body)}
	if f.Body != "" {
		a.Header.Set("Content-Type", "application/json; charset=utf-8")
		if f.Body[0] == '<' {
			a.Header.Set("Content-Type", "text/html; charset=utf-8")
		}
	}
	maps.Copy(a.Header, f.Header.Clone())
	return a
}

// DropTokens removes the tokens from a body, for [Fault.Edit].
func DropTokens(a *Answer) {
	editBody(a, func(body map[string]json.RawMessage) {
		delete(body, "jwt_token")
		delete(body, "refresh_token")
	})
}

// SpoilAccessToken puts something that is no JWT in the place of the access
// token and leaves the refresh token, for [Fault.Edit].
func SpoilAccessToken(a *Answer) {
	editBody(a, func(body map[string]json.RawMessage) {
		body["jwt_token"] = json.RawMessage(`"unusable"`)
	})
}

func editBody(a *Answer, edit func(map[string]json.RawMessage)) {
	var body map[string]json.RawMessage
	if json.Unmarshal(a.Body, &body) == nil && body != nil {
		edit(body)
		a.Body = marshal(body)
	}
}

// Truncate cuts a body in half, in an answer that is whole as HTTP, for
// [Fault.Edit].
func Truncate(a *Answer) { a.Body = a.Body[:len(a.Body)/2] }

// Enlarge makes a JSON body larger than 2 MiB by white space before its end,
// so that only its size is wrong, for [Fault.Edit].
func Enlarge(a *Answer) {
	if n := len(a.Body); n > 0 {
		padding := bytes.Repeat([]byte(" "), 2<<20)
		a.Body = append(append(append([]byte(nil), a.Body[:n-1]...), padding...), a.Body[n-1])
	}
}

// faults are those waiting for requests, and the count of requests.
type faults struct {
	mu       sync.Mutex
	pending  map[Endpoint][]*Fault
	requests map[Endpoint]int
	total    int
}

// Inject applies a fault to the coming requests to an endpoint, or to all
// requests for [Any]. Faults of one endpoint apply one after the other, in the
// order in which they were injected, each for as many requests as it says;
// those for Any apply where the endpoint has none. It panics if the fault has a
// Status that is none.
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

// Clear removes the faults of the given endpoints, and all faults if none is
// given. Requests that a fault has hold of already stay with it.
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

// Requests returns how many requests to an endpoint have arrived, whatever
// became of them; for [Any], how many requests there were in all.
func (s *Server) Requests(e Endpoint) int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if e == Any {
		return s.faults.total
	}
	return s.faults.requests[e]
}

// take counts a request and returns the fault that applies to it.
func (f *faults) take(e Endpoint) Fault {
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
