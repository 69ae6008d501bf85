package main

import (
	"fmt"
	"strings"
	"time"
)

// target is the goal for a figure.
type target struct {
	what   string
	limits []limit
}

// limit is one bound of a target.
type limit struct {
	text  string // of the bound
	value func(*results) (measured string, ok, known bool)
	work  key // the task whose CPU profile shows where the time goes; the zero key if the bound is no time
}

// stallTarget is measured by a full run only, because the sweep begins after seconds.
const stallTarget = "longest read while 1 M sessions expire"

// The bounds are over the bare router of the same run.
var targets = []target{
	{"cookie session seen before by this process", []limit{micros(page, cookieSeen, 1.0), allocs(page, cookieSeen, 4)}},
	{"cookie session for the first time", []limit{micros(page, cookieFirst, 12), allocs(page, cookieFirst, 30)}},
	{"memory store", []limit{micros(page, inMemory, 1.0), allocs(page, inMemory, 4)}},
	{"Echo over net/http, the same request, cookie", beyondHTTP(cookieEcho, cookieSeen)},
	{"Echo over net/http, the same request, memory", beyondHTTP(memoryEcho, inMemory)},
	{"Gin over net/http, the same request, cookie", beyondHTTP(cookieGin, cookieSeen)},
	{"Gin over net/http, the same request, memory", beyondHTTP(memoryGin, inMemory)},
	{"Redis, unchanged since the last read (client cache)", []limit{micros(page, redisUnchanged, 2.0), allocs(page, redisUnchanged, 6), roundTrips(redisUnchanged, 0)}},
	{"Redis, not in the client's cache: round trips", []limit{roundTrips(redisRead, 1)}},
	{"SQLite: round trips", []limit{roundTrips(sqliteRead, 1)}},
	{"Redis, read, opened before: beyond the client's own time", []limit{beyondClient(redisRead, redisRead, 3)}},
	{"Redis, read, not opened before: beyond the client's own time", []limit{beyondClient(redisFirst, redisRead, 12)}},
	{"SQLite, read, opened before: beyond the client's own time", []limit{beyondClient(sqliteRead, sqliteRead, 3)}},
	{"SQLite, read, not opened before: beyond the client's own time", []limit{beyondClient(sqliteFirst, sqliteRead, 12)}},
	{"public page, no cookie", []limit{micros(public, cookieSeen, 0.1), allocs(public, cookieSeen, 0)}},
	{"refusal of a visitor, JSON 401", []limit{micros(visitor, cookieSeen, 1.5), allocs(visitor, cookieSeen, 8)}},
	{"RequireRole on a loaded session, 1 role", guardOnly("1")},
	{"RequireRole on a loaded session, 300 roles", guardOnly("300")},
	{"login, cookie", []limit{micros(login, cookieSeen, 16)}},
	{"login, memory", []limit{micros(login, inMemory, 5)}},
	{"Cookie field, tokens and state", []limit{{text: "≤ 1,000 B", value: func(r *results) (string, bool, bool) {
		return fmt.Sprintf("%d B", r.cookie), r.cookie <= 1000, true
	}}}},
	{"memory of a session in memstore, of 1 M", []limit{{text: "≤ 800 B", value: func(r *results) (string, bool, bool) {
		return fmt.Sprintf("%.0f B", r.growth.bytes), r.growth.bytes <= 800, true
	}}}},
	{stallTarget, []limit{{text: "≤ 1 ms", value: func(r *results) (string, bool, bool) {
		g := r.growth
		measured := fmt.Sprintf("%.2f ms (%.2f ms in an idle store meanwhile)", g.longestStall.Seconds()*1000, g.longestIdle.Seconds()*1000)
		return measured, g.longestStall <= time.Millisecond, g.longestStall > 0
	}}}},
	{"a million sessions against a thousand, random reads", []limit{{"≤ 1.5×", func(r *results) (string, bool, bool) {
		ratio := r.growth.nsMany / r.growth.nsFew
		return fmt.Sprintf("%.2f×", ratio), ratio <= 1.5, true
	}, key{ofMillion, inMemory}}}},
	{"two cores against one, cookie", []limit{twoCores(cookieSeen)}},
	{"two cores against one, memory", []limit{twoCores(inMemory)}},
	{"real server, share of the bare router's throughput, memory", []limit{share(inMemory, 0.93)}},
	{"real server, share of the bare router's throughput, cookie", []limit{share(cookieSeen, 0.72)}},
	{"p99 of the wait for another's refresh beyond the service's time, one process", []limit{waits(1, 20)}},
	{"the same, three processes with Redis", []limit{waits(3, 60)}},
	{"refused cookies of 16 KB, one cookie", []limit{micros(garbage, "one cookie", 50), kilobytes("one cookie", 32)}},
	{"refused cookies of 16 KB, chunks", []limit{micros(garbage, "chunks", 50), kilobytes("chunks", 32)}},
}

// figureOf returns the figure of a task without that of the bare router. Tasks of this
// library alone have no bare router.
func (r *results) figureOf(work, contender string) (figure, bool) {
	if work == garbage || work == role || work == read {
		f, ok := r.figures[key{work, contender}]
		return f, ok
	}
	return r.over(work, contender)
}

func micros(work, contender string, most float64) limit {
	return limit{fmt.Sprintf("≤ %g µs", most), func(r *results) (string, bool, bool) {
		f, known := r.figureOf(work, contender)
		return microseconds(f.ns), f.ns <= most*1000, known
	}, key{work, contender}}
}

// almost allows for allocations of background work.
const almost = 0.05

func allocs(work, contender string, most float64) limit {
	return limit{text: fmt.Sprintf("≤ %g allocations", most), value: func(r *results) (string, bool, bool) {
		f, known := r.figureOf(work, contender)
		return fmt.Sprintf("%.0f allocations", max(f.allocs, 0)), f.allocs <= most+almost, known
	}}
}

func kilobytes(contender string, most float64) limit {
	return limit{text: fmt.Sprintf("≤ %g KB", most), value: func(r *results) (string, bool, bool) {
		f, known := r.figureOf(garbage, contender)
		return fmt.Sprintf("%.1f KB", f.bytes/1024), f.bytes <= most*1024, known
	}}
}

// beyondHTTP bounds what an adapter costs beyond the same request under net/http.
func beyondHTTP(name, onHTTP string) []limit {
	beyond := func(r *results) (figure, bool) {
		f, known := r.over(page, name)
		g, _ := r.over(page, onHTTP)
		return f.minus(g), known
	}
	return []limit{
		{"≤ 0.2 µs", func(r *results) (string, bool, bool) {
			f, known := beyond(r)
			return microseconds(f.ns), f.ns <= 200, known
		}, key{page, name}},
		{text: "≤ 1 allocation", value: func(r *results) (string, bool, bool) {
			f, known := beyond(r)
			return fmt.Sprintf("%.0f allocations", f.allocs), f.allocs <= 1+almost, known
		}},
	}
}

// beyondClient bounds what a request costs beyond a read by the store alone.
func beyondClient(contender, reads string, most float64) limit {
	return limit{fmt.Sprintf("≤ %g µs", most), func(r *results) (string, bool, bool) {
		f, known := r.over(page, contender)
		f = f.minus(r.figures[key{read, reads}])
		return microseconds(f.ns), f.ns <= most*1000, known
	}, key{page, contender}}
}

// roundTrips bounds what a request sends to the store's server.
func roundTrips(name string, want float64) limit {
	return limit{text: fmt.Sprintf("%g round trips", want), value: func(r *results) (string, bool, bool) {
		n, known := r.trips[name]
		return fmt.Sprintf("%g", n), n == want, known
	}}
}

func guardOnly(roles string) []limit {
	return []limit{
		{"≤ 50 ns", func(r *results) (string, bool, bool) {
			ns := r.guardNs(roles)
			return fmt.Sprintf("%.0f ns", ns), ns <= 50, true
		}, key{role, roles}},
		allocs(role, roles, 0),
	}
}

// guardNs returns the time of the guard without that of the page.
func (r *results) guardNs(roles string) float64 {
	return r.figures[key{role, roles}].ns - r.figures[key{role, noGuard}].ns
}

func twoCores(name string) limit {
	return limit{"≥ 1.7×", func(r *results) (string, bool, bool) {
		return fmt.Sprintf("%.2f×", r.cores[name]), r.cores[name] >= 1.7, r.cores[name] > 0
	}, key{page, name}}
}

func share(name string, least float64) limit {
	return limit{fmt.Sprintf("≥ %g", least), func(r *results) (string, bool, bool) {
		for _, s := range r.served {
			if s.contender == name {
				return fmt.Sprintf("%.2f", s.share), s.share >= least, true
			}
		}
		return "", false, false
	}, key{onServer, name}}
}

func waits(processes int, most float64) limit {
	return limit{text: fmt.Sprintf("≤ %g ms", most), value: func(r *results) (string, bool, bool) {
		wait, known := r.crowd[processes]
		return fmt.Sprintf("%.1f ms", wait), wait <= most, known
	}}
}

func microseconds(ns float64) string { return fmt.Sprintf("%.2f µs", ns/1000) }

// row returns the cells of a target: its name, the bounds, the figures, and whether they
// are within the bounds.
func (t target) row(r *results) []string {
	var bounds, figures []string
	verdict := "yes"
	for _, l := range t.limits {
		bounds = append(bounds, l.text)
		measured, ok, known := l.value(r)
		if !known {
			measured = "not measured"
		}
		if !ok || !known {
			verdict = "**no**"
		}
		figures = append(figures, measured)
	}
	return []string{t.what, strings.Join(bounds, ", "), strings.Join(figures, ", "), verdict}
}
