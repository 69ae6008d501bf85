package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/store"
)

// Each call sends the whole script. This costs some hundred bytes, and works immediately
// after a restart of the server.
var (
	// swapScript replaces the value of KEYS[1] by ARGV[2], which expires at ARGV[3], if the
	// value begins with ARGV[1], or does not exist and ARGV[1] is empty. It returns whether
	// it replaced the value, and the old value up to the owner.
	swapScript = rueidis.NewLuaScriptNoSha(readOld + `
		local stored = 0
		if string.sub(old, 1, 10) == ARGV[1] then
			redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
			stored = 1
		end
		return {stored, old}`)

	// removeScript deletes KEYS[1] and returns the old value up to the owner.
	removeScript = rueidis.NewLuaScriptNoSha(readOld + `
		redis.call('DEL', KEYS[1])
		return {1, old}`)

	// addScript adds the entry ARGV[1] to the set KEYS[1], until ARGV[2]. It removes
	// expired entries. The set itself expires with its last entry.
	addScript = rueidis.NewLuaScriptNoSha(`
		local now = redis.call('TIME')
		redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] .. string.sub('000000' .. now[2], -6, -4))
		redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
		local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
		redis.call('PEXPIREAT', KEYS[1], last[2])
		return 1`)
)

// readOld reads the value of KEYS[1] up to the owner: prefixMax bytes. Another kind of value
// is an error.
const readOld = `
		local old = redis.call('GETRANGE', KEYS[1], 0, 138)
		if string.sub(old, 1, 2) ~= 's1' and (old ~= '' or redis.call('EXISTS', KEYS[1]) == 1) then
			return redis.error_reply('NOTARECORD')
		end
		if old ~= '' then
			old = string.sub(old, 1, 11 + (string.byte(old, 11) or 0))
		end`

// swap compares and replaces the record. It returns the previous state.
func (s *Store) swap(ctx context.Context, rec store.Record, prev uint64) (stored bool, old state, err error) {
	want := ""
	if prev != 0 {
		want = prefix(prev)
	}
	return parseOld(swapScript.Exec(ctx, s.client, []string{s.recordKey(rec.Key)},
		[]string{want, encode(rec), strconv.FormatInt(expiry(rec.ExpiresAt), 10)}))
}

// remove deletes a record and returns its state.
func (s *Store) remove(ctx context.Context, key string) (state, error) {
	_, old, err := parseOld(removeScript.Exec(ctx, s.client, []string{s.recordKey(key)}, nil))
	return old, err
}

// parseOld parses the result of a script that begins with readOld.
func parseOld(res rueidis.RedisResult) (done bool, old state, err error) {
	parts, err := res.ToArray()
	if reply, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(reply.Error(), "NOTARECORD") {
		err = errValue
	}
	if err != nil {
		return false, state{}, err
	}
	if len(parts) != 2 {
		return false, state{}, errResponse
	}
	n, err := parts[0].ToInt64()
	if err != nil || n != 0 && n != 1 {
		return false, state{}, errResponse
	}
	text, err := parts[1].ToString()
	if err != nil {
		return false, state{}, errResponse
	}
	if text == "" {
		return n == 1, state{}, nil
	}
	old, rest, ok := parsePrefix(text)
	if !ok || rest != "" {
		return false, state{}, errValue
	}
	return n == 1, old, nil
}

// errResponse reports a response that does not fit the command.
var errResponse = errors.New("unexpected response of the server")

// skew is by how much the clocks of the servers of a cluster may differ. An entry of a set
// must not expire before its record, which may be on another server.
const skew = time.Minute

// entry returns the entry of a record in the set of its owner.
func entry(key string, version uint64) string {
	return key + " " + hex.EncodeToString([]byte(prefix(version)[len(format):]))
}

// addEntry adds a record to the set of its owner.
func (s *Store) addEntry(ctx context.Context, rec store.Record) error {
	until := expiry(rec.ExpiresAt) + skew.Milliseconds()
	return addScript.Exec(ctx, s.client, []string{s.ownerKey(rec.Owner)},
		[]string{entry(rec.Key, rec.Version), strconv.FormatInt(until, 10)}).Error()
}

// removeEntry removes the entry of a record that was replaced or deleted. A failure is
// ignored, because the entry expires later.
func (s *Store) removeEntry(ctx context.Context, owner, key string, version uint64) {
	_ = s.client.Do(ctx, s.client.B().Zrem().Key(s.ownerKey(owner)).Member(entry(key, version)).Build())
}

// entries returns the keys in the set of an owner, each of them once.
func (s *Store) entries(ctx context.Context, owner string) ([]string, error) {
	members, err := s.client.Do(ctx, s.client.B().Zrange().Key(s.ownerKey(owner)).Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil {
		return nil, err
	}
	keys := members[:0]
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		key, _, found := strings.Cut(m, " ")
		if found && store.ValidName(key) && !seen[key] {
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// batch is the number of records that List reads at once.
const batch = 256

// readAll returns the records under keys that belong to the owner.
func (s *Store) readAll(ctx context.Context, keys []string, owner string) ([]store.Record, error) {
	recs := make([]store.Record, 0, len(keys))
	for len(keys) > 0 {
		some := keys[:min(len(keys), batch)]
		keys = keys[len(some):]
		cmds := make(rueidis.Commands, 0, len(some))
		for _, key := range some {
			cmds = append(cmds, s.client.B().Get().Key(s.recordKey(key)).Build())
		}
		for i, res := range s.client.DoMulti(ctx, cmds...) {
			rec, found, err := parse(res, some[i])
			switch {
			case err != nil:
				return nil, err
			case found && rec.Owner == owner:
				recs = append(recs, rec)
			}
		}
	}
	return recs, nil
}

// parse returns the record in a response to GET. found is false if the response means that
// there is no record.
func parse(res rueidis.RedisResult, key string) (rec store.Record, found bool, err error) {
	text, err := res.ToString()
	if rueidis.IsRedisNil(err) {
		return store.Record{}, false, nil
	}
	if err != nil {
		return store.Record{}, false, err
	}
	value, err := res.AsBytes() // the same bytes, without a copy
	if err == nil {
		rec, err = decode(text, value)
	}
	if err == nil && rec.Key != key {
		err = errForeign
	}
	if err != nil {
		return store.Record{}, false, err
	}
	return rec, true, nil
}
