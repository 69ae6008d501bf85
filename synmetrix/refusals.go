package synmetrix

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/synmetrix/session/auth"
)

// verdict is an error code and the sentinels that the error wraps.
type verdict struct {
	code  string
	wraps []error
}

func refused(code string, also ...error) verdict {
	return verdict{code, append([]error{auth.ErrRefused}, also...)}
}

func ticketRefused(code string) verdict {
	return verdict{code, []error{auth.ErrRefused, auth.ErrTicketRefused}}
}

func unavailable(code string) verdict {
	return verdict{code, []error{auth.ErrUnavailable}}
}

// refusal identifies an error of the service by its status and exact message. The
// service's errors have no codes.
type refusal struct {
	status  int
	message string
}

// Messages of rules for a status whose message has no rule. anyMessage matches
// every message. otherMessage matches messages that do not report an invalid
// argument.
const (
	anyMessage   = "*"
	otherMessage = "**"
)

// refusals maps the service's errors to verdicts for one call. Errors that it does
// not list get the same verdict in every call.
type refusals map[refusal]verdict

func (r refusals) verdict(status int, message string) verdict {
	if v, ok := r[refusal{status, message}]; ok {
		return v
	}
	if v, ok := r[refusal{status, anyMessage}]; ok {
		return v
	}
	if field, ok := invalidField(message); ok && status == http.StatusBadRequest {
		return fieldRefused(field)
	}
	if v, ok := r[refusal{status, otherMessage}]; ok {
		return v
	}
	switch status {
	case http.StatusUnauthorized:
		return refused(CodeNotSignedIn)
	case http.StatusBadRequest:
		return unavailable(CodeUnclear)
	}
	return unavailable(CodeUnexpectedStatus)
}

// invalidField returns the argument that a message reports as invalid. Such
// messages begin with the quoted name of the argument. Other messages of a 400
// describe a state, or quote an error of the service's backend.
func invalidField(message string) (field string, ok bool) {
	rest, ok := strings.CutPrefix(message, `"`)
	if !ok {
		return "", false
	}
	field, _, ok = strings.Cut(rest, `" `)
	return field, ok
}

func fieldRefused(field string) verdict {
	switch field {
	case "email", "new_email":
		return refused(CodeInvalidEmail)
	case "password", "new_password":
		return refused(CodeInvalidPassword)
	case "old_password":
		return refused(CodeWrongPassword)
	case "code":
		return refused(CodeWrongCode)
	case "ticket":
		return ticketRefused(CodeTicketRefused)
	}
	return refused(CodeInvalidInput)
}

// The functions below reject arguments before a request is sent.

// checkAccessToken returns an error if an access token is empty or cannot be sent
// in a header.
func checkAccessToken(op, token string) error {
	switch {
	case token == "":
		return newError(op, CodeMissingToken, auth.ErrRefused, auth.ErrAccessTokenRefused)
	case !isJWT(token):
		return newError(op, CodeMalformedToken, auth.ErrRefused, auth.ErrAccessTokenRefused)
	}
	return nil
}

// checkTicket returns an error for a ticket that the service cannot have issued.
func checkTicket(op, ticket string) error {
	switch {
	case ticket == "":
		return newError(op, CodeMissingToken, auth.ErrRefused, auth.ErrTicketRefused)
	case !isUUID(ticket):
		return newError(op, CodeMalformedToken, auth.ErrRefused, auth.ErrTicketRefused)
	}
	return nil
}

// checkText returns an error if a value cannot be sent in JSON. Bytes that are not
// UTF-8 would arrive as U+FFFD, so that different passwords would become equal.
// The pairs are the service's name of each argument and its value.
func checkText(op string, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if !utf8.ValidString(pairs[i+1]) {
			v := fieldRefused(pairs[i])
			return newError(op, v.code, v.wraps...)
		}
	}
	return nil
}
