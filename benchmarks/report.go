package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// report returns the figures as Markdown.
func (r *results) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Figures\n\n`go run ./benchmarks -write` has written this file. [README.md](../README.md) explains the figures.\n\n")
	fmt.Fprintf(&b, "%s.\n\n%s.\n", machine(), strings.Join(versions(), ", "))
	for _, line := range r.skipped {
		fmt.Fprintf(&b, "\n%s.\n", line)
	}
	b.WriteString("\n## Targets\n\nOver the bare router of the same run.\n\n")
	rows := [][]string{{"what", "target", "measured", "reached"}}
	for _, t := range targets {
		rows = append(rows, t.row(r))
	}
	table(&b, rows)
	for _, section := range []struct{ title, work string }{
		{"A page for one role, session valid", page},
		{"Login", login},
		{"A page for one role, no cookie: 401", visitor},
		{"A public page that does not use the session, no cookie", public},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n", section.title)
		r.costs(&b, section.work)
	}
	r.less(&b)
	b.WriteString("\n## A real server\n\n")
	r.servers(&b)
	b.WriteString("\n## Many sessions in memory\n\n")
	r.manySessions(&b)
	return b.String()
}

// costs writes the table of a task, the cheapest contender first.
func (r *results) costs(b *strings.Builder, work string) {
	type cost struct {
		contender
		figure
	}
	var all []cost
	for _, c := range r.contenders {
		if f, ok := r.over(work, c.name); ok {
			all = append(all, cost{c, f})
		}
	}
	slices.SortStableFunc(all, func(a, b cost) int {
		return cmp.Or(-compareBool(a.bare, b.bare), cmp.Compare(a.ns, b.ns))
	})
	rows := [][]string{{"contender", "session", "µs", "allocations", "bytes allocated"}}
	for _, c := range all {
		name := c.name
		if c.ours {
			name = "**" + name + "**"
		}
		rows = append(rows, []string{name, c.session, fmt.Sprintf("%.2f", c.ns/1000), fmt.Sprintf("%.0f", max(c.allocs, 0)), fmt.Sprintf("%.0f", max(c.bytes, 0))})
	}
	table(b, rows)
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// less writes the features that the contenders lack.
func (r *results) less(b *strings.Builder) {
	b.WriteString("\n## What the others do less\n\n")
	rows := [][]string{{"contender", "does less than this library"}}
	for _, c := range r.contenders {
		if c.less != "" {
			rows = append(rows, []string{c.name, c.less})
		}
	}
	table(b, rows)
}

func (r *results) servers(b *strings.Builder) {
	fmt.Fprintf(b, "The page for one role over the loopback interface, with %d connections. Client and server share the cores.\n\n", connections)
	rows := [][]string{{"contender", "requests per second", "share of the bare router"}}
	for _, s := range r.served {
		rows = append(rows, []string{s.contender, fmt.Sprintf("%.0f", s.perSecond), fmt.Sprintf("%.2f", s.share)})
	}
	table(b, rows)
}

func (r *results) manySessions(b *strings.Builder) {
	fmt.Fprintf(b, "A request of one of %d sessions in memory takes %s over the bare router, and of one of %d sessions %s.\n"+
		"Sessions are chosen at random. Each takes %.0f B of memory, with the caches.\n"+
		"With a `Config.CacheBytes` that has room for all of them, a request takes %s, and each session %.0f B more.\n",
		r.growth.few, microseconds(r.growth.nsFew), r.growth.many, microseconds(r.growth.nsMany), r.growth.bytes,
		microseconds(r.growth.nsCached), r.growth.cacheBytes)
}

// table writes a table. The first row is the heading.
func table(b *strings.Builder, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
}
