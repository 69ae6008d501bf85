// Package simulation_test proves the simulation of the refresh protocol.
package simulation_test

import (
	"testing"

	"github.com/synmetrix/session/tests/internal/mutate"
)

// TestSimulationFindsBrokenRules breaks, one after the other, each rule of the
// refresh (see refresh.go), and makes sure that the simulation notices.
func TestSimulationFindsBrokenRules(t *testing.T) {
	p := mutate.Package{Dir: "../..", Run: "^(TestSimulation|TestNoLateWriteRevives|TestLeaseIsKeptByOtherWrites)$", Env: []string{"SIM_SEEDS=80", "LONG="}}
	mutate.Run(t, p, []mutate.Mutant{
		// When a token is due.
		{
			Name: "a token's life is counted by the service's clock",
			File: "manager.go",
			Old:  "expires: now.Add(life), life: life,",
			New:  "expires: claims.ExpiresAt, life: life,",
		},
		{
			Name: "an expired token is served",
			File: "refresh.go",
			Old:  "return left <= min(before, r.pair.life/2), left > 0",
			New:  "return left <= min(before, r.pair.life/2), true",
		},
		// 1. One flight, that belongs to no request.
		{
			Name: "a client that hangs up ends the refresh",
			File: "refresh.go",
			Old:  "func (m *Manager) board(r *record, refused uint64) (f *flight, began bool) {",
			New:  "func (m *Manager) board(ctx context.Context, r *record, refused uint64) (f *flight, began bool) {",
			And: []mutate.Edit{
				{File: "refresh.go", Old: "m.board(r, refused)", New: "m.board(ctx, r, refused)"},
				{File: "refresh.go", Old: "m.fly(m.ctx, f,", New: "m.fly(ctx, f,"},
			},
		},
		// 2. The lease.
		{
			Name: "another's lease is not waited for",
			File: "refresh.go",
			Old:  "if time.Since(othersAt) < leaseTime {",
			New:  "if time.Since(othersAt) < 0 {",
		},
		{
			Name: "the lease is not renewed",
			File: "refresh.go",
			Old:  "r.lease.beat++\n",
			New:  "",
		},
		{
			Name: "the lease is renewed by nothing but its own writes",
			File: "refresh.go",
			Old:  "if f := m.flights[r.key]; f != nil && r.lease.nonce == f.nonce {\n\t\tr.lease.beat++\n\t}",
			New:  "",
			And: []mutate.Edit{
				{File: "refresh.go", Old: "return nil // to be written is enough", New: "q.lease.beat++\n\t\t\t\treturn nil"},
			},
		},
		{
			Name: "a lease is watched without a heart-beat in it",
			File: "refresh.go",
			Old:  "if r.lease != others {",
			New:  "if r.lease.nonce != others.nonce {",
		},
		{
			Name: "the lease is not checked when it is taken",
			File: "refresh.go",
			Old:  "if q.pair.gen != r.pair.gen || q.lease != r.lease {\n\t\t\t\t\treturn errChanged\n\t\t\t\t}\n\t\t\t\tq.lease = lease{nonce: mine}",
			New:  "q.lease = lease{nonce: mine}",
		},
		{
			Name: "the lease is not read back",
			File: "refresh.go",
			Old:  "continue // the lease counts once it has been read",
			New:  "r = r.clone(); r.lease.nonce = mine",
		},
		{
			Name: "the watch goes on over a store error",
			File: "refresh.go",
			Old:  "others = lease{} // whoever held it may have renewed it unseen",
			New:  "",
		},
		// 3. Writes.
		{
			Name: "new tokens are fenced by the lease",
			File: "refresh.go",
			Old:  "if q.pair.gen != r.pair.gen {\n\t\t\treturn errChanged\n\t\t}\n\t\tp.gen = q.pair.gen",
			New:  "if q.pair.gen != r.pair.gen || q.lease.nonce != r.lease.nonce {\n\t\t\treturn errChanged\n\t\t}\n\t\tp.gen = q.pair.gen",
		},
		{
			Name: "new tokens are fenced by the record's version",
			File: "refresh.go",
			Old:  "if q.pair.gen != r.pair.gen {\n\t\t\treturn errChanged\n\t\t}\n\t\tp.gen = q.pair.gen",
			New:  "if q.version != r.version {\n\t\t\treturn errChanged\n\t\t}\n\t\tp.gen = q.pair.gen",
		},
		{
			Name: "new tokens are not fenced by the generation",
			File: "refresh.go",
			Old:  "if q.pair.gen != r.pair.gen {\n\t\t\treturn errChanged\n\t\t}\n\t\tp.gen = q.pair.gen",
			New:  "p.gen = q.pair.gen",
		},
		{
			Name: "a conflict is taken for a success",
			File: "ledger.go",
			Old:  "if conflicts++; conflicts > maxConflicts || ctx.Err() != nil {\n\t\t\t\treturn nil, err\n\t\t\t}",
			New:  "return next, nil",
		},
		{
			Name: "a put whose answer was lost is a failure",
			File: "ledger.go",
			Old:  "if got.version == next.version {\n\t\t\t\treturn next, nil\n\t\t\t}",
			New:  "if got.version == next.version {\n\t\t\t\treturn nil, err\n\t\t\t}",
		},
		{
			Name: "values are not merged",
			File: "session.go",
			Old:  "r.values = merge(r.values, s.changes)",
			New:  "r.values = merge(s.rec.values, s.changes)",
		},
		// 4. Late-comers.
		{
			Name: "new tokens are kept for a time, shown or not",
			File: "ledger.go",
			Old:  "case r.shown:",
			New:  "default:",
			And:  []mutate.Edit{{File: "ledger.go", Old: "\tdefault:\n\t\treturn earlier(end, now.Add(l.m.cfg.IdleTimeout))\n", New: ""}},
		},
		{
			Name: "the old generation counts as shown",
			File: "exchange.go",
			Old:  "now.version != 0 && now.pair.gen == r.pair.gen && !now.shown",
			New:  "now.version != 0 && !now.shown",
		},
		{
			Name: "a late-comer does not get the newest cookie",
			File: "exchange.go",
			Old:  "tokens := x.began || x.reseal || s.rec.pair.gen > x.gen",
			New:  "tokens := x.began || x.reseal || s.rec.version == 1",
		},
		// 5. What an answer means.
		{
			Name: "every error of the service ends the session",
			File: "refresh.go",
			Old:  "case !errors.Is(err, ErrRefused):",
			New:  "case false:",
		},
		{
			Name: "the new refresh token of a half answer is thrown away",
			File: "refresh.go",
			Old:  "case tokens.RefreshToken != \"\":",
			New:  "case false:",
		},
		{
			Name: "a refusal after a take-over counts at once",
			File: "refresh.go",
			Old:  "if !r.unknown {",
			New:  "if true {",
		},
		{
			Name: "a take-over is not marked",
			File: "refresh.go",
			Old:  "q.unknown = q.unknown || takeOver",
			New:  "",
		},
		// 6. The end.
		{
			Name: "an ended session is read as one that lives",
			File: "ledger.go",
			Old:  "if r.ended != \"\" {\n\t\treturn nil,",
			New:  "if false {\n\t\treturn nil,",
		},
		{
			Name: "an update makes a record that is gone",
			File: "ledger.go",
			Old:  "if l.base == nil {\n\t\t\treturn nil, &endedError{why: endedByStore}\n\t\t}\n\t\treturn l.base, nil",
			New:  "if l.base == nil {\n\t\t\tif l.last.userID == \"\" {\n\t\t\t\treturn nil, &endedError{why: endedByStore}\n\t\t\t}\n\t\t\tagain := l.last.clone()\n\t\t\tagain.version = 0\n\t\t\treturn again, nil\n\t\t}\n\t\treturn l.base, nil",
			And: []mutate.Edit{
				{File: "ledger.go", Old: "\tbase *record // nil for a stored session\n", New: "\tbase *record // nil for a stored session\n\tlast *record\n"},
				{File: "ledger.go", Old: "l := &ledger{m: m, id: base.id, key: base.key}", New: "l := &ledger{m: m, id: base.id, key: base.key, last: base}"},
			},
		},
		{
			Name: "tokens that come after the end are not given back",
			File: "refresh.go",
			Old:  "case errors.Is(err, ErrEnded):\n\t\treturn nil, p.tokens, err\n\t}\n\tnext := r.clone()",
			New:  "case errors.Is(err, ErrEnded):\n\t\treturn nil, Tokens{}, err\n\t}\n\tnext := r.clone()",
		},
		{
			Name: "the mark of the end is forgotten at once",
			File: "ledger.go",
			Old:  "return later(end, now.Add(l.m.cfg.Grace))",
			New:  "return now.Add(time.Millisecond)",
		},
		{
			Name: "tokens are wiped from the mark before they are given back",
			File: "ledger.go",
			Old:  "r.lease, r.values = lease{}, nil\n",
			New:  "r.lease, r.values = lease{}, nil\n\t\tif l.base != nil {\n\t\t\tdefer func() { r.pair.tokens = Tokens{} }()\n\t\t}\n",
		},
		// 7. Pauses.
		{
			Name: "a failure is not paused after",
			File: "refresh.go",
			Old:  "wait := min(r.retryAt.Sub(now), retryAfterMax)",
			New:  "wait := time.Duration(0)",
		},
		{
			Name: "a Retry-After is not obeyed",
			File: "refresh.go",
			Old:  "wait = max(wait, min(ae.RetryAfter, retryAfterMax))",
			New:  "_ = ae",
		},
		{
			Name: "a rate limit holds back nobody",
			File: "gate.go",
			Old:  "g.limited, g.until = true, now.Add(wait)",
			New:  "_ = wait",
			And: []mutate.Edit{
				{File: "refresh.go", Old: "wait = max(wait, min(ae.RetryAfter, retryAfterMax))", New: "_ = ae"},
			},
		},
		{
			Name: "new tokens that cannot be written are dropped",
			File: "refresh.go",
			Old:  "m.writeLater(ctx, f, l, unwritten)",
			New:  "_ = m.writeLater",
		},
	})
}
