package main

import (
	"cmp"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/synmetrix/session/middleware"
)

const (
	maxBody        = 64 << 10 // bytes of the request's body
	maxContentType = 256      // bytes of the field that are parsed
)

// readBody reads the request's body, which must be UTF-8. The Content-Type may be
// missing, but must not be another type.
func readBody(w http.ResponseWriter, r *http.Request, contentType string) ([]byte, error) {
	if field := r.Header.Get("Content-Type"); field != "" {
		typ, params, err := mime.ParseMediaType(field[:min(len(field), maxContentType)])
		if charset := cmp.Or(params["charset"], "utf-8"); err != nil || len(field) > maxContentType || typ != contentType || !strings.EqualFold(charset, "utf-8") {
			return nil, &middleware.Problem{Status: http.StatusUnsupportedMediaType, Detail: "The request's body must be " + contentType + " in UTF-8."}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &middleware.Problem{Status: http.StatusRequestEntityTooLarge, Detail: "The request's body is larger than 64 KiB."}
	case err != nil:
		return nil, &middleware.Problem{Status: http.StatusBadRequest, Detail: "The request's body is incomplete."}
	case !utf8.Valid(body):
		return nil, &middleware.Problem{Status: http.StatusBadRequest, Detail: "The request's body is not UTF-8."}
	}
	return body, nil
}

// readField reads a form with one field from the request's body, and returns the value
// of the field.
func readField(w http.ResponseWriter, r *http.Request, name string) (string, error) {
	body, err := readBody(w, r, "application/x-www-form-urlencoded")
	if err != nil {
		return "", err
	}
	form, err := url.ParseQuery(string(body))
	switch {
	case err != nil || !utf8.ValidString(form.Get(name)):
		return "", &middleware.Problem{Status: http.StatusBadRequest, Detail: "The request's body is not a form."}
	case !form.Has(name):
		return "", invalid(name, "The field "+name+" is missing.")
	}
	return form.Get(name), nil
}
