package adaptertest

import (
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"github.com/synmetrix/session/internal/testkit/webapp"
)

// Gunzip gets a path as a client that accepts gzip, and returns the text of the body,
// compressed or not, and the response.
func Gunzip(t *testing.T, b *webapp.Browser, path string) (string, *http.Response) {
	t.Helper()
	res, err := b.Client.Do(b.Request("GET", path, "", "Accept-Encoding", "gzip"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body := io.Reader(res.Body)
	if res.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(res.Body); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), res
}
