package main

import (
	"strconv"
	"strings"
)

// orders are the figures of the chart, from Monday to Sunday.
var orders = []int{120, 150, 90, 180, 210, 60, 45}

// The chart has the width of the page. Its texts keep their size, because only the
// horizontal positions are relative.
const (
	chartTop    = 28  // pixels above the highest bar, for its label
	chartHeight = 190 // of the highest bar, in pixels
)

// bar is a bar of the chart. Left, Middle and Width are in percent, and the rest in
// pixels.
type bar struct {
	Day                 string
	Value               int
	Left, Middle, Width int
	Top, Height         int
	Label               int // the position of the value's label
}

// chart returns the bars. days are the names of the days, separated by spaces.
func chart(days string) []bar {
	names := strings.Fields(days)
	highest := 0
	for _, n := range orders {
		highest = max(highest, n)
	}
	step := 100 / len(orders)
	var bars []bar
	for i, n := range orders {
		height := n * chartHeight / highest
		top := chartTop + chartHeight - height
		bars = append(bars, bar{
			Day: names[i], Value: n,
			Left: step*i + step/4, Middle: step*i + step/2 + 1, Width: step/2 + 2,
			Top: top, Height: height, Label: top - 8,
		})
	}
	return bars
}

// figures returns the orders as a text.
func figures() string {
	var all []string
	for _, n := range orders {
		all = append(all, strconv.Itoa(n))
	}
	return strings.Join(all, ", ")
}
