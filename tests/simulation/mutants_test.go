// Package simulation_test tests the simulation of the refresh protocol.
package simulation_test

import (
	"testing"

	"github.com/synmetrix/session/tests/internal/mutate"
)

// TestSimulationFindsBrokenRules breaks each rule of docs/protocol.md, one at a time,
// and checks that a test fails.
func TestSimulationFindsBrokenRules(t *testing.T) {
	p := mutate.Package{Dir: "../../internal/keeper", Env: []string{"SIM_SEEDS=80", "LONG="}}
	mutate.Run(t, p, []mutate.Mutant{
		// When a token is due.
		{
			Name: "a token's life is counted by the service's clock",
			File: "tokens.go",
			Old:  "Expires: now.Add(life), Life: life}",
			New:  "Expires: claims.ExpiresAt, Life: life}",
		},
		{
			Name: "an expired token is served",
			File: "backoff.go",
			Old:  "valid = left > 0",
			New:  "valid = true",
		},
		// One flight, which belongs to no request.
		{
			Name: "a client that disconnects ends the refresh",
			File: "refresh.go",
			Old:  "func (k *Keeper) board(r *Record, rejected uint64) (f *flight, started bool) {",
			New:  "func (k *Keeper) board(ctx context.Context, r *Record, rejected uint64) (f *flight, started bool) {",
			And: []mutate.Edit{
				{File: "refresh.go", Old: "k.board(r, rejected)", New: "k.board(ctx, r, rejected)"},
				{File: "refresh.go", Old: "k.fly(k.ctx, f,", New: "k.fly(ctx, f,"},
			},
		},
		// The lease.
		{
			Name: "the lease of another process is not waited for",
			File: "lease.go",
			Old:  "return w.reads >= minReads && time.Since(w.quick) >= leaseTime",
			New:  "return true",
			And: []mutate.Edit{
				{File: "lease.go", Old: "quick < claimWrites;", New: "quick < 1;"},
			},
		},
		{
			Name: "a lease is taken over without a claim",
			File: "lease.go",
			Old:  "quick < claimWrites;",
			New:  "quick < 1;",
		},
		{
			Name: "slow writes count for a claim",
			File: "lease.go",
			Old:  "if quick == 0 || time.Since(wroteAt) <= slowCall {",
			New:  "if quick == 0 || time.Since(wroteAt) >= 0 {",
		},
		{
			Name: "a holder does not take its lease back from a claim",
			File: "lease.go",
			Old:  "case q.lease.claim:",
			New:  "case false:",
		},
		{
			Name: "the lease is not renewed",
			File: "lease.go",
			Old:  "\t\tr.lease.beat++\n",
			New:  "",
		},
		{
			Name: "other writes do not renew the lease",
			File: "lease.go",
			Old:  "if f := k.flights[r.Key]; f != nil && r.lease.nonce == f.nonce {\n\t\tr.lease.beat++\n\t}",
			New:  "",
			And: []mutate.Edit{
				{File: "lease.go", Old: "\t\t\t// update changes the beat\n", New: "\t\t\tq.lease.beat++\n"},
			},
		},
		{
			Name: "a renewal does not restart the watch of a lease",
			File: "lease.go",
			Old:  "case l != w.lease || w.since.IsZero():",
			New:  "case l.nonce != w.lease.nonce || w.since.IsZero():",
		},
		{
			Name: "the lease is not checked when it is taken",
			File: "lease.go",
			Old:  "if q.Pair.Gen != r.Pair.Gen || q.lease != r.lease {\n\t\t\t\treturn errChanged\n\t\t\t}\n\t\t\tq.lease, q.shown",
			New:  "q.lease, q.shown",
		},
		{
			Name: "the lease is not read back",
			File: "lease.go",
			Old:  "if err == nil && (got.lease.nonce != f.nonce || got.Pair.Gen != r.Pair.Gen) {",
			New:  "if err == nil && got.Pair.Gen != r.Pair.Gen {",
		},
		// Writes.
		{
			Name: "new tokens are not written if the lease was taken",
			File: "response.go",
			Old:  "if q.Pair.Gen != s.from.Pair.Gen {",
			New:  "if q.Pair.Gen != s.from.Pair.Gen || q.lease.nonce != s.from.lease.nonce {",
		},
		{
			Name: "new tokens are not written if the record has changed",
			File: "response.go",
			Old:  "if q.Pair.Gen != s.from.Pair.Gen {",
			New:  "if q.version != s.from.version {",
		},
		{
			Name: "new tokens are written over a newer generation",
			File: "response.go",
			Old:  "if q.Pair.Gen != s.from.Pair.Gen {",
			New:  "if false {",
		},
		{
			Name: "a conflict counts as a success",
			File: "ledger.go",
			Old:  "if conflicts++; conflicts > maxConflicts || ctx.Err() != nil {\n\t\t\t\treturn nil, err\n\t\t\t}",
			New:  "return next, nil",
		},
		{
			Name: "a put whose response was lost is a failure",
			File: "ledger.go",
			Old:  "case got.version == next.version:\n\t\t\t\treturn next, nil",
			New:  "case got.version == next.version:\n\t\t\t\treturn nil, err",
		},
		{
			Name: "values are not merged",
			File: "../../values.go",
			Old:  "merged := merge(r.Values, changes)",
			New:  "merged := merge(s.rec.Values, changes)",
		},
		// Late requests.
		{
			Name: "new tokens are removed before a browser has sent them",
			File: "lifetime.go",
			Old:  "case r.shown:",
			New:  "default:",
			And:  []mutate.Edit{{File: "lifetime.go", Old: "\tdefault:\n\t\tend = earlier(end, now.Add(cfg.IdleTimeout))\n", New: ""}},
		},
		{
			Name: "a cookie of the old generation counts as the newest",
			File: "load.go",
			Old:  "r.version != 0 && r.Pair.Gen == cookies.Pair.Gen && !r.shown",
			New:  "r.version != 0 && !r.shown",
		},
		{
			Name: "a late request does not get the newest cookie",
			File: "../../plan.go",
			Old:  "p.tokens = isNew || x.reseal || c.rec.Pair.Gen > x.gen",
			New:  "p.tokens = isNew || x.reseal",
		},
		// What a response means.
		{
			Name: "every error of the service ends the session",
			File: "response.go",
			Old:  "case !errors.Is(err, auth.ErrRefused):",
			New:  "case false:",
		},
		{
			Name: "a new refresh token without a usable access token is lost",
			File: "response.go",
			Old:  "case tokens.RefreshToken != \"\":",
			New:  "case false:",
		},
		{
			Name: "a refusal after a take-over takes effect at once",
			File: "response.go",
			Old:  "case r.unknown == 0:",
			New:  "case true:",
		},
		{
			Name: "a take-over is not noted",
			File: "lease.go",
			Old:  "q.unknown, q.shown = r.unknown.and(someSender), false",
			New:  "q.shown = false",
		},
		// The end.
		{
			Name: "a session with a mark is accepted",
			File: "ledger.go",
			Old:  "if err == nil && r.ended != \"\" {",
			New:  "if false {",
		},
		{
			Name: "an update creates a deleted record",
			File: "ledger.go",
			Old:  "if l.base == nil {\n\t\t\treturn nil, &Error{Ended: endedByStore}\n\t\t}\n\t\treturn l.base, nil",
			New:  "if l.base == nil {\n\t\t\tif l.last.UserID == \"\" {\n\t\t\t\treturn nil, &Error{Ended: endedByStore}\n\t\t\t}\n\t\t\tagain := l.last.Clone()\n\t\t\tagain.version = 0\n\t\t\treturn again, nil\n\t\t}\n\t\treturn l.base, nil",
			And: []mutate.Edit{
				{File: "ledger.go", Old: "\tbase *Record // nil for a stored session\n", New: "\tbase *Record // nil for a stored session\n\tlast *Record\n"},
				{File: "ledger.go", Old: "origin: r}", New: "origin: r, last: r}"},
			},
		},
		{
			Name: "tokens that come after the end are not revoked",
			File: "response.go",
			Old:  "\t\tl.addToMark(ctx, s.p)\n",
			New:  "",
		},
		{
			Name: "the mark is removed at once",
			File: "lifetime.go",
			Old:  "\t\tend = later(end, now.Add(cfg.Grace))\n",
			New:  "\t\treturn now.Add(time.Millisecond)\n",
		},
		{
			Name: "the mark is removed with the known access token",
			File: "lifetime.go",
			Old:  "\t\tend = later(end, now.Add(cfg.Grace))\n",
			New:  "\t\tend = later(earlier(end, r.Pair.Expires), now.Add(cfg.Grace))\n",
		},
		{
			Name: "a store keeps no record longer than needed",
			File: "lifetime.go",
			Old:  "const clockSlack = 5 * time.Minute",
			New:  "const clockSlack = 0 * time.Minute",
		},
		{
			Name: "a full coordinator stores no mark",
			File: "end.go",
			Old:  "if errors.Is(err, store.ErrFull) {",
			New:  "if errors.Is(err, store.ErrFull) && full {",
		},
		{
			Name: "a failed revocation is not retried",
			File: "revoke.go",
			Old:  "\t\tif !k.pauseRevocation(wait) {\n\t\t\treturn\n\t\t}\n\t}\n}\n\n// pauseRevocation waits",
			New:  "\t\treturn\n\t}\n}\n\n// pauseRevocation waits",
		},
		{
			Name: "every late request revokes the tokens",
			File: "revoke.go",
			Old:  "if running := k.revocations[l.key]; running != nil && (running.all || !rev.all) {\n\t\treturn running\n\t}",
			New:  "",
			And: []mutate.Edit{
				{File: "end.go", Old: " && k.attemptPause(err.mark, k.now()) == 0", New: ""},
				{File: "attempt.go", Old: "case q.version != a.mark.version && l.k.attemptPause(q, now) > 0:", New: "case false:"},
			},
		},
		{
			Name: "a flight waits no longer than its requests",
			File: "refresh.go",
			Old:  "refreshPatience = 3",
			New:  "refreshPatience = 1",
		},
		{
			Name: "a flight takes the lease before it has a slot",
			File: "refresh.go",
			Old:  "\tleased, readAt, err := k.takeLease(ctx, l, f, r, watch)\n",
			New:  "\tleased, readAt, err := taken, at, takeErr\n",
			And: []mutate.Edit{
				{File: "refresh.go", Old: "\tleave, err := k.gate.enter(ctx, \"refresh\", k.cfg.AuthTimeout, k.now)\n\tif err != nil {\n\t\treturn nil, unavailableAuth(err)", New: "\ttaken, at, takeErr := k.takeLease(ctx, l, f, r, watch)\n\tif takeErr == nil {\n\t\t_, stop := k.keepLease(ctx, l, taken, at)\n\t\tdefer stop()\n\t}\n\tleave, err := k.gate.enter(ctx, \"refresh\", k.cfg.AuthTimeout, k.now)\n\tif err != nil {\n\t\treturn nil, unavailableAuth(err)"},
			},
		},
		{
			Name: "an outage of the store counts as idle time",
			File: "outage.go",
			Old:  "\treturn sum\n",
			New:  "\treturn 0 * sum\n",
		},
		{
			Name: "a panic of the app is not recovered",
			File: "../guard/guard.go",
			Old:  "\t\tif v := recover(); v != nil {\n\t\t\t_ = panicked(log, v, where)\n\t\t}\n",
			New:  "",
		},
		{
			Name: "a logout of all sends a token that a refresh has sent",
			File: "revoke.go",
			Old:  "\t\t\t<-f.done\n",
			New:  "\t\t\twaitFor(f.done, logoutPatience)\n",
		},
		{
			Name: "tokens that were refreshed for a logout are not written",
			File: "attempt.go",
			Old:  "\t\tif q.Pair.Tokens() == a.stored {\n\t\t\tq.Pair = a.mark.Pair\n\t\t}\n",
			New:  "",
		},
		{
			Name: "a logout of all reports success although the others have not ended",
			File: "end.go",
			Old:  "err = errors.Join(ErrIncomplete, others, err)",
			New:  "_ = others",
		},
		{
			Name: "the end of all sessions is not checked",
			File: "users.go",
			Old:  "case r.Ends != unknownEnds || !r.Created.After(m.endedAt.Add(clockSlack)):",
			New:  "case false:",
		},
		{
			Name: "the mark of a user is read once",
			File: "users.go",
			Old:  "if ok && time.Since(known.at) < userMarkAge {",
			New:  "if ok {",
		},
		{
			Name: "a sign-in during an outage is over by an older mark",
			File: "members.go",
			Old:  "r.Ends = unknownEnds // a sign-in does not need the coordinator",
			New:  "// a sign-in does not need the coordinator",
		},
		{
			Name: "a session that was not read counts as ended, and so ends acting",
			File: "../../acting.go",
			Old:  "	return s.unread != nil\n",
			New:  "	return s.unread != nil && false\n",
		},
		{
			Name: "values of other requests are lost at a new sign-in",
			File: "../../start.go",
			Old:  "	if len(late) == 0 {",
			New:  "	if len(late) >= 0 {",
		},
		{
			Name: "a sign-in ends the session before only if the store responds",
			File: "end.go",
			Old:  "	if err == nil || isEnded(err) {\n		return\n	}\n	// The browser",
			New:  "	if true || err == nil {\n		return\n	}\n	// The browser",
		},
		{
			Name: "a visitor's values are lost at the sign-in",
			File: "../../start.go",
			Old:  "		rec.Values = m.keptValues(",
			New:  "		rec.Values = nil; _ = m.keptValues(",
		},
		{
			Name: "a session that is over may end the others and go on",
			File: "endall.go",
			Old:  "if kept != nil {\n\t\t\tif why",
			New:  "if kept != nil && false {\n\t\t\tif why",
		},
		{
			Name: "the mark under the newest key counts, and not the last one",
			File: "users.go",
			Old:  "if i == 0 || m.seq > newest.seq || newest.version == 0 {",
			New:  "if i == 0 || newest.version == 0 {",
		},
		{
			Name: "the removal of ended sessions is not retried",
			File: "endall.go",
			Old:  "if err == nil || !k.pauseRevocation(k.backoff(failures, err)) {",
			New:  "if err == nil || true {",
		},
		{
			Name: "a session stays in the list after its lifetime",
			File: "members.go",
			Old:  " || !k.now().Before(o.end)\n",
			New:  "\n",
		},
		{
			Name: "changed roles do not make tokens due",
			File: "backoff.go",
			Old:  "|| k.rolesChanged(r), valid",
			New:  ", valid",
		},
		{
			Name: "the idle timeout is not checked again",
			File: "end.go",
			Old:  "if k.cfg.Stored && k.expired(q, k.now()) == \"\" {",
			New:  "if false {",
		},
		{
			Name: "a cookie session is served although its record does not open",
			File: "load.go",
			Old:  "return !k.cfg.Stored && !errors.Is(err, ErrCorrupt) && ctx.Err() == nil",
			New:  "return !k.cfg.Stored && ctx.Err() == nil",
		},
		{
			Name: "tokens that are written late count as another process's",
			File: "response.go",
			Old:  "case err == nil, errors.Is(err, errChanged) && q.Pair.Tokens() == s.p.Tokens():",
			New:  "case err == nil:",
			And: []mutate.Edit{
				{File: "response.go", Old: "case errors.Is(err, errChanged) && q.Pair.Tokens().RefreshToken == s.p.Tokens().RefreshToken:", New: "case false:"},
			},
		},
		{
			Name: "calls that fail together stop all calls of the store",
			File: "breaker.go",
			Old:  "return b.failures >= breakAfter && b.repeated",
			New:  "return b.failures >= breakAfter",
		},
		{
			Name: "a mark has no tokens",
			File: "end.go",
			Old:  "if tokens = r.Pair.Tokens(); full {",
			New:  "if full = true; full {",
		},
		// Pauses.
		{
			Name: "a failed refresh is retried without a pause",
			File: "backoff.go",
			Old:  "return max(pauseLeft(r.retryAt, now, pacing.MaxRetryAfter), k.gate.closedFor(now))",
			New:  "return k.gate.closedFor(now)",
		},
		{
			Name: "a Retry-After is not obeyed",
			File: "backoff.go",
			Old:  "return max(wait, retryAfter(cause, pacing.MaxRetryAfter))",
			New:  "return wait",
		},
		{
			Name: "a rate limit does not stop other sessions",
			File: "gate.go",
			Old:  "g.limited, g.until = true, now.Add(",
			New:  "_ = now.Add(",
		},
		{
			Name: "new tokens that cannot be written are lost",
			File: "refresh.go",
			Old:  "k.writeLater(ctx, l, unwritten)",
			New:  "_ = k.writeLater",
		},
	})
}
