package middleware

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
)

// newMagicPage returns the form of a sign-in with a link in an e-mail. returnTo is
// untrusted; see newForm.
func (h *handlers) newMagicPage(r *http.Request, returnTo string) Page {
	return h.newForm(r, "magic-link", magicPath, returnTo)
}

// magicLink handles POST /magic-link, which sends the link. callbackPage signs the user in.
func (h *handlers) magicLink(w http.ResponseWriter, r *http.Request) {
	// The link in the e-mail has no return_to, so a cookie keeps the address.
	send := func(ctx context.Context, email, returnTo string) error {
		return h.m.SendMagicLink(ctx, email, session.WithReturnTo(returnTo))
	}
	h.sendMail(w, r, h.newMagicPage, magicPath, "magic", send)
}

// tokenParameter is the query parameter of a link with a refresh token, and linkField
// the form field with the same token in its sealed form.
const (
	tokenParameter = "refresh_token"
	linkField      = "link"
)

// callbackPage handles the GET that follows a link in an e-mail. Link scanners, and
// browsers that prefetch pages, send such requests, too. And an attacker can send another
// user a link of the attacker's own account (login CSRF). So the GET signs in only a
// browser that has requested the link. All other clients get a page with a button.
func (h *handlers) callbackPage(w http.ResponseWriter, r *http.Request) {
	token, _ := parameter(r, tokenParameter)
	if token == "" {
		h.refuseLink(w, r, http.StatusBadRequest, nil)
		return
	}
	// FollowLink would use the token up. Only a page that a user has opened, in the browser
	// that requested the link, may do so.
	var returnTo string
	pending := false
	if opensLink(r) {
		returnTo, pending = h.m.PendingLink(r.Context())
	}
	if !pending {
		sealed, err := h.m.SealLink(token)
		h.confirm(w, r, "callback.text", sealed, err)
		return
	}
	sealed, err := h.m.FollowLink(r.Context(), token)
	switch {
	case errors.Is(err, session.ErrOtherAccount):
		h.confirm(w, r, "callback.other", sealed, nil)
	case isRefusal(err):
		h.refuseLink(w, r, http.StatusUnauthorized, err)
	case err != nil:
		Refuse(w, r, signInError(err))
	default:
		// The token in the address is used up, but the next page must not receive it as
		// Referer.
		w.Header().Set("Referrer-Policy", "no-referrer")
		h.signedIn(w, r, settingsOf(r.Context()).returnTo(returnTo))
	}
}

// opensLink reports whether the user has opened a link, as far as the request shows.
// Browsers mark a prefetch with one of four fields: Sec-Purpose is the field of the Fetch
// standard, the others are older. Requests of scripts, images and frames differ from a
// navigation in Sec-Fetch-Mode or Sec-Fetch-Dest. Link scanners often send HEAD.
func opensLink(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz", "X-Purpose"} {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	return r.Method == http.MethodGet && (mode == "" || mode == "navigate") && (dest == "" || dest == "document")
}

// isRefusal reports whether the service has rejected a token, so that the link cannot
// succeed later. Other failures may be temporary.
func isRefusal(err error) bool {
	return errors.Is(err, auth.ErrRefused) && !errors.Is(err, session.ErrTooLarge) && !errors.Is(err, session.ErrSessionUnavailable)
}

// confirm shows the page with a button that signs the user in. The form posts to the
// address without its query, so a hidden field has the token. The token is sealed, so that
// a copy of the page is useless after an hour, and no other route accepts the text.
func (h *handlers) confirm(w http.ResponseWriter, r *http.Request, text, sealed string, err error) {
	switch {
	case err != nil:
		Refuse(w, r, err)
	case WantsPage(r):
		WritePage(w, r, h.newConfirmPage(r, text, sealed))
	default:
		writeJSON(w, http.StatusOK, typeJSON, map[string]bool{"confirmation_required": true})
	}
}

// newConfirmPage returns the page of confirm. text is the key of its text.
func (h *handlers) newConfirmPage(r *http.Request, text, sealed string) Page {
	page := NewPage(r, "callback")
	page.Texts = []string{page.Text(text)}
	page.Action = sibling(r, callbackPath, callbackPath)
	page.hide(linkField, sealed)
	return page
}

// callback handles the POST of the page with the button, and of programs that send the
// refresh token itself. Other sites cannot send it, because guarded checks the origin.
func (h *handlers) callback(w http.ResponseWriter, r *http.Request) {
	in, err := readInput(r)
	if err != nil {
		Refuse(w, r, err)
		return
	}
	sealed, err := in.text(linkField)
	start := func() error { return h.m.ConfirmLink(r.Context(), sealed) }
	if err != nil {
		// The body has no sealed token of the page, so a program may have sent the token
		// itself.
		var token string
		if token, err = in.text(tokenParameter); err != nil {
			Refuse(w, r, err)
			return
		}
		start = func() error { return h.m.StartWithToken(r.Context(), token) }
	}
	s := settingsOf(r.Context())
	kept, _ := h.m.PendingLink(r.Context())
	returnTo := cmp.Or(s.returnTo(in.returnTo()), s.returnTo(kept))
	switch err := start(); {
	case err == nil:
		h.signedIn(w, r, returnTo)
	case isRefusal(err):
		h.refuseLink(w, r, http.StatusUnauthorized, err)
	case sealed == "": // a program, for which there is no form
		Refuse(w, r, signInError(err))
	default:
		h.retryForm(w, r, h.newConfirmPage(r, "callback.text", sealed), signInError(err))
	}
}

// refuseLink responds to a link whose token is missing or no longer valid. It does not
// redirect to the login page, because the user would return to the invalid link after the
// sign-in.
func (h *handlers) refuseLink(w http.ResponseWriter, r *http.Request, status int, cause error) {
	code := codeInvalidRequest
	if status == http.StatusUnauthorized {
		code = codeInvalidCredentials
	}
	p := Problem{Status: status, Code: code, Detail: english["error.link_invalid"], Err: cause}
	if !WantsPage(r) {
		Refuse(w, r, &p)
		return
	}
	p.header(w.Header())
	ref := refusal{problem: p, loginURL: h.loginURL(r, callbackPath)}
	page := ref.page(r)
	page.Title = page.Text("title." + codeInvalidRequest)
	WritePage(w, r, page)
}

// referrerPolicy returns the Referrer-Policy of a page. With "no-referrer", browsers send
// "Origin: null" with the page's own form. Over plain HTTP there is no Sec-Fetch-Site, and
// the cross-origin check needs the real Origin. The address in a link of an e-mail contains
// a secret, which must not be sent as Referer.
func referrerPolicy(r *http.Request) string {
	_, token := parameter(r, tokenParameter)
	_, ticket := parameter(r, "ticket")
	switch {
	case !token && !ticket:
		return "same-origin"
	case r.Header.Get("Sec-Fetch-Site") != "":
		return "no-referrer"
	}
	return "strict-origin"
}
