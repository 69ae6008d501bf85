package middleware

import "strings"

// maxUserAgent bounds the User-Agent fields that are searched, in bytes. Most
// browsers send less than 300.
const maxUserAgent = 512

// browsers and systems map words of the User-Agent field to names that users know. The
// order matters, because most browsers also send the names of older ones: Edge sends Chrome
// and Safari, Android sends Linux, and an iPad sends Mac OS X.
var (
	browsers = [][2]string{
		{"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"Vivaldi/", "Vivaldi"},
		{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"},
	}
	systems = [][2]string{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"CrOS", "ChromeOS"},
		{"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"},
	}
)

// device describes a browser by its User-Agent field, such as "Firefox on Windows". It
// has no version, because users compare the text with the devices that they know.
// Clients can send any text, so device returns known names or a short text in ASCII.
func (p Page) device(userAgent string) string {
	userAgent = userAgent[:min(len(userAgent), maxUserAgent)]
	find := func(names [][2]string) string {
		for _, name := range names {
			if strings.Contains(userAgent, name[0]) {
				return name[1]
			}
		}
		return ""
	}
	switch browser, system := find(browsers), find(systems); {
	case browser != "" && system != "":
		return p.Text("sessions.browser", "browser", browser, "system", system)
	case browser+system != "":
		return browser + system
	}
	// A program: its name without the version, such as "curl".
	name, _, _ := strings.Cut(strings.TrimSpace(userAgent), "/")
	if name == "" || len(name) > 32 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return p.Text("sessions.unknown")
	}
	return name
}
