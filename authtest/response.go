package authtest

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// keepAlive is how long the service keeps an idle connection open.
const keepAlive = 5 * time.Second

// Response is a response before it is sent. [Fault.Edit] may change it.
type Response struct {
	Status int
	Header http.Header
	Body   []byte // also determines Content-Length
}

// member is one name and value of a JSON object.
type member struct {
	name  string
	value any
}

// object is a JSON object that keeps the order of its members. The order shows in
// bodies, tokens and error messages.
type object []member

// get returns the value of a member, and whether the member exists.
func (o object) get(name string) (value any, ok bool) {
	for _, m := range o {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// text returns the value of a member if it is a string, and "" otherwise.
func (o object) text(name string) string {
	value, _ := o.get(name)
	s, _ := value.(string)
	return s
}

// set sets the value of a member, or appends the member.
func (o object) set(name string, value any) object {
	for i := range o {
		if o[i].name == name {
			o[i].value = value
			return o
		}
	}
	return append(o, member{name, value})
}

// without returns the object without the named member.
func (o object) without(name string) object {
	return slices.DeleteFunc(o, func(m member) bool { return m.name == name })
}

// MarshalJSON implements [json.Marshaler].
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(marshal(m.name))
		b.WriteByte(':')
		b.Write(marshal(m.value))
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal encodes a value like JavaScript does, without escapes for HTML.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Only values in Account.Fields can have a type without JSON encoding.
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// ok returns a 200 with a JSON body.
func ok(body any) *Response { return jsonResponse(http.StatusOK, body) }

func noContent() *Response {
	return &Response{Status: http.StatusNoContent, Header: make(http.Header)}
}

// failure returns an error in the service's JSON format. An empty message is left
// out, as in the errors that the service's handlers do not handle themselves.
func failure(status int, message string) *Response {
	return jsonResponse(status, struct {
		StatusCode int    `json:"statusCode"`
		Error      string `json:"error"`
		Message    string `json:"message,omitempty"`
	}{status, http.StatusText(status), message})
}

// badRequest returns a 400 without a message. The service sends it for malformed
// requests, and also for its own exceptions.
func badRequest() *Response { return failure(http.StatusBadRequest, "") }

func serverError() *Response {
	return failure(http.StatusInternalServerError, "An internal server error occurred")
}

// disabled is the handler of an endpoint that is switched off.
func disabled(*call) *Response { return serverError() }

func jsonResponse(status int, body any) *Response {
	return &Response{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		Body:   marshal(body),
	}
}

// secureHeaders sets the headers of helmet 3.22, which the service sets on all
// responses except a 429.
func secureHeaders(h http.Header) {
	h.Set("X-DNS-Prefetch-Control", "off")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Strict-Transport-Security", "max-age=15552000; includeSubDomains")
	h.Set("X-Download-Options", "noopen")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-XSS-Protection", "1; mode=block")
}

// noCache sets the headers that all responses under /auth have.
func noCache(h http.Header) {
	h.Set("Surrogate-Control", "no-store")
	h.Set("Cache-Control", "no-store, no-cache, must-revalidate, proxy-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
}

// cors allows every origin, with credentials, as the service does.
func cors(h http.Header, r *http.Request) {
	if origin := r.Header.Get("Origin"); origin != "" {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	h.Set("Vary", "Origin")
	h.Set("Access-Control-Allow-Credentials", "true")
	if r.Method != http.MethodOptions {
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET,HEAD,PUT,PATCH,POST,DELETE")
	h.Set("Vary", "Origin, Access-Control-Request-Headers")
	if requested := r.Header.Get("Access-Control-Request-Headers"); requested != "" {
		h.Set("Access-Control-Allow-Headers", requested)
	}
}

// etag returns the weak entity tag that Express generates, from the length and the
// SHA-1 of the body.
func etag(body []byte) string {
	sum := sha1.Sum(body)
	return fmt.Sprintf(`W/"%x-%s"`, len(body), base64.StdEncoding.EncodeToString(sum[:])[:27])
}

// finish adds the headers that every response has.
func (s *Server) finish(r *http.Request, resp *Response) {
	h := resp.Header
	h.Set("Date", s.Now().UTC().Format(http.TimeFormat))
	if len(resp.Body) > 0 && h.Get("ETag") == "" && resp.Status != http.StatusFound {
		h.Set("ETag", etag(resp.Body))
	}
	if r.ProtoMajor == 1 && !r.Close {
		h.Set("Connection", "keep-alive")
		h.Set("Keep-Alive", fmt.Sprintf("timeout=%d", keepAlive/time.Second))
	}
}

// encodeURIComponent escapes s like the JavaScript function of this name.
func encodeURIComponent(s string) string {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()"
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(unreserved, s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}
