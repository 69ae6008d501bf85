// Package mutants_test tests the tests of package telemetry.
package mutants_test

import (
	"testing"

	"github.com/synmetrix/session/tests/internal/mutate"
)

// TestFaultsAreFound plants faults in package telemetry. Its tests must find them.
func TestFaultsAreFound(t *testing.T) {
	const (
		metrics = "../../telemetry/metrics.go"
		labels  = "../../telemetry/labels.go"
		live    = "../../telemetry/live.go"
		spans   = "../../telemetry/otel.go"
		hooks   = "../../telemetry/telemetry.go"
	)
	p := mutate.Package{Dir: "..", Run: "^Test(Metrics|Labels|Results|Hooks|Register|Live|Cardinality|Spans|Meter|Names)$"}
	mutate.Run(t, p, []mutate.Mutant{
		{Name: "labels have any value", File: labels, Old: "\treturn other\n", New: "\treturn value\n"},
		{Name: "counters have no zeros", File: metrics, Old: "\t\t\tv.WithLabelValues(value)\n", New: "\t\t\t_ = value\n"},
		{Name: "the user is a label", File: metrics, Old: "m.events.WithLabelValues(known(eventNames, e.Name))", New: "m.events.WithLabelValues(known(eventNames, e.Name) + e.Session)"},
		{Name: "sign-ins do not count", File: metrics, Old: "m.signIns.WithLabelValues(\"success\").Inc()", New: "_ = e"},
		{Name: "an end by a refresh is no refresh", File: metrics, Old: "known(refreshResults, result)).Inc()", New: "known(refreshResults, result)).Add(0)"},
		{Name: "a timeout is unavailable", File: labels, Old: "\t{context.DeadlineExceeded, \"timeout\"},\n\t{auth.ErrUnavailable, \"unavailable\"},\n", New: "\t{auth.ErrUnavailable, \"unavailable\"},\n\t{context.DeadlineExceeded, \"timeout\"},\n"},
		{Name: "responses without cookies count", File: metrics, Old: "if c.CookieBytes > 0 {", New: "if c.CookieBytes >= 0 {"},
		{Name: "a store that is down counts as empty", File: live, Old: "\t\treturn 0, false\n", New: "\t\treturn 0, true\n"},
		{Name: "a shared store counts twice", File: live, Old: "s.store == c", New: "s.store == nil"},
		{Name: "each scrape calls the store", File: live, Old: "time.Since(c.at) < countEvery", New: "time.Since(c.at) < 0"},
		{Name: "hooks of the app are dropped", File: hooks, Old: "\t\t\tonCall(ctx, c)\n", New: "\t\t\t_ = onCall\n"},
		{Name: "spans do not end", File: spans, Old: "\tspan.End()\n", New: ""},
		{Name: "spans have the text of errors", File: spans, Old: "\tspan.End()\n", New: "\tspan.RecordError(c.Err)\n\tspan.End()\n"},
		{Name: "refusals are failures of spans", File: labels, Old: "\"not_found\", \"conflict\"", New: "\"conflict\""},
	})
}
