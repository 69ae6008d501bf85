package main

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Routers are of different opinions about odd paths. What is here makes them
// agree, so that the app has one.

// maxPath bounds the paths that are read. The app has none that is nearly as
// long.
const maxPath = 4096

// isClean reports whether a path, as it was sent, is one (that of CONNECT is
// none), is not too long, has no dots or slashes for segments, and no empty ones but the last.
// Routers go different ways about others.
func isClean(escaped string) bool {
	if !strings.HasPrefix(escaped, "/") || len(escaped) > maxPath {
		return false
	}
	segments := strings.Split(escaped, "/")[1:]
	for i, segment := range segments {
		plain, _ := url.PathUnescape(segment) // the server has done it before
		if plain == "." || plain == ".." || plain == "/" || plain == "" && i < len(segments)-1 {
			return false
		}
	}
	return true
}

// plainPaths undoes what a client need not have encoded in a path, for routers
// that compare paths as they were sent. An http.ServeMux does it by itself.
func plainPaths(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawPath != "" {
			u := *r.URL
			u.RawPath = ""
			if segments := strings.Split(r.URL.RawPath, "/"); slices.ContainsFunc(segments, hasEncodedSlash) {
				for i, s := range segments {
					plain, _ := url.PathUnescape(s)
					segments[i] = url.PathEscape(plain)
				}
				u.RawPath = strings.Join(segments, "/")
			}
			r = r.WithContext(r.Context()) // a copy
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}

func hasEncodedSlash(segment string) bool { return strings.Contains(strings.ToLower(segment), "%2f") }

var (
	segment = regexp.MustCompile(`\{(\w+)\}`)
	atEnd   = regexp.MustCompile(`\{\$\}$`)
)

// colonPath writes a path of http.ServeMux as Echo and Gin do.
func colonPath(path string) string {
	return segment.ReplaceAllString(atEnd.ReplaceAllString(path, ""), ":$1")
}
