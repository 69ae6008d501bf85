package middleware_test

import (
	"net/http"
	"testing"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
)

// The frame-ancestors of Config.Embedders apply to a response whose handler sets a policy of
// its own, unless that policy has the same frame-ancestors.
func TestFrameAncestorsBesideOwnPolicy(t *testing.T) {
	a := newBareApp(t, func(c *session.Config) { c.Embedders = []string{"https://shop.example.com"} })
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if own := r.URL.Query().Get("policy"); own != "" {
			w.Header().Set("Content-Security-Policy", own)
		}
	})
	a.start(middleware.Sessions(a.m)(a.mux))
	const ours = "frame-ancestors 'self' https://shop.example.com"
	for own, added := range map[string]bool{
		"":                                      true,
		"default-src 'self'":                    true,
		ours:                                    false,
		"default-src 'self'; " + ours + ";":     false,
		"default-src 'self', " + ours:           false,
		ours + " https://other.example":         true,
		ours + ":8443":                          true,
		ours + ".other.example; img-src 'self'": true,
		"frame-ancestors *; " + ours:            true, // browsers use the first directive of a name
		"FRAME-ANCESTORS\t*; " + ours:           true,
	} {
		req, err := http.NewRequest("GET", a.srv.URL+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		q := req.URL.Query()
		q.Set("policy", own)
		req.URL.RawQuery = q.Encode()
		res := a.browser().send(req)
		got := res.Header["Content-Security-Policy"]
		want := []string{own, ours}
		if own == "" {
			want = []string{ours}
		} else if !added {
			want = []string{own}
		}
		if len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
			t.Errorf("policy %q: %q, want %q", own, got, want)
		}
	}
}
