package middleware_test

import (
	"strings"
	"testing"

	"github.com/synmetrix/session/middleware"
)

func TestDevices(t *testing.T) {
	const windows, mac = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) ", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "
	for agent, want := range map[string]string{
		windows + "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                               "Chrome on Windows",
		windows + "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0":                                 "Edge on Windows",
		windows + "Gecko/20100101 Firefox/128.0":                                                                                        "Firefox on Windows",
		mac + "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15":                                                   "Safari on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile Safari/604": "Chrome on iPhone",
		"Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121 Mobile Safari": "Samsung Internet on Android",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/126.0.0.0 Safari/537.36":                                    "Chrome on ChromeOS",
		"curl/8.5.0":                          "curl",
		"Go-http-client/2.0":                  "Go-http-client",
		"":                                    "Unknown device",
		strings.Repeat("x", 5000):             "Unknown device",
		"\x1b[2Jbell":                         "Unknown device",
		strings.Repeat(" ", 600) + "Mac OS X": "Unknown device",
	} {
		if got := middleware.Device(agent); got != want {
			t.Errorf("%.60q: %q, want %q", agent, got, want)
		}
	}
}
