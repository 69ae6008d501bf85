package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/redisstore"
)

// A value that is not a record is an outage: it is no session, and signs no user out.
func TestValuesThatAreNoRecords(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client := shared(t).client(t)
	at := func(prefix string) string { return prefix + "k:thekey" }
	set := func(value string) func(prefix string) rueidis.Completed {
		return func(prefix string) rueidis.Completed {
			return client.B().Set().Key(at(prefix)).Value(value).Build()
		}
	}
	for name, write := range map[string]func(prefix string) rueidis.Completed{
		"empty":        set(""),
		"text":         set("not a session"),
		"only format":  set("s1"),
		"cut":          set("s1\x00\x00\x00\x00\x00\x00\x00\x07\x05own"),
		"other format": set("s2" + strings.Repeat("\x00", 100)),
		"hash": func(p string) rueidis.Completed {
			return client.B().Hset().Key(at(p)).FieldValue().FieldValue("a", "b").Build()
		},
		"list": func(p string) rueidis.Completed { return client.B().Rpush().Key(at(p)).Element("a").Build() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prefix := newPrefix()
			s := newStore(t, client, redisstore.Config{Prefix: prefix})
			if err := client.Do(ctx, write(prefix)).Error(); err != nil {
				t.Fatal(err)
			}
			for range 2 { // from the server, and from the cache
				_, err := s.Get(ctx, "thekey")
				outage(t, "Get", err)
			}
			err := s.Put(ctx, record("thekey"), 0)
			outage(t, "create", err)
			if name != "cut" && name != "hash" && name != "list" && !strings.HasSuffix(fmt.Sprint(err), "is not a session record") {
				t.Errorf("create: error %v", err)
			}
			if name != "cut" { // which looks like a record of another version
				outage(t, "update", s.Put(ctx, record("thekey"), 3))
			}
			if n, err := client.Do(ctx, client.B().Exists().Key(at(prefix)).Build()).AsInt64(); n != 1 || err != nil {
				t.Errorf("the value is gone, error %v", err)
			}
		})
	}
}

// A record under another record's key would sign a visitor in as another user.
func TestForeignRecord(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client := shared(t).client(t)
	prefix := newPrefix()
	s := newStore(t, client, redisstore.Config{Prefix: prefix})
	if err := s.Put(ctx, record("otherkey"), 0); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(ctx, client.B().Copy().Source(prefix+"k:otherkey").Destination(prefix+"k:thekey").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(ctx, "thekey")
	outage(t, "Get", err)
	if err := client.Do(ctx, client.B().Zadd().Key(prefix+"o:owner").ScoreMember().ScoreMember(1e15, "thekey 00").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	_, err = s.List(ctx, "owner")
	outage(t, "List", err)
}

// The server is gone and comes back, empty.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := own(t)
	s := newStore(t, server.client(t), redisstore.Config{Timeout: time.Second})
	if err := s.Put(ctx, record("thekey"), 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := s.Get(ctx, "thekey"); err != nil {
			t.Fatal(err)
		}
	}
	_ = server.cmd.Process.Kill()
	_ = server.cmd.Wait()
	// What was cached is dropped with the connection.
	eventually(t, "the outage is seen", func() bool { _, err := s.Get(ctx, "thekey"); return err != nil })
	for name, err := range everyCall(s) {
		outage(t, name, err)
	}
	server.start(t)
	eventually(t, "the store works again", func() bool { return s.Ping(ctx) == nil })
	if _, err := s.Get(ctx, "thekey"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	if err := s.Put(ctx, record("thekey"), 0); err != nil {
		t.Error(err)
	}
}

// A server that hangs is an outage for calls that were served before. They end when their
// context is done.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	server := own(t)
	s := newStore(t, server.client(t), redisstore.Config{Timeout: time.Second, CacheTTL: time.Nanosecond})
	ctx := context.Background()
	if _, err := s.Get(ctx, "thekey"); !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	if err := server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(ctx)
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	if _, err := s.Get(canceled, "thekey"); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled call: error %v after %v", err, time.Since(start))
	}
	for name, err := range everyCall(s) {
		outage(t, name, err)
	}
	if err := server.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the store works again", func() bool { return s.Ping(ctx) == nil })
}

// A server without memory accepts no new record. Existing records can be read and
// deleted.
func TestFullMemory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := own(t)
	client := server.client(t)
	s := newStore(t, client, redisstore.Config{})
	if err := s.Put(ctx, record("key"), 0); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(ctx, client.B().ConfigSet().ParameterValue().ParameterValue("maxmemory", "1").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"owner", ""} {
		rec := record("new")
		rec.Owner = owner
		if err := s.Put(ctx, rec, 0); !errors.Is(err, store.ErrFull) {
			t.Errorf("create with owner %q: %v, want ErrFull", owner, err)
		}
		rec.Key, rec.Version = "key", 8
		outage(t, "update", s.Put(ctx, rec, 7))
	}
	if rec, err := s.Get(ctx, "key"); err != nil || rec.Version != 7 {
		t.Errorf("%v, error %v", rec, err)
	}
	if err := s.Delete(ctx, "key"); err != nil {
		t.Error(err)
	}
}

// logged is what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A policy that removes sessions is logged once.
func TestEvictionPolicy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		policy, limit string
		warns         bool
	}{
		{"noeviction", "100mb", false},
		{"allkeys-lru", "100mb", true},
		{"volatile-ttl", "100mb", true},
		{"allkeys-lru", "0", false},
	} {
		t.Run(tt.policy+" "+tt.limit, func(t *testing.T) {
			t.Parallel()
			var lines logged
			client := own(t, "--maxmemory", tt.limit, "--maxmemory-policy", tt.policy).client(t)
			for i := range 2 {
				s := newStore(t, client, redisstore.Config{Logger: slog.New(slog.NewTextHandler(&lines, nil))})
				for range 3 {
					if err := s.Ping(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				if tt.warns {
					eventually(t, "a warning", func() bool { return strings.Count(lines.String(), tt.policy) == i+1 })
				}
			}
			time.Sleep(100 * time.Millisecond)
			want := 0
			if tt.warns {
				want = 2
			}
			if n := strings.Count(lines.String(), "level=WARN"); n != want || strings.Count(lines.String(), "\n") != want {
				t.Errorf("%d warnings, want %d: %s", n, want, &lines)
			}
		})
	}
}

// A user of the server who may not read its settings can use the store.
func TestLimitedPermissions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := own(t)
	admin := server.client(t)
	if err := admin.Do(ctx, admin.B().Arbitrary("ACL", "SETUSER", "app", "on", ">secret", "~session:*", "resetchannels",
		"+get", "+pttl", "+multi", "+exec", "+eval", "+getrange", "+exists", "+set", "+del", "+time", "+zadd", "+zrem",
		"+zrange", "+zrevrange", "+zremrangebyscore", "+pexpireat", "+client|caching", "+client|tracking", "+hello", "+ping").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	var lines logged
	s := newStore(t, server.client(t, func(o *rueidis.ClientOption) {
		o.Username, o.Password, o.ForceSingleClient = "app", "secret", true
	}), redisstore.Config{Prefix: "session:", Logger: slog.New(slog.NewTextHandler(&lines, nil))})
	for name, err := range everyCall(s) {
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	time.Sleep(50 * time.Millisecond)
	if lines.String() != "" {
		t.Error(lines.String())
	}
}

// The set of an owner does not grow with records that no longer exist.
func TestEntriesAreRemoved(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client := shared(t).client(t)
	prefix := newPrefix()
	s := newStore(t, client, redisstore.Config{Prefix: prefix})
	entries := func(owner string) int64 {
		n, err := client.Do(ctx, client.B().Zcard().Key(prefix+"o:"+owner).Build()).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := func(step, owner string, n int64) {
		t.Helper()
		if got := entries(owner); got != n {
			t.Errorf("%s: %d entries of %q, want %d", step, got, owner, n)
		}
	}
	put := func(rec store.Record, prev uint64, wanted error) {
		t.Helper()
		if err := s.Put(ctx, rec, prev); !errors.Is(err, wanted) {
			t.Fatalf("error %v, want %v", err, wanted)
		}
	}
	rec := record("key")
	put(rec, 0, nil)
	put(rec, 0, store.ErrConflict)
	want("put twice", "owner", 1)
	put(rec, rec.Version, nil)
	want("put again", "owner", 1)
	for v := range uint64(10) {
		next := rec
		next.Version = 100 + v
		put(next, rec.Version, nil)
		put(rec, 5, store.ErrConflict)
		rec = next
	}
	want("updates", "owner", 1)
	rec.Owner = "another"
	put(rec, rec.Version, nil)
	want("owner changed", "owner", 0)
	want("owner changed", "another", 1)
	if err := s.Delete(ctx, "key"); err != nil {
		t.Fatal(err)
	}
	want("deleted", "another", 0)

	// An entry of a process that has died before it wrote the record.
	for i := range 3 {
		brief := record(fmt.Sprintf("brief%d", i))
		brief.ExpiresAt = time.Now().Add(-time.Hour)
		put(brief, 0, nil)
		put(record(fmt.Sprintf("more%d", i)), 0, nil)
	}
	want("expired", "owner", 3)
	if recs, err := s.List(ctx, "owner"); err != nil || len(recs) != 3 {
		t.Errorf("%d records, error %v", len(recs), err)
	}
	ms, err := client.Do(ctx, client.B().Pttl().Key(prefix+"o:owner").Build()).AsInt64()
	if left := time.Duration(ms) * time.Millisecond; err != nil || left < time.Hour || left > time.Hour+2*time.Minute {
		t.Errorf("the set expires in %v, error %v", left, err)
	}
}
