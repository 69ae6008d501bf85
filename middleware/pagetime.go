package middleware

import (
	"strconv"
	"time"
)

// PageTime is a time in the language of a page.
type PageTime struct {
	// Machine is the time for the attribute datetime.
	Machine string

	// Absolute is the time in words, in UTC, such as "28 Nov 2026, 21:20 UTC".
	Absolute string

	// Relative is the distance from now in words, such as "5 minutes ago".
	Relative string
}

// Time returns a time for the template "time". A server does not know the reader's
// time zone, so the distance from now comes first.
func (p Page) Time(t time.Time) PageTime {
	t = t.UTC()
	now := p.now
	if now.IsZero() { // the app created the page without NewPage
		now = time.Now()
	}
	return PageTime{
		Machine: t.Format(time.RFC3339),
		Absolute: p.Text("time.absolute", "day", strconv.Itoa(t.Day()), "month", p.Text("month."+strconv.Itoa(int(t.Month()))),
			"year", strconv.Itoa(t.Year()), "time", t.Format("15:04")),
		Relative: p.relative(t.Sub(now)),
	}
}

// units are the units of a distance in time, the largest first. Months and years are
// approximate; Absolute is exact.
var units = []struct {
	one, many string
	length    time.Duration
}{
	{"time.year", "time.years", 365 * 24 * time.Hour},
	{"time.month", "time.months", 30 * 24 * time.Hour},
	{"time.day", "time.days", 24 * time.Hour},
	{"time.hour", "time.hours", time.Hour},
	{"time.minute", "time.minutes", time.Minute},
}

// relative returns a distance from now in words, in the largest unit that is not longer
// than the distance. The distance is rounded to minutes first, so that almost 24 hours are
// one day.
func (p Page) relative(distance time.Duration) string {
	frame, length := "time.in", distance
	if distance < 0 {
		frame, length = "time.ago", -distance
	}
	if length >= time.Minute {
		length = length.Round(time.Minute)
	}
	for _, u := range units {
		switch n := length / u.length; {
		case n == 1:
			return p.Text(frame, "time", p.Text(u.one))
		case n > 1:
			return p.Text(frame, "time", p.Text(u.many, "n", strconv.FormatInt(int64(n), 10)))
		}
	}
	if distance > 0 {
		return p.Text("time.soon")
	}
	return p.Text("time.now")
}
