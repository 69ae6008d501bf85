package proxies_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/synmetrix/session/tests/internal/front"
)

// The cookies of a user with many roles reach the limit of the app. They pass the
// proxies, and a session over the limit gets the app's own error.
func TestUpToTheLimit(t *testing.T) {
	t.Parallel()
	for name, start := range starters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, dashboard(t), "")
			client, _ := signIn(f, "", withRoles(300))
			value := `"` + strings.Repeat("x", 1000) + `"`
			for i := 1; ; i++ {
				before := cookieBytes(client)
				res, body := f.Do(client, "PUT", fmt.Sprintf("/api/prefs/p%d", i), value, "Content-Type", "application/json", "Origin", front.Origin)
				if res.StatusCode == http.StatusNoContent && i < 100 {
					continue
				}
				if res.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "session_too_large") {
					t.Errorf("value %d: %d %.500s", i, res.StatusCode, body)
				}
				if before < 20_000 || cookieBytes(client) != before {
					t.Errorf("the cookies have %d bytes, and then %d", before, cookieBytes(client))
				}
				t.Logf("%d values fit, and a request has %d bytes of cookies", i-1, before)
				break
			}
			if res, _ := f.Do(client, "GET", "/dashboard", "", "Accept", "text/html"); res.StatusCode != http.StatusOK {
				t.Errorf("afterwards: %d", res.StatusCode)
			}
		})
	}
}

// With its default settings, nginx itself rejects large cookies, with its own error.
// Cookies of a stored session are small, however large the session is.
func TestDefaultsOfNginx(t *testing.T) {
	t.Parallel()
	responses := []string{"    proxy_buffer_size 40k;\n    proxy_buffers 8 40k;\n", ""}
	requests := []string{"    large_client_header_buffers 4 40k;\n", ""}
	t.Run("responses", func(t *testing.T) {
		t.Parallel()
		f := starters["nginx"](t, dashboard(t), "", responses...)
		signIn(f, "", withRoles(10))
		signIn(f, "", withRoles(60))
		if res, body := post(f, f.Browser(), "", withRoles(300)); res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "nginx") {
			t.Errorf("300 roles: %d %.300s", res.StatusCode, body)
		}
	})
	t.Run("requests", func(t *testing.T) {
		t.Parallel()
		f := starters["nginx"](t, dashboard(t), "", requests...)
		for n, want := range map[int]int{10: http.StatusOK, 60: http.StatusOK, 300: http.StatusBadRequest} {
			client, _ := signIn(f, "", withRoles(n))
			res, body := f.Do(client, "GET", "/dashboard", "", "Accept", "text/html")
			if res.StatusCode != want || want == http.StatusBadRequest && !strings.Contains(body, "Cookie Too Large") {
				t.Errorf("%d roles: %d %.300s", n, res.StatusCode, body)
			}
		}
	})
	t.Run("stored", func(t *testing.T) {
		t.Parallel()
		f := starters["nginx"](t, dashboard(t, "STORE=memory"), "", append(responses, requests...)...)
		client, _ := signIn(f, "", withRoles(300))
		if res, _ := f.Do(client, "GET", "/dashboard", "", "Accept", "text/html"); res.StatusCode != http.StatusOK {
			t.Errorf("300 roles in a store: %d", res.StatusCode)
		}
	})
}

// The table of sizes in docs/proxies.md is measured here.
func TestSizes(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	cookies, stored := starters["caddy"](t, dashboard(t), ""), starters["caddy"](t, dashboard(t, "STORE=memory"), "")
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$`).FindAllStringSubmatch(string(page), -1)
	if len(rows) != 3 {
		t.Fatalf("the page has %d rows of sizes, want 3", len(rows))
	}
	for _, row := range rows {
		var want []int
		for _, text := range row[1:] {
			n, _ := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
			want = append(want, n)
		}
		client, res := signIn(cookies, "", withRoles(want[0]))
		got := []int{want[0], cookieBytes(client), setCookieBytes(res.Header)}
		client, res = signIn(stored, "", withRoles(want[0]))
		got = append(got, cookieBytes(client), setCookieBytes(res.Header))
		for i := range got {
			if off := got[i] - want[i]; off < -want[i]/20-1 || off > want[i]/20+1 {
				t.Errorf("measured %d, and the page has %d", got, want)
				break
			}
		}
	}
}
