package main

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"
)

// colors are the colors of a chart.
type colors struct{ text, faint, ours, others string }

var (
	light = colors{text: "#1f2328", faint: "#59636e", ours: "#0969da", others: "#afb8c1"}
	dark  = colors{text: "#f0f6fc", faint: "#9198a1", ours: "#4493f8", others: "#656c76"}
)

// Sizes in the chart, in pixels.
const (
	chartWidth = 860
	labelWidth = 300
	barSpace   = 440 // of the longest bar
	lineHeight = 26
	barHeight  = 16
	headHeight = 62
)

// bar is a contender in the chart.
type bar struct {
	contender
	ns float64
}

// bars returns the contenders of the chart, the fastest first. Those that wait for a server
// are in the tables only: their bars would be so long that the others could not be compared.
func (r *results) bars() []bar {
	var all []bar
	for _, c := range r.contenders {
		if f, ok := r.over(page, c.name); ok && !c.bare && !c.waits {
			all = append(all, bar{c, max(f.ns, 0)})
		}
	}
	slices.SortStableFunc(all, func(a, b bar) int { return cmp.Compare(a.ns, b.ns) })
	return all
}

// chart draws what a page for one role costs with each contender, as SVG.
func (r *results) chart(c colors) string {
	all := r.bars()
	longest := 1.0
	for _, x := range all {
		longest = max(longest, x.ns)
	}
	var b strings.Builder
	height := headHeight + len(all)*lineHeight + 30
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-labelledby="title" `+
		`font-family="-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="13">`+"\n", chartWidth, height, chartWidth, height)
	fmt.Fprintf(&b, `<title id="title">%s</title>`+"\n", "What a session check costs: microseconds for each request, beyond the router")
	text := func(x, y int, color, attributes, s string) {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s"%s>%s</text>`+"\n", x, y, color, attributes, html.EscapeString(s))
	}
	text(8, 22, c.text, ` font-size="16" font-weight="600"`, "What a session check costs")
	text(8, 44, c.faint, "", "Microseconds for each request to a page for one role, beyond the router. Sessions in cookies and memory. Shorter is better.")
	for i, x := range all {
		y := headHeight + i*lineHeight
		color, weight := c.others, ""
		if x.ours {
			color, weight = c.ours, ` font-weight="600"`
		}
		text(labelWidth-8, y+13, c.text, ` text-anchor="end"`+weight, x.name)
		width := max(2, x.ns/longest*barSpace)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="%s"/>`+"\n", labelWidth, y, width, barHeight, color)
		text(labelWidth+int(width)+8, y+13, c.text, weight, fmt.Sprintf("%.1f", x.ns/1000))
	}
	text(8, height-12, c.faint, ` font-size="11"`, machine()+". The others do less: see benchmarks/README.md.")
	b.WriteString("</svg>\n")
	return b.String()
}
