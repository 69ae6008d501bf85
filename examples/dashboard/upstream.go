package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// upstream is an API that is called as the signed-in user.
type upstream struct {
	address string // empty: there is none
	client  *http.Client
	log     *slog.Logger
}

func newUpstream(address string, log *slog.Logger) *upstream {
	return &upstream{address: address, log: log, client: &http.Client{
		Timeout: 30 * time.Second,
		// A redirect would take the user's token to who knows where.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// serve asks the API with the user's access token, which is renewed first when
// it is due, and passes on what it says.
func (u *upstream) serve(w http.ResponseWriter, r *http.Request) {
	if u.address == "" {
		notFound(w, r)
		return
	}
	token, err := session.FromContext(r.Context()).AccessToken(r.Context())
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, u.address, nil)
	if err != nil {
		middleware.Refuse(w, r, err)
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := u.client.Do(req)
	if err == nil && res.StatusCode < 200 {
		res.Body.Close() // it wants to speak another protocol
		err = http.ErrNotSupported
	}
	if err != nil {
		err = fitForLog(err)
		u.log.WarnContext(r.Context(), "upstream unavailable", "error", err)
		middleware.Refuse(w, r, &middleware.Problem{
			Status: http.StatusBadGateway, Code: "upstream_unavailable",
			Detail: "The API behind this address does not answer.", Err: err,
		})
		return
	}
	defer res.Body.Close()
	h := w.Header()
	h["Content-Type"] = res.Header["Content-Type"] // nil, so that none is made up
	if encoding := res.Header["Content-Encoding"]; encoding != nil {
		h["Content-Encoding"] = encoding // not asked for, and not to be read without
	}
	// What comes from elsewhere must not run as one of our pages.
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil && r.Method != http.MethodHead {
		panic(http.ErrAbortHandler) // so that nobody takes half an answer for a whole one
	}
}

// fitForLog returns what an operator should know of a failed call. The texts of
// other errors may quote the address, which may hold a key, or what the API
// sent, which has been told the token.
func fitForLog(err error) error {
	var network *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &network):
		return network
	case errors.As(err, &timeout) && timeout.Timeout():
		return os.ErrDeadlineExceeded
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return errors.New("the answer cannot be used")
}
