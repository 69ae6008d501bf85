package main

import (
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
)

// write writes the tables and the charts to benchmarks/results, and the figures in pages
// of the repository at root.
func (r *results) write(root string) error {
	dir := filepath.Join(root, "benchmarks", "results")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"README.md": r.report(), "page-light.svg": r.chart(light), "page-dark.svg": r.chart(dark),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, page := range pagesWithFigures {
		if err := rewrite(filepath.Join(root, page), r.blocks()); err != nil {
			return err
		}
	}
	return nil
}

// pagesWithFigures are the pages with blocks.
var pagesWithFigures = []string{"README.md", "docs/performance.md"}

// blocks returns the parts of pages that a run writes, by name. In a page, a block is
// between two comments: <!-- figures: name --> and <!-- end of figures -->.
func (r *results) blocks() map[string]string {
	return map[string]string{
		"comparison": r.comparison(),
		"costs":      r.ownCosts(),
		"load":       r.ownLoad(),
		"run":        "Measured by `go run ./benchmarks -write`: " + machine() + ".\n",
	}
}

const (
	blockBegin = "<!-- figures: "
	blockEnd   = "<!-- end of figures -->"
)

// rewrite replaces the blocks of a page.
func rewrite(path string, blocks map[string]string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page, err := replaceBlocks(string(text), blocks)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(page), 0o644)
}

func replaceBlocks(page string, blocks map[string]string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(page, blockBegin)
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, ok := strings.Cut(rest, " -->\n")
		_, after, ended := strings.Cut(rest, blockEnd)
		content, known := blocks[name]
		if !ok || !ended || !known {
			return "", fmt.Errorf("the block %.20q is unknown or has no end", name)
		}
		fmt.Fprintf(&b, "%s%s -->\n\n%s\n%s", blockBegin, name, content, blockEnd)
		page = after
	}
}

// repository returns the root of the repository: the working directory or the next one
// above it with a file go.work.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this command in the repository")
		}
		dir = parent
	}
}

// comparison is the chart, with its figures in the alternative text.
func (r *results) comparison() string {
	var figures []string
	for _, x := range r.bars() {
		figures = append(figures, fmt.Sprintf("%s %.1f", html.EscapeString(x.name), x.ns/1000))
	}
	return fmt.Sprintf(`<picture>
<source media="(prefers-color-scheme: dark)" srcset="benchmarks/results/page-dark.svg">
<img alt="Bar chart of the microseconds that a session check adds to a request. %s." src="benchmarks/results/page-light.svg">
</picture>

%s.
`, strings.Join(figures, "; "), machine())
}

// cell returns the time and the allocations of a task.
func (r *results) cell(work, name string) string {
	f, ok := r.over(work, name)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%.2f (%.0f)", max(f.ns, 0)/1000, max(f.allocs, 0))
}

// ownCosts has the costs of requests with this library.
func (r *results) ownCosts() string {
	var b strings.Builder
	rows := [][]string{{"microseconds (allocations)", "page for one role", "login", "visitor, 401 as JSON", "public page"}}
	for _, c := range r.contenders {
		if c.ours {
			rows = append(rows, []string{c.name, r.cell(page, c.name), r.cell(login, c.name), r.cell(visitor, c.name), r.cell(public, c.name)})
		}
	}
	table(&b, rows)
	return b.String()
}

// ownLoad has the throughput of a server and the costs of many sessions.
func (r *results) ownLoad() string {
	var b strings.Builder
	r.servers(&b)
	b.WriteString("\n")
	r.manySessions(&b)
	return b.String()
}
