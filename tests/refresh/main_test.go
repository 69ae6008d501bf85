package refresh_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/synmetrix/session/internal/testkit"
)

func TestMain(m *testing.M) {
	os.Exit(testkit.Run(m, startUpstream))
}

func startUpstream() (stop func()) {
	upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	upstream.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	return upstream.Close
}
