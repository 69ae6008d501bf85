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

type handler func(*call) *Answer

// endpoints holds the one method of each endpoint and what answers it.
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

// routers are the paths below which a router of its own finds the endpoint.
var routers = []string{
	"/auth", "/auth/providers", "/auth/mfa", "/auth/change-email", "/auth/change-password", "/auth/token",
}

// routePath returns the path by which a request is routed: in lower case, with
// nothing decoded, and without the one slash too many that Express takes after
// the path of a router.
func routePath(r *http.Request) string {
	path := strings.ToLower(r.URL.EscapedPath())
	for _, router := range routers {
		if rest, ok := strings.CutPrefix(path, router+"//"); ok {
			path = router + "/" + rest
		}
	}
	return path
}

// route finds the endpoint of a request. One trailing slash does not count in a
// path, and HEAD is answered like GET, with all that GET does.
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

// providers are those that a user could sign in with elsewhere, if they were
// set up. As they are not, all that is below their names says so, whatever the
// method.
var providers = map[string]bool{
	"apple": true, "facebook": true, "github": true, "google": true,
	"linkedin": true, "spotify": true, "twitter": true, "windowslive": true,
}

func notFound(*call) *Answer {
	return failure(http.StatusNotFound, "Not Found")
}

func healthz(*call) *Answer { return html("OK") }

// version names v2.3.0: the release v2.7.1 still says so of itself.
func version(*call) *Answer { return html(`{"version":"v2.3.0"}`) }

// changeEnv answers as the real service does that has just changed its settings
// to what the body says, unless it runs in production.
func changeEnv(c *call) *Answer { return ok(c.body) }

func html(body string) *Answer {
	return &Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"text/html; charset=utf-8"}},
		Body:   []byte(body),
	}
}
