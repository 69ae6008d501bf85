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

// upstream is an API that the app calls as the signed-in user.
type upstream struct {
	address string // empty if there is no such API
	client  *http.Client
	log     *slog.Logger
}

func newUpstream(address string, log *slog.Logger) *upstream {
	return &upstream{address: address, log: log, client: &http.Client{
		Timeout: 30 * time.Second,
		// Following a redirect would send the user's token to another address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// serve calls the API with the user's access token and forwards the response. If
// the token is due for refresh, it is refreshed first.
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
		res.Body.Close() // the API has switched protocols
		err = http.ErrNotSupported
	}
	if err != nil {
		err = withoutSecrets(err)
		u.log.WarnContext(r.Context(), "upstream unavailable", "error", err)
		middleware.Refuse(w, r, &middleware.Problem{
			Status: http.StatusBadGateway, Code: "upstream_unavailable",
			Detail: "The API behind this address is not available.", Err: err,
		})
		return
	}
	defer res.Body.Close()
	h := w.Header()
	h["Content-Type"] = res.Header["Content-Type"] // nil if missing, so that net/http does not guess a type
	if encoding := res.Header["Content-Encoding"]; encoding != nil {
		h["Content-Encoding"] = encoding // the client needs it to decode the body
	}
	// A page of the API must not run with the origin of this app.
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(res.StatusCode)
	if _, err := io.Copy(w, res.Body); err != nil && r.Method != http.MethodHead {
		panic(http.ErrAbortHandler) // closes the connection, so that the client notices the truncation
	}
}

// withoutSecrets returns an error for the log. It removes error texts that may quote the
// address or the API's response. The address may contain a key, and the response may
// contain the token.
func withoutSecrets(err error) error {
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
	return errors.New("invalid response")
}
