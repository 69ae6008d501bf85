package replicas_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/redis/rueidis"
)

// redis is the driver of a database that is a Redis server.
const redis = "redis"

// dumpRedis returns the records by their keys, like dump, and the sets of their
// owners. There must be no other keys.
func (db *database) dumpRedis(t *testing.T) map[string]row {
	t.Helper()
	client := db.server.Client(t)
	keys, err := client.Do(t.Context(), client.B().Keys().Pattern("*").Build()).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for _, name := range keys {
		if key, found := strings.CutPrefix(name, "session:k:"); found {
			value, err := client.Do(t.Context(), client.B().Get().Key(name).Build()).ToString()
			if rueidis.IsRedisNil(err) {
				continue // it has expired
			}
			if err != nil {
				t.Fatal(err)
			}
			rows[key] = row{key, append([][]byte{[]byte(name), []byte(value)}, columns(value)...)}
			continue
		}
		if !strings.HasPrefix(name, "session:o:") {
			t.Fatalf("the server has the key %q", name)
		}
		members, err := client.Do(t.Context(), client.B().Zrange().Key(name).Min("0").Max("-1").Build()).AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		r := row{key: name, columns: [][]byte{[]byte(name)}}
		for _, m := range members {
			r.columns = append(r.columns, []byte(m))
		}
		rows[name] = r
	}
	return rows
}

// columns returns the fields of a record, as package redisstore stores it: the owner,
// the key, Meta and Data.
func columns(value string) (fields [][]byte) {
	rest := []byte(value[len("s1")+8:])
	for range 2 {
		n := 1 + int(rest[0])
		fields, rest = append(fields, rest[1:n]), rest[n:]
	}
	rest = rest[8:]
	n := 4 + binary.BigEndian.Uint32(rest)
	return append(fields, rest[4:n], rest[n:])
}
