package authtest

import (
	"net/http"
	"strings"
)

// Endpoint is the path of one operation of the service.
type Endpoint string

// The endpoints of the service. [Any] stands for all requests, including those to
// other paths.
const (
	Any Endpoint = ""

	Login    Endpoint = "/auth/login"
	Register Endpoint = "/auth/register"
	Refresh  Endpoint = "/auth/token/refresh"
	Revoke   Endpoint = "/auth/token/revoke"
	Logout   Endpoint = "/auth/logout"
	JWKS     Endpoint = "/auth/jwks"

	TOTP        Endpoint = "/auth/mfa/totp"
	GenerateMFA Endpoint = "/auth/mfa/generate"
	EnableMFA   Endpoint = "/auth/mfa/enable"
	DisableMFA  Endpoint = "/auth/mfa/disable"

	MagicLink Endpoint = "/auth/magic-link"
	Activate  Endpoint = "/auth/activate"

	ChangePassword     Endpoint = "/auth/change-password"
	LostPassword       Endpoint = "/auth/change-password/request"
	ResetPassword      Endpoint = "/auth/change-password/change"
	ChangeEmail        Endpoint = "/auth/change-email"
	RequestEmailChange Endpoint = "/auth/change-email/request"
	ConfirmEmailChange Endpoint = "/auth/change-email/change"
	DeleteAccount      Endpoint = "/auth/delete"

	Healthz   Endpoint = "/healthz"
	Version   Endpoint = "/version"
	ChangeEnv Endpoint = "/change-env"
)

type handler func(*call) *Response

// endpoints holds the method and the handler of each endpoint.
var endpoints = map[Endpoint]struct {
	method string
	handle handler
}{
	Login:    {http.MethodPost, login},
	Register: {http.MethodPost, register},
	Refresh:  {http.MethodGet, refresh},
	Revoke:   {http.MethodPost, revoke},
	Logout:   {http.MethodPost, logout},
	JWKS:     {http.MethodGet, jwks},

	TOTP:        {http.MethodPost, totpLogin},
	GenerateMFA: {http.MethodPost, generateMFA},
	EnableMFA:   {http.MethodPost, enableMFA},
	DisableMFA:  {http.MethodPost, disableMFA},

	MagicLink: {http.MethodGet, magicLink},
	Activate:  {http.MethodGet, activate},

	ChangePassword:     {http.MethodPost, changePassword},
	LostPassword:       {http.MethodPost, lostPassword},
	ResetPassword:      {http.MethodPost, resetPassword},
	ChangeEmail:        {http.MethodPost, changeEmail},
	RequestEmailChange: {http.MethodPost, requestEmailChange},
	ConfirmEmailChange: {http.MethodPost, confirmEmailChange},
	DeleteAccount:      {http.MethodPost, deleteAccount},

	Healthz:   {http.MethodGet, healthz},
	Version:   {http.MethodGet, version},
	ChangeEnv: {http.MethodPost, changeEnv},
}

// routers are the paths that have their own router in the service.
var routers = []string{
	"/auth", "/auth/providers", "/auth/mfa", "/auth/change-email", "/auth/change-password", "/auth/token",
}

// routePath returns the path that determines the endpoint: in lower case, not
// decoded, and without the extra slash that Express accepts after the path of a
// router.
func routePath(r *http.Request) string {
	path := strings.ToLower(r.URL.EscapedPath())
	for _, router := range routers {
		if rest, ok := strings.CutPrefix(path, router+"//"); ok {
			path = router + "/" + rest
		}
	}
	return path
}

// route returns the endpoint of a request and its handler. It ignores one trailing
// slash. HEAD has the same effects as GET.
func route(r *http.Request) (Endpoint, handler) {
	path := Endpoint(routePath(r))
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
	if rest, ok := strings.CutPrefix(string(path), "/auth/providers/"); ok {
		if name, _, _ := strings.Cut(rest, "/"); providers[name] {
			return Any, disabled
		}
	}
	return Any, notFound
}

// providers are the other providers that the service supports. None is configured
// here, so that every path below their names is disabled, for every method.
var providers = map[string]bool{
	"apple": true, "facebook": true, "github": true, "google": true,
	"linkedin": true, "spotify": true, "twitter": true, "windowslive": true,
}

func notFound(*call) *Response {
	return failure(http.StatusNotFound, "Not Found")
}

func healthz(*call) *Response { return html("OK") }

// version reports v2.3.0, as the release v2.7.1 of the real service does.
func version(*call) *Response { return html(`{"version":"v2.3.0"}`) }

// changeEnv responds as if it had changed the settings to those in the body, which
// the real service does outside of production.
func changeEnv(c *call) *Response { return ok(c.body) }

func html(body string) *Response {
	return &Response{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body:   []byte(body),
	}
}
