package middleware

import (
	"net/http"
	"strconv"
	"sync/atomic"
)

// This file writes the refusals in JSON. Most of them are the same for all requests, so their
// bodies are encoded once.

// preparedJSON is the body of a refusal, with the values of its header fields. It is shared
// by all responses and never modified.
type preparedJSON struct {
	loginURL string // in the body
	body     []byte
	length   []string
}

// preparedBodies has the bodies for kinds of errors. Its zero value is ready to use.
type preparedBodies [len(kinds)]atomic.Pointer[preparedJSON]

// body returns the body of a refusal. The address of the login page can change, because an
// app may mount it late.
func (b *preparedBodies) body(ref *refusal, loginURL string) *preparedJSON {
	// A Problem of the app, and a pause, differ from request to request.
	if ref.kind == noKind || ref.problem.RetryAfter > 0 {
		return prepare(&ref.problem, loginURL)
	}
	known := &b[ref.kind]
	p := known.Load()
	// Two requests may encode the same body at the same time. Each result is complete, so
	// no lock is needed.
	if p == nil || p.loginURL != loginURL {
		p = prepare(&ref.problem, loginURL)
		known.Store(p)
	}
	return p
}

// prepare encodes a refusal. The value of Content-Length is a list, as a header has it, so
// that no response allocates one.
func prepare(p *Problem, loginURL string) *preparedJSON {
	body := p.encode(loginURL)
	return &preparedJSON{loginURL, body, []string{strconv.Itoa(len(body))}}
}

// problemType is the Content-Type of problem details (RFC 9457, section 3).
var problemType = []string{"application/problem+json"}

// write writes the response.
func (p *preparedJSON) write(w http.ResponseWriter, status int) {
	h := w.Header()
	h["Content-Type"] = problemType
	writePrepared(w, status, p.length, p.body)
}
