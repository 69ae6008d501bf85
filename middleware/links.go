package middleware

import (
	"net/http"
	"slices"
	"strings"
)

// pageLinks are the links of the pages to other routes, by the path of the page's
// route. A page has the links to those routes that exist. An empty path is the start
// page.
var pageLinks = map[string][]struct{ key, path string }{
	loginPath: {
		{"login.lost", lostPath},
		{"login.magic", magicPath},
		{"login.register", registerPath},
	},
	registerPath: {{"register.login", loginPath}},
	magicPath:    {{"magic-link.login", loginPath}},
	lostPath:     {{"lost.login", loginPath}},
	resetPath:    {{"reset.lost", lostPath}, {"lost.login", loginPath}},
	passwordPath: {{"page.home", ""}},
	emailPath:    {{"page.home", ""}},
	setupPath:    {{"page.home", ""}},
	enablePath:   {{"page.home", ""}},
	removePath:   {{"page.home", ""}},
	deletePath:   {{"page.home", ""}},
}

// addProviders adds the links to sign-ins with other providers, in the order in which the
// app gave them to Routes. The text "provider.NAME" is the name of a provider that users
// see.
func (h *handlers) addProviders(page *Page, r *http.Request) {
	for _, path := range h.paths {
		if id, ok := strings.CutPrefix(path, providerPath); ok {
			name := id
			if page.language.has("provider." + id) {
				name = page.Text("provider." + id)
			}
			to := withReturnTo(sibling(r, loginPath, path), page.ReturnTo)
			page.Links = append(page.Links, Link{Text: page.Text("login.provider", "provider", name), URL: to})
		}
	}
}

// loginURL returns the address of the login page for a request to the route own: the
// built-in page if it exists, otherwise the app's page at Config.LoginPath, and the empty
// string if there is none. Routes that need a password login always have a login page.
func (h *handlers) loginURL(r *http.Request, own string) string {
	s := settingsOf(r.Context())
	switch {
	case slices.Contains(h.paths, loginPath):
		return sibling(r, own, loginPath)
	case s.hasLogin():
		return s.base + s.loginPath
	}
	return ""
}

// addLinks adds the links of the page of a route to the other routes. They carry
// the address that the user returns to after the sign-in. A link to a route that does
// not exist is left out.
func (h *handlers) addLinks(page *Page, r *http.Request, path string) {
	for _, link := range pageLinks[path] {
		switch {
		case link.path == "":
			page.addLink(link.key, page.Home)
		case slices.Contains(h.paths, link.path):
			page.addLink(link.key, withReturnTo(sibling(r, path, link.path), page.ReturnTo))
		}
	}
}
