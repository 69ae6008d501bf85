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

// Answer is what the service is about to send. The Edit function of a [Fault]
// may change it.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // Content-Length is set from it when it is sent
}

// member is one name and value of a JSON object.
type member struct {
	name  string
	value any
}

// object is a JSON object that keeps the order of its members, which the
// service's clients can see in bodies, tokens and error messages.
type object []member

// get returns the value of a member. It is a nil without ok if there is none.
func (o object) get(name string) (value any, ok bool) {
	for _, m := range o {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// text returns a member that is a string, "" if it is not one.
func (o object) text(name string) string {
	value, _ := o.get(name)
	s, _ := value.(string)
	return s
}

// set changes the member of a name, or appends one.
func (o object) set(name string, value any) object {
	for i := range o {
		if o[i].name == name {
			o[i].value = value
			return o
		}
	}
	return append(o, member{name, value})
}

// without returns the object without the member of a name.
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

// marshal encodes a value of this package's making as JavaScript does: without
// escapes for HTML.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		// Only values of an Account's Fields can be beyond JSON.
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// ok is a 200 with a JSON body.
func ok(body any) *Answer { return jsonAnswer(http.StatusOK, body) }

func noContent() *Answer {
	return &Answer{Status: http.StatusNoContent, Header: make(http.Header)}
}

// failure is the service's JSON error. Without a message it is what the
// service sends for whatever its handlers did not foresee.
func failure(status int, message string) *Answer {
	return jsonAnswer(status, struct {
		StatusCode int    `json:"statusCode"`
		Error      string `json:"error"`
		Message    string `json:"message,omitempty"`
	}{status, http.StatusText(status), message})
}

// badRequest without a message is the service's answer to its own exceptions
// as well as to malformed requests.
func badRequest() *Answer { return failure(http.StatusBadRequest, "") }

func serverError() *Answer {
	return failure(http.StatusInternalServerError, "An internal server error occurred")
}

// disabled is the answer of an endpoint that is switched off.
func disabled(*call) *Answer { return serverError() }

func jsonAnswer(status int, body any) *Answer {
	return &Answer{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		Body:   marshal(body),
	}
}

// secureHeaders are those of helmet 3.22, which the service puts on all
// answers but its 429.
func secureHeaders(h http.Header) {
	h.Set("X-DNS-Prefetch-Control", "off")
	h.Set("X-Frame-Options", "SAMEORIGIN")
	h.Set("Strict-Transport-Security", "max-age=15552000; includeSubDomains")
	h.Set("X-Download-Options", "noopen")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-XSS-Protection", "1; mode=block")
}

// noCache are the headers of everything under /auth.
func noCache(h http.Header) {
	h.Set("Surrogate-Control", "no-store")
	h.Set("Cache-Control", "no-store, no-cache, must-revalidate, proxy-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "0")
}

// cors lets any origin in, with credentials: the service reflects it.
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
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
}

// etag is the weak entity tag of Express: length and half a SHA-1.
func etag(body []byte) string {
	sum := sha1.Sum(body)
	return fmt.Sprintf(`W/"%x-%s"`, len(body), base64.StdEncoding.EncodeToString(sum[:])[:27])
}

// finish adds what every answer of the service carries.
func (s *Server) finish(r *http.Request, a *Answer) {
	h := a.Header
	h.Set("Date", s.Now().UTC().Format(http.TimeFormat))
	if len(a.Body) > 0 && h.Get("ETag") == "" && a.Status != http.StatusFound {
		h.Set("ETag", etag(a.Body))
	}
	if r.ProtoMajor == 1 && !r.Close {
		h.Set("Connection", "keep-alive")
		h.Set("Keep-Alive", fmt.Sprintf("timeout=%d", keepAlive/time.Second))
	}
}

// encodeURIComponent does what JavaScript's function of that name does.
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
