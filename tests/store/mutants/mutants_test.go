// Package mutants_test tests the test suite of the stores.
package mutants_test

import (
	"testing"

	"github.com/synmetrix/session/tests/internal/mutate"
)

// yield releases the shard in the middle of a Put, like a store that reads and writes in
// two steps.
const yield = "sh.mu.Unlock()\n\ttime.Sleep(time.Microsecond)\n\tsh.mu.Lock()\n"

// TestStoretestFindsFaults plants faults in the memory store. A check of storetest must
// fail for each of them.
func TestStoretestFindsFaults(t *testing.T) {
	p := mutate.Package{Dir: "../../../store/memstore", Run: "^TestStore$"}
	mutate.Run(t, p, []mutate.Mutant{
		// Swaps.
		{
			Name: "versions are not compared",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {",
			New:  "if n.rec.Version != prev && prev == 0 {",
		},
		{
			Name: "prev zero overwrites",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {",
			New:  "if n.rec.Version != prev && prev != 0 {",
		},
		{
			Name: "versions are compared in 32 bits",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {",
			New:  "if uint32(n.rec.Version) != uint32(prev) {",
		},
		{
			Name: "versions are compared as floating-point numbers",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {",
			New:  "if float64(n.rec.Version) != float64(prev) {",
		},
		{
			Name: "versions are compared by size",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {",
			New:  "if n.rec.Version != prev || rec.Version < prev {",
		},
		{
			Name: "a conflict is not reported",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {\n\t\treturn store.ErrConflict",
			New:  "if n.rec.Version != prev {\n\t\treturn nil",
		},
		{
			Name: "a conflict is reported as not found",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {\n\t\treturn store.ErrConflict",
			New:  "if n.rec.Version != prev {\n\t\treturn store.ErrNotFound",
		},
		{
			Name: "a conflict prolongs",
			File: "memstore.go",
			Old:  "if n.rec.Version != prev {\n",
			New:  "if n.rec.Version != prev {\n\t\tn.rec.ExpiresAt = rec.ExpiresAt\n",
		},
		{
			Name: "a swap in two steps loses updates",
			File: "memstore.go",
			Old:  "\ts.update(n, rec)\n\treturn nil",
			New:  "\t" + yield + "\tif n.due == removed {\n\t\treturn store.ErrConflict\n\t}\n\ts.update(n, rec)\n\treturn nil",
		},
		{
			Name: "a creation in two steps has two winners",
			File: "memstore.go",
			Old:  "\t\treturn s.insert(sh, hash, rec)",
			New:  "\t\t" + yield + "\t\treturn s.insert(sh, hash, rec)",
		},
		{
			Name: "a record is written in two steps",
			File: "memstore.go",
			Old:  "\ts.update(n, rec)\n\treturn nil",
			New: "\tn.rec.Version = rec.Version\n\t" + yield +
				"\tif n.due == removed || n.rec.Version != rec.Version {\n\t\treturn store.ErrConflict\n\t}\n\ts.update(n, rec)\n\treturn nil",
		},
		{
			Name: "an update keeps the old Meta",
			File: "memstore.go",
			Old:  "\trec.Key = n.rec.Key ",
			New:  "\trec.Key, rec.Meta = n.rec.Key, n.rec.Meta ",
		},
		{
			Name: "an update reuses the bytes of the record before",
			File: "memstore.go",
			Old:  "\trec.Key = n.rec.Key ",
			New:  "\trec.Key, rec.Data = n.rec.Key, append(n.rec.Data[:0], rec.Data...) ",
		},
		{
			Name: "records are not checked",
			File: "memstore.go",
			Old:  "if err := rec.Validate(); err != nil {",
			New:  "if err := rec.Validate(); err != nil && false {",
		},

		// The end of a record.
		{
			Name: "an update creates",
			File: "memstore.go",
			Old:  "\t\tif prev != 0 {\n\t\t\treturn store.ErrConflict\n\t\t}\n",
			New:  "",
		},
		{
			Name: "an update that is under way revives what was deleted",
			File: "memstore.go",
			Old:  "\ts.update(n, rec)\n\treturn nil",
			New: "\t" + yield + "\tif n.due == removed {\n\t\treturn s.insert(sh, hash, rec)\n\t}\n" +
				"\tif n.rec.Version != prev {\n\t\treturn store.ErrConflict\n\t}\n\ts.update(n, rec)\n\treturn nil",
		},
		{
			Name: "deleting what is not there is an error",
			File: "memstore.go",
			Old:  "if n := sh.find(key, hash); n != nil {\n\t\ts.remove(n)\n\t}\n",
			New:  "n := sh.find(key, hash)\n\tif n == nil {\n\t\treturn store.ErrNotFound\n\t}\n\ts.remove(n)\n",
		},
		{
			Name: "a missing record is an empty one",
			File: "memstore.go",
			Old:  "return store.Record{}, store.ErrNotFound",
			New:  "return store.Record{}, nil",
		},
		{
			Name: "a missing record is an error of another kind",
			File: "memstore.go",
			Old:  "return store.Record{}, store.ErrNotFound",
			New:  "return store.Record{}, store.ErrFull",
		},

		// Expiry.
		{
			Name: "Get finds an expired record",
			File: "memstore.go",
			Old:  "if n := sh.find(key, hash); n != nil && !n.expired(s.now()) {",
			New:  "if n := sh.find(key, hash); n != nil && !n.expired(s.now().Add(-time.Hour)) {",
		},
		{
			Name: "List shows an expired record",
			File: "owners.go",
			Old:  "!n.expired(now)",
			New:  "!now.IsZero()",
		},
		{
			Name: "an expired record is revived by an update",
			File: "memstore.go",
			Old:  "\ts.purge(sh, now, purgePerPut)\n\n\tn := sh.find(rec.Key, hash)\n\tif n != nil && n.expired(now) {",
			New:  "\tn := sh.find(rec.Key, hash)\n\tif n != nil && n.expired(now) && prev == 0 {",
		},
		{
			Name: "an expired record is in the way of a new one",
			File: "memstore.go",
			Old:  "\ts.purge(sh, now, purgePerPut)\n\n\tn := sh.find(rec.Key, hash)\n\tif n != nil && n.expired(now) {",
			New:  "\tn := sh.find(rec.Key, hash)\n\tif n != nil && n.expired(now) && prev != 0 {",
		},
		{
			Name: "records live a second too long",
			File: "memstore.go",
			Old:  "return !now.Before(n.rec.ExpiresAt)",
			New:  "return !now.Before(n.rec.ExpiresAt.Add(time.Second + 1))",
		},
		{
			Name: "records end a moment too early",
			File: "memstore.go",
			Old:  "return !now.Before(n.rec.ExpiresAt)",
			New:  "return !now.Add(1).Before(n.rec.ExpiresAt)",
		},
		{
			Name: "ExpiresAt is cut to the second",
			File: "memstore.go",
			Old:  "rec.ExpiresAt.Round(0)",
			New:  "rec.ExpiresAt.Truncate(time.Second)",
		},
		{
			Name: "the clean-up does not see that a record was prolonged",
			File: "memstore.go",
			Old:  "\tn.shard.due.fix(n)\n",
			New:  "",
		},
		{
			Name: "the clean-up takes the wrong record",
			File: "expiry.go",
			Old:  "s.remove(sh.due[0].node)",
			New:  "s.remove(sh.due[len(sh.due)-1].node)",
		},

		// Lists.
		{
			Name: "a deleted record stays in the owner index",
			File: "memstore.go",
			Old:  "\tsh.due.remove(n)\n\ts.unlink(n)\n",
			New:  "\tsh.due.remove(n)\n",
			And:  []mutate.Edit{{File: "owners.go", Old: "n.due != removed && ", New: ""}},
		},
		{
			Name: "a deleted record takes its owner's others along",
			File: "owners.go",
			Old:  "\t\to.heads[owner] = n.next\n",
			New:  "\t\tdelete(o.heads, owner)\n",
		},
		{
			Name: "a record in the middle of the list takes the rest along",
			File: "owners.go",
			Old:  "\t\tn.prev.next = n.next\n",
			New:  "\t\tn.prev.next = nil\n",
		},
		{
			Name: "the owner index misses a new owner",
			File: "memstore.go",
			Old:  "\t\ts.unlink(n)\n\t\tn.rec = rec\n\t\ts.link(n)\n",
			New:  "\t\tn.rec = rec\n",
		},
		{
			Name: "the owner index keeps the old owner",
			File: "memstore.go",
			Old:  "\t\ts.unlink(n)\n\t\tn.rec = rec\n\t\ts.link(n)\n",
			New:  "\t\tn.rec = rec\n\t\tn.next, n.prev = nil, nil\n\t\ts.link(n)\n",
			And:  []mutate.Edit{{File: "owners.go", Old: " && n.rec.Owner == owner", New: ""}},
		},
		{
			Name: "records without an owner are listed",
			File: "owners.go",
			Old:  "\tif owner == \"\" {\n\t\treturn nil, nil\n\t}\n",
			New:  "",
			And: []mutate.Edit{
				{File: "owners.go", Old: "\tif owner == \"\" {\n\t\treturn\n\t}\n\to := s.ownerShard(owner)\n\ts.owned.Add(1)\n\to.mu.Lock()\n\tdefer o.mu.Unlock()\n\tif o.heads", New: "\to := s.ownerShard(owner)\n\ts.owned.Add(1)\n\to.mu.Lock()\n\tdefer o.mu.Unlock()\n\tif o.heads"},
				{File: "owners.go", Old: "\tif owner == \"\" {\n\t\treturn\n\t}\n\to := s.ownerShard(owner)\n\ts.owned.Add(-1)\n\to.mu.Lock()\n\tdefer o.mu.Unlock()\n\tif n.next", New: "\to := s.ownerShard(owner)\n\ts.owned.Add(-1)\n\to.mu.Lock()\n\tdefer o.mu.Unlock()\n\tif n.next"},
			},
		},
		{
			Name: "an empty list is an error",
			File: "owners.go",
			Old:  "\treturn recs, nil",
			New:  "\tif recs == nil {\n\t\treturn nil, store.ErrNotFound\n\t}\n\treturn recs, nil",
		},

		// Contexts.
		{
			Name: "Get does not look at the context",
			File: "memstore.go",
			Old:  "\tif err := ctx.Err(); err != nil {\n\t\treturn store.Record{}, failed(\"get\", err)",
			New:  "\tif err := ctx.Err(); err != nil && false {\n\t\treturn store.Record{}, failed(\"get\", err)",
		},
		{
			Name: "a canceled Get reports a missing record",
			File: "memstore.go",
			Old:  "return store.Record{}, failed(\"get\", err)",
			New:  "return store.Record{}, store.ErrNotFound",
		},
	})
}

// TestFaultsInSQLAreFound plants faults in the statements of the SQL store. The suite
// runs with SQLite. The tests of the other databases run the same suite.
func TestFaultsInSQLAreFound(t *testing.T) {
	const dialect, store = "../../store/sqlstore/dialect.go", "../../store/sqlstore/sqlstore.go"
	p := mutate.Package{Dir: "..", Run: "^TestSQLite$/^Contract$/^default$"}
	mutate.Run(t, p, []mutate.Mutant{
		{
			Name: "an update does not look at the version",
			File: dialect,
			Old:  "session_key = {key} AND version = {prev} AND",
			New:  "session_key = {key} AND {prev} = {prev} AND",
		},
		{
			Name: "an update revives an expired row",
			File: dialect,
			Old:  "version = {prev} AND expires_at > {now}",
			New:  "version = {prev}",
		},
		{
			Name: "a creation overwrites",
			File: dialect,
			Old:  "\" WHERE {table}.expires_at <= {now}\"",
			New:  "\"\"",
		},
		{
			Name: "an expired row is in the way of a new one",
			File: dialect,
			Old:  "\" WHERE {table}.expires_at <= {now}\"",
			New:  "\" WHERE 1 = 0\"",
		},
		{
			Name: "an expired row is found",
			File: dialect,
			Old:  "WHERE session_key = {key} AND expires_at > {now}\"),\n\t\tlist",
			New:  "WHERE session_key = {key}\"),\n\t\tlist",
		},
		{
			Name: "an expired row is listed",
			File: dialect,
			Old:  "WHERE owner = {owner} AND expires_at > {now}",
			New:  "WHERE owner = {owner}",
		},
		{
			Name: "keys are patterns",
			File: dialect,
			Old:  "DELETE FROM {table} WHERE session_key = {key}",
			New:  "DELETE FROM {table} WHERE session_key LIKE {key}",
		},
		{
			Name: "times are rounded down",
			File: dialect,
			Old:  "\t\tms++\n",
			New:  "\t\tms--\n",
		},
		{
			Name: "an update keeps the owner",
			File: dialect,
			Old:  "set     = \"owner = {owner}, ",
			New:  "set     = \"",
		},
		{
			Name: "a refused Put is no conflict",
			File: store,
			Old:  "\tif !stored {\n\t\treturn store.ErrConflict\n",
			New:  "\tif !stored {\n\t\treturn nil\n",
		},
		{
			Name: "a done context is not seen",
			File: store,
			Old:  "\tif err := ctx.Err(); err != nil {\n\t\treturn failed(\"delete\", err)\n\t}\n",
			New:  "\tctx = context.WithoutCancel(ctx)\n",
		},
	})
}

// TestRedisFaultsAreFound plants faults in the Redis store. Its own tests must find them.
func TestRedisFaultsAreFound(t *testing.T) {
	p := mutate.Package{
		Dir: "../../../store/redisstore",
		Run: "^(TestOwnWrites|TestBoundWithoutMessages|TestEntriesAreRemoved|TestForeignRecord|TestValuesThatAreNoRecords|TestEvictionPolicy|TestFullMemory|TestErrorsOfServerAreOutages)$",
	}
	mutate.Run(t, p, []mutate.Mutant{
		{
			Name: "own writes are not remembered",
			File: "cache.go",
			Old:  "\tw.young[key] = w.count\n",
			New:  "",
		},
		{
			Name: "what is cached counts as newer than the own write",
			File: "cache.go",
			Old:  "case !res.IsCacheHit():",
			New:  "case true:",
		},
		{
			Name: "records are cached for longer than CacheTTL",
			File: "cache.go",
			Old:  ".Cache(), s.cacheTTL)",
			New:  ".Cache(), 100*s.cacheTTL)",
		},
		{
			Name: "a full memory is an outage for reads",
			File: "cache.go",
			Old:  "(isShared(err) || isFull(err))",
			New:  "isShared(err)",
		},
		{
			Name: "a swap does not compare",
			File: "server.go",
			Old:  "if string.sub(old, 1, 10) == ARGV[1] then",
			New:  "if true then",
		},
		{
			Name: "a swap replaces what is not a record",
			File: "server.go",
			Old:  "return redis.error_reply('NOTARECORD')",
			New:  "old = ''",
		},
		{
			Name: "another record is returned",
			File: "server.go",
			Old:  "rec.Key != key",
			New:  "rec.Key == \"\"",
		},
		{
			Name: "entries of sets never expire",
			File: "server.go",
			Old:  "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ",
			New:  "tostring(",
		},
		{
			Name: "a conflict removes the entry of the record",
			File: "redisstore.go",
			Old:  "rec.Owner != \"\" && old.version != rec.Version:",
			New:  "rec.Owner != \"\":",
		},
		{
			Name: "the entry of the former version stays",
			File: "redisstore.go",
			Old:  "case stored && old.owner != \"\" && (",
			New:  "case false && (",
		},
		{
			Name: "a server without a limit is said to remove sessions",
			File: "eviction.go",
			Old:  "!slices.Contains(lines, \"maxmemory:0\")",
			New:  "slices.Contains(lines, \"# Memory\") == false",
		},
		{
			Name: "errors quote the server",
			File: "call.go",
			Old:  "\t\treturn word\n",
			New:  "\t\treturn text\n",
		},
	})
}
