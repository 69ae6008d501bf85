package main

import (
	"cmp"
	"net/http"
	"slices"
)

// contender is one way to sign users in and to check their sessions. Each makes the
// same app:
//
//	GET  /        a public page that shows whether a user is signed in
//	GET  /public  a public page that does not use the session
//	GET  /admin   for users with the role admin; 403 for other users
//	POST /login   e-mail address and password; 303 and a cookie, or 401
//
// A session holds the user's ID and roles, and the tokens of the auth service.
type contender struct {
	name    string
	router  string // the bare contender whose figures are subtracted
	session string // where the session is, for the tables
	ours    bool   // this library

	// less lists the features of this library that the contender lacks, for the tables.
	less string

	// open returns a new app. It accepts the cookies of earlier apps, unless they
	// name a session in a store that the apps do not share.
	open func(*env) (http.Handler, error)

	// bare means that the app has the pages of the router alone, and all users may see
	// them.
	bare bool

	// first means that the app receives each cookie once.
	first bool

	// waits means that requests wait for a server or a database.
	waits bool

	// apart means that each app has a separate store in memory.
	apart bool
}

var contenders []contender

// register adds a contender. Each file with a contender calls it from init.
func register(c contender) { contenders = append(contenders, c) }

// inOrder returns the contenders that have a name in names, or all of them: the bare
// routers, this library, and the others.
func inOrder(names ...string) []contender {
	var found []contender
	for _, c := range contenders {
		if len(names) == 0 || slices.Contains(names, c.name) {
			found = append(found, c)
		}
	}
	rank := func(c contender) int {
		switch {
		case c.bare:
			return 0
		case c.ours:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(found, func(a, b contender) int { return cmp.Compare(rank(a), rank(b)) })
	return found
}
