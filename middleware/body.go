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

// maxBody bounds the body of a request to one of the routes.
const maxBody = 64 << 10

const (
	typeJSON      = "application/json"
	typeForm      = "application/x-www-form-urlencoded"
	typeMultipart = "multipart/form-data"
)

// input is what the body of a request says: a form's fields, or a JSON
// object's. Names are case-sensitive, and unknown ones are left alone, as a
// form's always are.
type input struct {
	form  url.Values
	json  map[string]json.RawMessage
	twice map[string]bool // names that the JSON object has more than once
}

// readInput reads the body of r. No body is an input without fields. Its error
// is a *Problem.
func readInput(r *http.Request) (input, error) {
	if r.PostForm != nil {
		// An outer middleware has read the form already.
		return input{form: r.PostForm}, nil
	}
	if !hasBody(r) {
		return input{}, nil
	}
	if r.ContentLength < 0 && r.Header.Get("Content-Type") == "" {
		// Sent in chunks, it may turn out to be none.
		if body, err := readLimited(r); err != nil || len(body) == 0 {
			return input{}, err
		}
	}
	typ, params := contentType(r.Header)
	charset := params["charset"]
	if charset != "" && !strings.EqualFold(charset, "utf-8") || !isIdentity(r.Header.Get("Content-Encoding")) {
		return input{}, mediaProblem()
	}
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

func isIdentity(encoding string) bool {
	return encoding == "" || strings.EqualFold(encoding, "identity")
}

func readLimited(r *http.Request) ([]byte, error) {
	tooLarge := &Problem{
		Status: http.StatusRequestEntityTooLarge,
		Detail: "The request's body is larger than " + strconv.Itoa(maxBody>>10) + " KiB.",
	}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	var limit *http.MaxBytesError // of an outer middleware
	switch {
	case len(body) > maxBody || errors.As(err, &limit):
		return nil, tooLarge
	case err != nil:
		return nil, badRequest("The request's body is not complete.")
	}
	return body, nil
}

func mediaProblem() error {
	return &Problem{
		Status: http.StatusUnsupportedMediaType,
		Detail: "The request's body must be " + typeForm + ", " + typeMultipart + " or " + typeJSON + ", in UTF-8 and not compressed.",
	}
}

func badRequest(detail string) *Problem {
	return &Problem{Status: http.StatusBadRequest, Detail: detail}
}

func readForm(body []byte) (input, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return input{}, badRequest("The request's body is not a valid form.")
	}
	return input{form: form}, nil
}

func readMultipart(body []byte, boundary string) (input, error) {
	// All of it is in memory already, and it is small: no part becomes a file.
	form, err := multipart.NewReader(bytes.NewReader(body), boundary).ReadForm(maxBody)
	if err != nil || boundary == "" {
		return input{}, badRequest("The request's body is not a valid form.")
	}
	return input{form: form.Value}, nil
}

// readJSON is stricter than encoding/json is by itself, which takes the last of
// several values, ignores what follows the object and turns text that is not
// Unicode into something else: a password must arrive as it was sent.
func readJSON(body []byte) (input, error) {
	if !utf8.Valid(body) || !validSurrogates(body) {
		return input{}, badRequest("The request's body is not valid UTF-8.")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return input{}, badRequest("The request's body is not a JSON object.")
	}
	in := input{json: map[string]json.RawMessage{}, twice: map[string]bool{}}
	for d.More() {
		var value json.RawMessage
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok || d.Decode(&value) != nil {
			return input{}, badRequest("The request's body is not valid JSON.")
		}
		_, again := in.json[name]
		in.json[name], in.twice[name] = value, again || in.twice[name]
	}
	if _, err := d.Token(); err != nil {
		return input{}, badRequest("The request's body is not valid JSON.")
	}
	if _, err := d.Token(); err != io.EOF {
		return input{}, badRequest("Something follows the JSON object in the request's body.")
	}
	return in, nil
}

// validSurrogates reports whether every \u escape of one half of a UTF-16 pair
// is followed by the other half. A backslash occurs in strings only.
func validSurrogates(text []byte) bool {
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
			i++ // what is escaped may be a backslash
		} else if utf16.DecodeRune(c, escape(i+6)) == utf8.RuneError {
			return false
		} else {
			i += len(`\ud83d\ude00`) - 1
		}
	}
	return true
}

// text returns the value of a field that must be there. Its error is a
// *Problem.
func (in input) text(name string) (string, error) {
	if in.twice[name] {
		return "", fieldProblem(name, "is given more than once")
	}
	if raw, ok := in.json[name]; ok {
		var s *string
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

// flag returns the value of a field that is false if it is not there.
func (in input) flag(name string) (bool, error) {
	if in.twice[name] {
		return false, fieldProblem(name, "is given more than once")
	}
	if raw, ok := in.json[name]; ok {
		var b *bool
		if json.Unmarshal(raw, &b) != nil || b == nil {
			return false, fieldProblem(name, "must be true or false")
		}
		return *b, nil
	}
	values := in.form[name]
	if len(values) == 0 || len(values) == 1 && values[0] == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return false, fieldProblem(name, "must be true or false")
	}
	return b, nil
}

// returnTo returns the field return_to, or the empty string: it is never a
// reason to refuse a sign-in.
func (in input) returnTo() string {
	to, err := in.text("return_to")
	if err != nil {
		return ""
	}
	return to
}

func fieldProblem(name, what string) *Problem {
	return &Problem{
		Status: http.StatusUnprocessableEntity,
		Field:  name,
		Detail: "The field " + name + " " + what + ".",
	}
}
