package main

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Routers treat unusual paths differently. The functions in this file give all
// frameworks the same behavior.

// maxPath bounds the paths that are parsed, in bytes. The app's own paths are much
// shorter.
const maxPath = 4096

// isClean reports whether all routers treat an escaped path in the same way. It
// returns false for the address of a CONNECT, for a path that is too long, and for
// a path with dot segments, segments that are an encoded slash, or empty segments
// before the last.
func isClean(escaped string) bool {
	if !strings.HasPrefix(escaped, "/") || len(escaped) > maxPath {
		return false
	}
	segments := strings.Split(escaped, "/")[1:]
	for i, segment := range segments {
		plain, _ := url.PathUnescape(segment) // the server has checked the escapes
		if plain == "." || plain == ".." || plain == "/" || plain == "" && i < len(segments)-1 {
			return false
		}
	}
	return true
}

// plainPaths removes unnecessary escapes from paths, for routers that compare
// escaped paths. An http.ServeMux needs no such help.
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

// colonPath converts a path of http.ServeMux to the syntax of Echo and Gin.
func colonPath(path string) string {
	return segment.ReplaceAllString(atEnd.ReplaceAllString(path, ""), ":$1")
}
