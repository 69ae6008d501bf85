package synmetrix

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/synmetrix/session/auth"
)

// verdict is a code and the sentinels that go with it.
type verdict struct {
	code  string
	wraps []error
}

func refused(code string) verdict {
	return verdict{code, []error{auth.ErrRefused}}
}

func ticketRefused(code string) verdict {
	return verdict{code, []error{auth.ErrRefused, auth.ErrTicketRefused}}
}

func unavailable(code string) verdict {
	return verdict{code, []error{auth.ErrUnavailable}}
}

// refusal is an error of the service's: a status and its exact message, since
// it has no code of its own.
type refusal struct {
	status  int
	message string
}

// The messages of rules for all the answers of a status that have none of
// their own: whatever takes every one, otherwise those that find no fault with
// an argument.
const (
	whatever  = "*"
	otherwise = "**"
)

// refusals say what the service's errors mean to one call. What they do not
// name is read as in every call.
type refusals map[refusal]verdict

func (r refusals) verdict(status int, message string) verdict {
	if v, ok := r[refusal{status, message}]; ok {
		return v
	}
	if v, ok := r[refusal{status, whatever}]; ok {
		return v
	}
	if field, ok := validated(message); ok && status == http.StatusBadRequest {
		return fieldRefused(field)
	}
	if v, ok := r[refusal{status, otherwise}]; ok {
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

// validated returns the argument that a message finds fault with: such
// messages begin with its name in quotation marks. The other texts of a 400
// tell of a state, or quote what the service's backend said.
func validated(message string) (field string, ok bool) {
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

// What is refused before it is sent.

// checkAccessToken returns the error for an access token that is empty, or
// could not be sent in a header.
func checkAccessToken(op, token string) error {
	switch {
	case token == "":
		return newError(op, CodeMissingToken, auth.ErrRefused)
	case !isJWT(token):
		return newError(op, CodeMalformedToken, auth.ErrRefused)
	}
	return nil
}

// checkTicket returns the error for a ticket that the service cannot know.
func checkTicket(op, ticket string) error {
	switch {
	case ticket == "":
		return newError(op, CodeMissingToken, auth.ErrRefused, auth.ErrTicketRefused)
	case !isUUID(ticket):
		return newError(op, CodeMalformedToken, auth.ErrRefused, auth.ErrTicketRefused)
	}
	return nil
}

// checkText returns the error for an argument that JSON cannot carry: what is
// not UTF-8 would arrive as U+FFFD, and one password would pass for another.
// The arguments are names, as the service has them, and values.
func checkText(op string, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if !utf8.ValidString(pairs[i+1]) {
			v := fieldRefused(pairs[i])
			return newError(op, v.code, v.wraps...)
		}
	}
	return nil
}
