package gateway

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// route is an upstream with the data that selects it for a request.
type route struct {
	host      string   // empty: every host
	path      string   // without a slash at its end
	canonical string   // of path
	public    []string // paths without a slash at their end
	forwarder *forwarder
}

// sortRoutes puts the routes into the order in which they are tried: those with a host
// first, and longer paths before shorter ones.
func sortRoutes(routes []*route) {
	slices.SortStableFunc(routes, func(a, b *route) int {
		if (a.host == "") != (b.host == "") {
			return cmp.Compare(len(b.host), len(a.host))
		}
		return cmp.Compare(len(b.path), len(a.path))
	})
}

// find returns the route of a request, or nil if there is none. middleware.WithCleanPaths
// has accepted the path.
//
// Some services ignore the case of paths, or the parameters in them. For them "/Admin" and
// "/admin;x" are "/admin". If such a path would match a longer route only in its canonical
// form, the request has no route: otherwise it would reach the service without the roles of
// that route.
func find(routes []*route, host, path string) *route {
	canonical := canonicalPath(path)
	for _, rt := range routes {
		if rt.host != "" && rt.host != host || !below(canonical, rt.canonical) {
			continue
		}
		if !below(path, rt.path) {
			return nil
		}
		return rt
	}
	return nil
}

// isPublic reports whether a path needs no sign-in. It compares the path without any
// conversion.
func (rt *route) isPublic(path string) bool {
	return slices.ContainsFunc(rt.public, func(p string) bool { return below(path, p) })
}

// below reports whether a path is prefix, which has no slash at its end, or below it.
func below(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

// canonicalPath returns a path in lower case and without path parameters.
func canonicalPath(path string) string {
	if strings.Contains(path, ";") {
		segments := strings.Split(path, "/")
		for i, segment := range segments {
			segments[i], _, _ = strings.Cut(segment, ";")
		}
		path = strings.Join(segments, "/")
	}
	for i := range len(path) {
		if path[i] >= utf8.RuneSelf {
			// Services that ignore case compare the upper case, too, and that of some other
			// letters is ASCII.
			path = strings.ToUpper(path)
			break
		}
	}
	return strings.ToLower(path)
}

// hostOf returns the host of a request, without a port and in lower case. Servers ignore
// text after the port, so hostOf ignores it, too: otherwise such a spelling would bypass
// the roles of an upstream with a host.
func hostOf(host string) string {
	if address, ok := strings.CutPrefix(host, "["); ok {
		host, _, _ = strings.Cut(address, "]")
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(strings.TrimRight(host, "."))
}
