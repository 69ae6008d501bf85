package refresh_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	upstream.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 1000
	status := m.Run()
	upstream.Close()
	if status == 0 && !settled(before) {
		fmt.Println("goroutines are left behind by the tests:")
		_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
		status = 1
	}
	os.Exit(status)
}

// settled waits until no more goroutines run than before: connections that are
// closed take a moment to notice.
func settled(before int) bool {
	for end := time.Now().Add(tooLong); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= before {
			return true
		}
	}
	return false
}
