package main

import (
	"errors"
	"net/http"
	"sync"
)

// Names of tasks.
const (
	page    = "page"    // GET of a page for one role, by a user with the role
	login   = "login"   // POST of an e-mail address and a password
	visitor = "visitor" // GET of a page for one role without a cookie, which accepts JSON: 401
	public  = "public"  // GET of a page that does not use the session, without a cookie
)

// worksOf returns the tasks that all contenders do.
func worksOf(e *env, c contender) []*work {
	works := []*work{pageWork(e, c)}
	if c.first { // the other tasks have no cookie, and are the same as without first
		return works
	}
	works = append(works, c.getWork(e, public, newRequest("GET", "/public"), func(v *reader) bool { return v.got(publicPage) }))
	if c.bare {
		return append(works, loginWork(e, c, func(v *reader) bool { return v.status == http.StatusSeeOther }))
	}
	return append(works, loginWork(e, c, (*reader).signedIn),
		c.getWork(e, visitor, newFetch("/admin"), func(v *reader) bool { return v.status == http.StatusUnauthorized }))
}

// maxFirst bounds the sign-ins before a round.
const maxFirst = 2048

// pageWork gets the page for admins as an admin.
func pageWork(e *env, c contender) *work {
	if c.first {
		return firstWork(e, c)
	}
	if c.bare {
		return c.getWork(e, page, newRequest("GET", "/admin"), func(v *reader) bool { return v.got(adminPage) })
	}
	open := sync.OnceValues(func() (func(n int) error, error) {
		h, err := c.open(e)
		if err != nil {
			return nil, err
		}
		r, err := signedInRequest(h, "/admin", admin)
		return repeat(h, r, func(v *reader) bool { return v.got(adminPage) }), err
	})
	return &work{name: page, contender: c.name, waits: c.waits, prepare: times(open)}
}

// getWork sends a request that needs no session.
func (c contender) getWork(e *env, name string, r *http.Request, want func(*reader) bool) *work {
	open := sync.OnceValues(func() (func(n int) error, error) {
		h, err := c.open(e)
		return repeat(h, r, want), err
	})
	return &work{name: name, contender: c.name, waits: c.waits, prepare: times(open)}
}

// times makes a task whose rounds repeat the result of one call of open.
func times(open func() (func(n int) error, error)) func(n int) (func() error, error) {
	return func(n int) (func() error, error) {
		run, err := open()
		if err != nil {
			return nil, err
		}
		return func() error { return run(n) }, run(1)
	}
}

// repeat sends r n times.
func repeat(h http.Handler, r *http.Request, want func(*reader) bool) func(n int) error {
	v := newReader()
	return func(n int) error {
		for range n {
			v.send(h, r, "")
			if !want(v) {
				return v.unexpected()
			}
		}
		return nil
	}
}

// firstWork signs users in, and sends their requests to another app in each round, as to
// another process.
func firstWork(e *env, c contender) *work {
	var requests []*http.Request
	prepare := func(n int) (func() error, error) {
		h, err := c.open(e)
		for err == nil && len(requests) < n {
			var r *http.Request
			r, err = signedInRequest(h, "/admin", admin)
			requests = append(requests, r)
		}
		if err != nil {
			return nil, err
		}
		if h, err = c.open(e); err != nil {
			return nil, err
		}
		v := newReader()
		return func() error {
			for _, r := range requests[:n] {
				v.send(h, r, "")
				if !v.got(adminPage) {
					return v.unexpected()
				}
			}
			return nil
		}, nil
	}
	return &work{name: page, contender: c.name, waits: c.waits, most: maxFirst, prepare: prepare}
}

// loginWork signs users in. Each round has a new app, so that its store stays small.
func loginWork(e *env, c contender, want func(*reader) bool) *work {
	r, form := newRequest("POST", "/login"), loginForm(admin, password)
	return &work{name: login, contender: c.name, waits: c.waits, prepare: func(n int) (func() error, error) {
		h, err := c.open(e)
		if err != nil {
			return nil, err
		}
		v := newReader()
		return func() error {
			for range n {
				v.send(h, r, form)
				if !want(v) {
					return v.unexpected()
				}
			}
			return nil
		}, nil
	}}
}

// present returns the contenders whose programs are installed, and a line for each of the
// others.
func present(e *env, all []contender) (found []contender, skipped []string, err error) {
	for _, c := range all {
		_, err := c.open(e)
		switch {
		case errors.Is(err, errMissing):
			skipped = append(skipped, c.name+" is skipped: "+err.Error())
		case err != nil:
			return nil, nil, err
		default:
			found = append(found, c)
		}
	}
	return found, skipped, nil
}
