package middleware

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxBody bounds the request body of a built-in route, in bytes. The body is read into
// memory, and visitors who are not signed in can send one.
const maxBody = 64 << 10

// The media types of the bodies that the routes accept.
const (
	typeJSON      = "application/json"
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
)

// input has the fields of a request body, which is a form or a JSON object. Names
// are case-sensitive. Unknown fields are ignored, because apps may add their own
// to a form.
type input struct {
	form     url.Values
	json     map[string]json.RawMessage
	repeated map[string]bool // names that occur more than once in the JSON object
}

// readInput reads the body of r. Without a body, the input has no fields. The
// error is a *Problem.
func readInput(r *http.Request) (input, error) {
	if isParsed(r) {
		return input{form: r.PostForm}, nil
	}
	if !hasBody(r) {
		return input{}, nil
	}
	if r.ContentLength < 0 && r.Header.Get("Content-Type") == "" {
		// The body is chunked, and its length is unknown. An empty body is accepted without
		// a Content-Type, like a missing body.
		if body, err := readLimited(r); err != nil || len(body) == 0 {
			return input{}, err
		}
	}
	typ, params := contentType(r.Header)
	// Bytes in another charset or compression would become a different password.
	charset := params["charset"]
	if charset != "" && !strings.EqualFold(charset, "utf-8") || !isIdentity(r.Header.Get("Content-Encoding")) {
		return input{}, mediaProblem()
	}
	// The type is checked before the body is read, so that a body with a wrong
	// type is not read at all. JSON needs its own type: a form of another site can
	// send JSON as text/plain without a CORS preflight.
	var read func([]byte) (input, error)
	switch typ {
	case typeJSON:
		read = readJSON
	case typeForm:
		read = readForm
	case typeMultipart:
		read = func(body []byte) (input, error) { return readMultipart(body, params["boundary"]) }
	default:
		return input{}, mediaProblem()
	}
	body, err := readLimited(r)
	if err != nil {
		return input{}, err
	}
	return read(body)
}

// isParsed reports whether an outer middleware has consumed the body and parsed it
// into r.PostForm. ParseForm and FormValue set r.PostForm for every request, and
// leave a body that they do not parse unread.
func isParsed(r *http.Request) bool {
	switch typ, _ := contentType(r.Header); typ {
	case typeForm:
		return r.PostForm != nil
	case typeMultipart:
		return r.PostForm != nil && r.MultipartForm != nil
	}
	return false
}

// isIdentity reports whether a Content-Encoding leaves the body unchanged.
func isIdentity(encoding string) bool {
	return encoding == "" || strings.EqualFold(encoding, "identity")
}

// readLimited reads a body of at most maxBody bytes.
func readLimited(r *http.Request) ([]byte, error) {
	tooLarge := &Problem{
		Status: http.StatusRequestEntityTooLarge,
		Detail: "The request's body is larger than " + strconv.Itoa(maxBody>>10) + " KiB.",
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	// One byte more than allowed shows that the body is too large, even if its
	// length was not announced.
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	var limit *http.MaxBytesError // an outer middleware may have a lower limit
	switch {
	case len(body) > maxBody || errors.As(err, &limit):
		return nil, tooLarge
	case err != nil:
		return nil, badRequest("The request's body is incomplete.")
	}
	return body, nil
}

// mediaProblem returns the Problem for a body of another type, charset or encoding.
func mediaProblem() error {
	return &Problem{
		Status: http.StatusUnsupportedMediaType,
		Detail: "The request's body must be " + typeForm + ", " + typeMultipart + " or " + typeJSON + ", in UTF-8 and uncompressed.",
	}
}

// badRequest returns the Problem for a body that cannot be parsed. detail must not
// quote the body, because it may contain a password.
func badRequest(detail string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Detail: detail}
}

// readForm reads a urlencoded form. url.ParseQuery rejects semicolons, which some
// proxies read as separators.
func readForm(body []byte) (input, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return input{}, badRequest("The request's body is not a valid form.")
	}
	return input{form: form}, nil
}

// readMultipart reads a multipart form (RFC 7578). Files in it are ignored.
func readMultipart(body []byte, boundary string) (input, error) {
	// The body is no larger than the memory limit that ReadForm gets, so no part
	// is written to a temporary file.
	form, err := multipart.NewReader(bytes.NewReader(body), boundary).ReadForm(maxBody)
	if err != nil || boundary == "" {
		return input{}, badRequest("The request's body is not a valid form.")
	}
	return input{form: form.Value}, nil
}

// readJSON reads a JSON object. It is stricter than json.Unmarshal, which uses the
// last of several values of a name, and replaces invalid UTF-8. A proxy that checks
// the first value would check a different value than the app uses (RFC 8259,
// section 4, leaves the choice to the parser). A password must arrive exactly as the
// client sent it.
func readJSON(body []byte) (input, error) {
	if !utf8.Valid(body) || !validSurrogates(body) {
		return input{}, badRequest("The request's body is not valid UTF-8.")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return input{}, badRequest("The request's body is not a JSON object.")
	}
	in := input{json: map[string]json.RawMessage{}, repeated: map[string]bool{}}
	for d.More() {
		// The values stay undecoded, so that text and flag can check their types.
		var value json.RawMessage
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok || d.Decode(&value) != nil {
			return input{}, badRequest("The request's body is not valid JSON.")
		}
		// A repeated name is recorded and not rejected here: only a field that a route
		// reads must be unique.
		_, again := in.json[name]
		in.json[name], in.repeated[name] = value, again || in.repeated[name]
	}
	if _, err := d.Token(); err != nil {
		return input{}, badRequest("The request's body is not valid JSON.")
	}
	if _, err := d.Token(); err != io.EOF {
		return input{}, badRequest("The request's body has data after the JSON object.")
	}
	return in, nil
}

// validSurrogates reports whether every \u escape of a UTF-16 surrogate belongs to
// a pair. The decoder replaces a single surrogate with U+FFFD, so that different
// passwords would become equal. In JSON, a backslash can only be in a string, so
// the text need not be parsed for this check.
func validSurrogates(text []byte) bool {
	// escape returns the code unit of the \u escape at i, or -1.
	escape := func(i int) rune {
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return -1
		}
		c, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return rune(c)
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		if c := escape(i); c < 0 || !utf16.IsSurrogate(c) {
			i++ // skip the escaped character, which may be a backslash itself
		} else if utf16.DecodeRune(c, escape(i+6)) == utf8.RuneError {
			return false
		} else {
			i += len(`\ud83d\ude00`) - 1
		}
	}
	return true
}

// text returns the value of a required string field. The error is a *Problem. A
// second value is an error, because a proxy in front of the app might use the
// second.
func (in input) text(name string) (string, error) {
	if in.repeated[name] {
		return "", fieldProblem(name, "is given more than once")
	}
	if raw, ok := in.json[name]; ok {
		var s *string // a pointer, because null would decode to an empty string
		if json.Unmarshal(raw, &s) != nil || s == nil {
			return "", fieldProblem(name, "must be a string")
		}
		if *s == "" {
			return "", fieldProblem(name, "is missing")
		}
		return *s, nil
	}
	values := in.form[name]
	switch {
	case len(values) > 1:
		return "", fieldProblem(name, "is given more than once")
	case len(values) == 0 || values[0] == "":
		return "", fieldProblem(name, "is missing")
	case !utf8.ValidString(values[0]):
		return "", fieldProblem(name, "is not valid UTF-8")
	}
	return values[0], nil
}

// address returns the value of a required field with an e-mail address. Spaces around
// it are typing errors.
func (in input) address(name string) (string, error) {
	email, err := in.text(name)
	if err != nil {
		return "", err
	}
	if email = strings.TrimSpace(email); email == "" {
		return "", fieldProblem(name, "is missing")
	}
	return email, nil
}

// flag returns the value of an optional boolean field. Its default is false.
func (in input) flag(name string) (bool, error) {
	value, _, err := in.optionalFlag(name)
	return value, err
}

// optionalFlag is flag, and reports whether the field is given.
func (in input) optionalFlag(name string) (value, given bool, err error) {
	if in.repeated[name] {
		return false, false, fieldProblem(name, "is given more than once")
	}
	if raw, ok := in.json[name]; ok {
		var b *bool
		if json.Unmarshal(raw, &b) != nil || b == nil {
			return false, false, fieldProblem(name, "must be true or false")
		}
		return *b, true, nil
	}
	values := in.form[name]
	// A hidden field without a value is sent as an empty value.
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return false, false, nil
	}
	b, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return false, false, fieldProblem(name, "must be true or false")
	}
	return b, true, nil
}

// returnTo returns the field return_to, or the empty string if it is missing or invalid. An
// invalid address must not make a sign-in fail.
func (in input) returnTo() string {
	to, err := in.text("return_to")
	if err != nil {
		return ""
	}
	return to
}

// fieldProblem returns the Problem for an invalid field. rest completes the sentence "The
// field email ...". The text does not contain the field's value, which may be a password.
func fieldProblem(name, rest string) *Problem {
	return &Problem{
		Status: http.StatusUnprocessableEntity,
		Field:  name,
		Detail: "The field " + name + " " + rest + ".",
	}
}
