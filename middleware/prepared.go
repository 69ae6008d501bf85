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
	if ref.kind == noKind || ref.problem.RetryAfter > 0 {
		return prepare(&ref.problem, loginURL)
	}
	known := &b[ref.kind]
	p := known.Load()
	if p == nil || p.loginURL != loginURL {
		p = prepare(&ref.problem, loginURL)
		known.Store(p)
	}
	return p
}

func prepare(p *Problem, loginURL string) *preparedJSON {
	body := p.encode(loginURL)
	return &preparedJSON{loginURL, body, []string{strconv.Itoa(len(body))}}
}

var problemType = []string{"application/problem+json"}

// write writes the response.
func (p *preparedJSON) write(w http.ResponseWriter, status int) {
	h := w.Header()
	h["Content-Type"] = problemType
	writePrepared(w, status, p.length, p.body)
}
