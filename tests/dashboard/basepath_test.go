package dashboard_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/synmetrix/session/authtest"
)

var address = regexp.MustCompile(` (?:href|action|src)="([^"#][^"]*)"`)

// below fails the test unless all links, forms and redirects of the response are below a
// prefix.
func (a *response) below(prefix string) *response {
	a.t.Helper()
	found := []string{a.header.Get("Location")}
	for _, match := range address.FindAllStringSubmatch(a.body, -1) {
		found = append(found, match[1])
	}
	for _, to := range found {
		if to != "" && !strings.HasPrefix(to, prefix+"/") {
			a.t.Errorf("%s leads to %s", a.what, to)
		}
	}
	return a
}

// Behind a proxy that strips a prefix the browser stays below the prefix.
func testBasePath(t *testing.T, tt target) {
	s := start(t, tt, authtest.Options{}, "BASE_PATH=/app")
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/app/", http.StripPrefix("/app", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}))
	proxy := httptest.NewServer(mux)
	t.Cleanup(proxy.Close)
	s.URL = proxy.URL

	b := s.browser(t)
	b.page("/app/").isPage(200).below("/app")
	b.page("/app/admin?a=1").below("/app").leadsTo("/app/login?return_to=%2Fapp%2Fadmin%3Fa%3D1")
	b.page("/app/nowhere").isPage(404).below("/app")
	b.page("/app/login/mfa").below("/app").leadsTo("/app/login")
	if page := b.page("/app/login?return_to=%2Fapp%2Fadmin"); !strings.Contains(page.below("/app").body, `value="/app/admin"`) {
		t.Error("the login page does not lead back")
	}
	b.postForm("/app/login", "email", admin, "password", "wrong").isPage(401).below("/app")
	b.postForm("/app/login", "email", admin, "password", password, "return_to", "/app/admin?a=1").leadsTo("/app/admin?a=1")
	for _, page := range []string{"/app/", "/app/dashboard", "/app/reports", "/app/admin"} {
		b.page(page).isPage(200).below("/app")
	}
	b.do("GET", "/app/api/nowhere", "", "Accept", acceptPage).problem(404, "not_found")
	b.postForm("/app/logout").below("/app").leadsTo("/app/")
	b.do("GET", "/app/api/me", "", "Accept", acceptPage).problem(401, "unauthenticated") // and no redirect

	b = s.browser(t)
	b.postForm("/app/login", "email", mfa, "password", password, "return_to", "/app/dashboard").leadsTo("/app/login/mfa?return_to=%2Fapp%2Fdashboard")
	b.page("/app/login/mfa").isPage(200).below("/app")
	code, err := totp.GenerateCode(totpSecret, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	b.postForm("/app/login/mfa", "code", code, "return_to", "/app/dashboard").leadsTo("/app/dashboard")
	for _, outside := range []string{"/dashboard", "/", "/app/login", "/app/logout", "/application"} {
		s.browser(t).postForm("/app/login", "email", viewer, "password", password, "return_to", outside).leadsTo("/app/")
	}
}
