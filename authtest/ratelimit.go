package authtest

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// limiter counts requests by client address. All addresses share one window.
type limiter struct {
	max    int // 0: no limit
	window time.Duration

	mu   sync.Mutex
	end  time.Time // of the window
	hits map[string]int
}

// check counts a request. If the request is over the limit, check returns a 429,
// which has none of the service's other headers.
func (l *limiter) check(c *call) *Response {
	if l.max == 0 || c.req.URL.Path == string(Healthz) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := c.server.Now()
	if !now.Before(l.end) {
		l.end, l.hits = now.Add(l.window), make(map[string]int)
	}
	client := clientAddr(c.req)
	l.hits[client]++

	c.header.Set("X-RateLimit-Limit", strconv.Itoa(l.max))
	c.header.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, l.max-l.hits[client])))
	c.header.Set("X-RateLimit-Reset", strconv.FormatInt(ceilSeconds(time.Duration(l.end.UnixNano())), 10))
	if l.hits[client] <= l.max {
		return nil
	}
	// The length of the whole window, not the rest of it.
	c.header.Set("Retry-After", strconv.FormatInt(ceilSeconds(l.window), 10))
	return failure(http.StatusTooManyRequests, "You are being rate limited.")
}

func ceilSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// clientAddr returns the address of the client. It trusts one proxy, so that the
// last entry of X-Forwarded-For is the client.
func clientAddr(r *http.Request) string {
	if forwarded := r.Header.Values("X-Forwarded-For"); len(forwarded) > 0 {
		list := strings.Split(forwarded[len(forwarded)-1], ",")
		return strings.TrimSpace(list[len(list)-1])
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
