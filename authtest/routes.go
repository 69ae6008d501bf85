package authtest

import (
	"net/http"
	"strings"
)

// Endpoint names one operation of the service by its path.
type Endpoint string

// The endpoints of the service. [Any] stands for all of them, and for requests
// to no endpoint at all.
const (
	Any Endpoint = ""

	Login   Endpoint = "/auth/login"
	TOTP    Endpoint = "/auth/mfa/totp"
	Refresh Endpoint = "/auth/token/refresh"
	Revoke  Endpoint = "/auth/token/revoke"
	Logout  Endpoint = "/auth/logout"
	JWKS    Endpoint = "/auth/jwks"
	Healthz Endpoint = "/healthz"
	Version Endpoint = "/version"
)

type handler func(*call) *Answer

// endpoints holds the one method of each endpoint and what answers it.
var endpoints = map[Endpoint]struct {
	method string
	handle handler
}{
	Login:   {http.MethodPost, login},
	TOTP:    {http.MethodPost, totpLogin},
	Refresh: {http.MethodGet, refresh},
	Revoke:  {http.MethodPost, revoke},
	Logout:  {http.MethodPost, logout},
	JWKS:    {http.MethodGet, jwks},
	Healthz: {http.MethodGet, healthz},
	Version: {http.MethodGet, version},
}

// route finds the endpoint of a request. Letter case and one trailing slash do
// not count in a path, and HEAD is answered like GET, with all that GET does.
func route(r *http.Request) (Endpoint, handler) {
	path := Endpoint(strings.ToLower(r.URL.Path))
	if len(path) > 1 {
		path = Endpoint(strings.TrimSuffix(string(path), "/"))
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	if e, ok := endpoints[path]; ok && e.method == method {
		return path, e.handle
	}
	return Any, notFound
}

func notFound(*call) *Answer {
	return failure(http.StatusNotFound, "Not Found")
}

func healthz(*call) *Answer { return html("OK") }

// version names v2.3.0: the release v2.7.1 still says so of itself.
func version(*call) *Answer { return html(`{"version":"v2.3.0"}`) }

func html(body string) *Answer {
	return &Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body:   []byte(body),
	}
}
