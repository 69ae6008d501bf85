package authtest

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

const (
	maxJSON = 100 << 10 // the limit of the real service
	maxBody = 1 << 20   // for forms, for which the real service has no limit
)

// call is one request and the state of its processing.
type call struct {
	server   *Server
	req      *http.Request
	endpoint Endpoint
	raw      []byte
	header   http.Header // of the response

	body    any // an object, or another JSON value, which no endpoint accepts
	cookies map[string]string
	refresh sentToken
	user    identity
	between func() bool // waits between two steps; see Fault.Between
	down    bool        // Fault.BackendDown
	noToken bool        // Fault.NoToken
}

// lock locks the server's mutex where the real service would query its database. If
// the database is down, lock panics and run recovers.
func (c *call) lock() {
	if c.down {
		panic(errBackendDown)
	}
	c.server.mu.Lock()
}

// run runs the handler. If the database is down, the handler runs up to its
// first query.
func (c *call) run(handle handler) (resp *Response) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case errBackendDown:
			resp = c.backendDown()
		default:
			panic(r)
		}
	}()
	return handle(c)
}

// errBackendDown is the value with which lock panics.
var errBackendDown = errors.New("the database behind the service is down")

// backendDown returns the response of the real service while its database is down.
// It differs by endpoint, and often reports another error.
func (c *call) backendDown() *Response {
	switch c.endpoint {
	case Login:
		if c.server.opts.AnonymousUsers && c.isTrue("anonymous") {
			return serverError()
		}
		return noAccount()
	case Register, RequestEmailChange:
		return serverError()
	case TOTP:
		return ticketRefused()
	case ChangePassword, EnableMFA, DisableMFA, LostPassword, ConfirmEmailChange:
		return failure(http.StatusBadRequest, "request to http://hasura:8080/v1/graphql failed, reason: connect ECONNREFUSED")
	case Logout:
		return noContent()
	case Activate:
		return c.linkRefused("")
	case MagicLink:
		if c.query().text("action") == "register" {
			return c.linkRefused("")
		}
	}
	return badRequest()
}

// sentToken is the refresh token of a request.
type sentToken struct {
	value      string
	fromCookie bool
	malformed  bool // sent twice or as a structure
}

// identity is the user of a request.
type identity struct {
	known  bool
	userID string
}

func (c *call) readBody() {
	if c.req.Body == nil {
		return // a handler may be called without an http.Server
	}
	// After a read error the client has gone and gets no response.
	c.raw, _ = io.ReadAll(io.LimitReader(c.req.Body, maxBody+1))
}

// respond processes the request in the same order as the real service. It returns
// nil if the server was closed meanwhile.
func (c *call) respond(handle handler) *Response {
	s, r := c.server, c.req
	if resp := s.limit.check(c); resp != nil {
		return c.with(resp)
	}
	secureHeaders(c.header)
	if !c.parseJSON() {
		return c.with(badRequest())
	}
	cors(c.header, r)
	if r.Method == http.MethodOptions {
		return c.with(noContent())
	}
	if !c.parseForm() {
		return c.with(badRequest())
	}
	c.parseCookies()
	if !c.identify() {
		return c.with(badRequest())
	}
	path := routePath(r)
	if path == "/auth" || strings.HasPrefix(path, "/auth/") {
		noCache(c.header)
		if s.opts.NoAuth {
			handle = notFound
		} else if s.opts.NoMFA && strings.HasPrefix(path, "/auth/mfa") {
			handle = disabled
		}
	}
	resp := c.run(handle)
	if resp == nil {
		return nil // the server was closed meanwhile
	}
	return c.with(resp)
}

// with adds the headers of the call to a response.
func (c *call) with(resp *Response) *Response {
	for name, values := range c.header {
		resp.Header[name] = append(resp.Header[name], values...)
	}
	return resp
}

// parseJSON parses an application/json body. Any other body, or none, counts as an
// empty object. parseJSON returns false for a body that the service rejects.
func (c *call) parseJSON() bool {
	c.body = object{}
	mediaType, params, err := mime.ParseMediaType(c.req.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" || len(c.raw) == 0 {
		return true
	}
	if charset := params["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return false
	}
	raw, ok := inflate(c.raw, c.req.Header.Get("Content-Encoding"))
	if !ok || len(raw) > maxJSON {
		return false
	}
	raw = bytes.TrimPrefix(raw, []byte("\ufeff")) // a byte order mark
	if len(raw) == 0 {
		return true
	}
	if !json.Valid(raw) {
		return false
	}
	switch bytes.TrimLeft(raw, " \t\r\n")[0] {
	case '{':
		c.body = parseObject(raw)
		return true
	case '[':
		c.body = []any{}
		return true
	default:
		return false
	}
}

// inflate decodes a Content-Encoding, up to the size limit of the service.
func inflate(raw []byte, encoding string) ([]byte, bool) {
	var r io.ReadCloser
	var err error
	switch strings.ToLower(encoding) {
	case "", "identity":
		return raw, true
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(raw))
	case "deflate":
		r, err = zlib.NewReader(bytes.NewReader(raw))
	default:
		return nil, false
	}
	if err != nil {
		return nil, false
	}
	out, err := io.ReadAll(io.LimitReader(r, maxJSON+1))
	return out, err == nil
}

// parseObject decodes a valid JSON object and keeps the order of its members. If a
// name occurs twice, the last value counts, in the position of the first. As in
// JavaScript, __proto__ is not a member.
func parseObject(raw []byte) object {
	o := object{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.Token() // the brace; raw is valid, so nothing below can fail
	for dec.More() {
		name, _ := dec.Token()
		var value json.RawMessage
		_ = dec.Decode(&value)
		if name != "__proto__" {
			o = o.set(name.(string), parseValue(value))
		}
	}
	return o
}

func parseValue(raw []byte) any {
	if raw[0] == '{' {
		return parseObject(raw)
	}
	var value any
	_ = json.Unmarshal(raw, &value)
	return value
}

// add adds a member from a form or a query. A name that occurs more than once
// becomes an array.
func (o object) add(name, value string) object {
	switch first, found := o.get(name); first := first.(type) {
	case []any:
		return o.set(name, append(first, value))
	default:
		if found {
			return o.set(name, []any{first, value})
		}
		return o.set(name, value)
	}
}

// query returns the URL's query parameters, in their order.
func (c *call) query() object {
	o := object{}
	for pair := range strings.SplitSeq(c.req.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || name == "" {
			continue
		}
		if plain, err := url.QueryUnescape(value); err == nil {
			value = plain
		}
		o = o.add(name, value)
	}
	return o
}

// parseForm parses a multipart/form-data body. All of its values are strings.
func (c *call) parseForm() bool {
	mediaType, params, err := mime.ParseMediaType(c.req.Header.Get("Content-Type"))
	if err != nil || mediaType != "multipart/form-data" || len(c.raw) == 0 ||
		c.req.Method == http.MethodGet || c.req.Method == http.MethodHead {
		return true
	}
	if len(c.raw) > maxBody {
		return false
	}
	o := object{}
	for mr := multipart.NewReader(bytes.NewReader(c.raw), params["boundary"]); ; {
		part, err := mr.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return false
		}
		if part.FileName() != "" || part.FormName() == "" {
			continue
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return false
		}
		o = o.add(part.FormName(), string(value))
	}
	c.body = o
	return true
}

// parseCookies parses the Cookie header like the service's library, which accepts
// more than net/http. net/http would drop JSON in a cookie that a test builds.
func (c *call) parseCookies() {
	c.cookies = make(map[string]string)
	for _, line := range c.req.Header["Cookie"] {
		for part := range strings.SplitSeq(line, ";") {
			name, value, ok := strings.Cut(part, "=")
			if !ok {
				continue
			}
			name, value = strings.TrimSpace(name), strings.TrimSpace(value)
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			if plain, err := url.PathUnescape(value); err == nil {
				value = plain
			}
			if _, ok := c.cookies[name]; !ok {
				c.cookies[name] = value
			}
		}
	}
	if secret := c.server.opts.CookieSecret; secret != "" {
		c.cookies = unsign(c.cookies, secret)
	}
}

// identify determines the user and the refresh token of a request. For both, a
// cookie takes precedence, whatever its value. identify returns false for an
// identity cookie that is not JSON.
func (c *call) identify() bool {
	if claims, ok := c.server.verify(c.req.Header.Get("Authorization")); ok {
		id, _ := claims["x-hasura-user-id"].(string)
		c.user = identity{known: true, userID: id}
	}
	for _, m := range c.query() {
		value, ok := m.value.(string)
		if name := m.name; name == "refresh_token" || strings.HasPrefix(name, "refresh_token[") {
			c.refresh = sentToken{value: value, malformed: !ok || name != "refresh_token"}
		}
	}
	if value, ok := c.cookies["refresh_token"]; ok {
		c.refresh = sentToken{value: value, fromCookie: true}
	}
	if value, ok := c.cookies["permission_variables"]; ok {
		var variables any
		if json.Unmarshal([]byte(value), &variables) != nil {
			return false
		}
		m, _ := variables.(map[string]any)
		id, _ := m["user-id"].(string)
		c.user = identity{known: variables != nil, userID: id}
	}
	return true
}
