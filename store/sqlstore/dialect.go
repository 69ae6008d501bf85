package sqlstore

import (
	"fmt"
	"strings"
	"time"

	"github.com/synmetrix/session/store"
)

// Dialect is the kind of a database.
type Dialect int

// The databases that a [Store] knows how to talk to.
const (
	_          Dialect = iota
	SQLite             // 3.24 or newer
	PostgreSQL         // 12 or newer
	MySQL              // 8.0 or newer, and MariaDB 10.5 or newer, with InnoDB
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// statement is a statement in a dialect's words and what its placeholders
// stand for.
type statement struct {
	text  string
	names []string
}

// statements is all that a store says to its database, but for the making of
// the table.
type statements struct {
	get, list, create, replace, update, remove, purge statement
}

// args is what placeholders may stand for.
type args struct {
	key  string
	rec  store.Record
	prev uint64
}

const (
	columns = "session_key, owner, version, data, meta, expires_at"
	set     = "owner = {owner}, version = {version}, data = {data}, meta = {meta}, expires_at = {expires_at}"
)

// purgeBatch is how many rows are removed by one statement, which holds locks
// for some milliseconds.
const purgeBatch = 200

// statements returns those for a table, if the dialect is one.
func (d Dialect) statements(table string) (statements, bool) {
	// In these texts {now} is the time in Unix milliseconds, and {start} is that
	// at which the statement began. Each other placeholder becomes an argument:
	// no value ever becomes part of a text.
	insert := "INSERT INTO {table} (" + columns + ") VALUES ({key}, {owner}, {version}, {data}, {meta}, {expires_at})"
	replace := "UPDATE {table} SET " + set + " WHERE session_key = {key} AND expires_at <= {now}"
	purge := fmt.Sprintf("DELETE FROM {table} WHERE expires_at <= {start} ORDER BY expires_at LIMIT %d", purgeBatch)
	switch d {
	case SQLite, PostgreSQL:
		insert += " ON CONFLICT (session_key) DO UPDATE SET owner = excluded.owner, version = excluded.version," +
			" data = excluded.data, meta = excluded.meta, expires_at = excluded.expires_at" +
			" WHERE {table}.expires_at <= {now}"
		// A row may have been put anew since the inner query saw it. One that
		// another process is removing is left to it.
		skip := ""
		if d == PostgreSQL {
			skip = " FOR UPDATE SKIP LOCKED"
		}
		purge = fmt.Sprintf("DELETE FROM {table} WHERE expires_at <= {start} AND session_key IN"+
			" (SELECT session_key FROM {table} WHERE expires_at <= {start} ORDER BY expires_at LIMIT %d%s)", purgeBatch, skip)
	case MySQL:
	default:
		return statements{}, false
	}
	compile := func(text string) statement { return d.compile(table, text) }
	return statements{
		get:     compile("SELECT " + columns + " FROM {table} WHERE session_key = {key} AND expires_at > {now}"),
		list:    compile("SELECT " + columns + " FROM {table} WHERE owner = {owner} AND expires_at > {now}"),
		create:  compile(insert),
		replace: compile(replace),
		update:  compile("UPDATE {table} SET " + set + " WHERE session_key = {key} AND version = {prev} AND expires_at > {now}"),
		remove:  compile("DELETE FROM {table} WHERE session_key = {key}"),
		purge:   compile(purge),
	}, true
}

// compile translates a text with {names} into a statement.
func (d Dialect) compile(table, text string) statement {
	var st statement
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(before)
		if !found {
			st.text = b.String()
			return st
		}
		var name string
		name, text, _ = strings.Cut(rest, "}")
		switch {
		case name == "table":
			b.WriteString(d.quote(table))
		case name == "now" && d == PostgreSQL:
			// Read for each row, and again after a wait for its lock.
			b.WriteString("CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)")
		case name == "start" && d == PostgreSQL:
			// The same for all rows, so that an index can be used.
			b.WriteString("CAST(FLOOR(EXTRACT(EPOCH FROM statement_timestamp()) * 1000) AS BIGINT)")
		case (name == "now" || name == "start") && d == MySQL:
			// UNIX_TIMESTAMP(NOW(3)) would be an hour off in the one that
			// summer time repeats.
			b.WriteString("TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(3)) DIV 1000")
		default:
			st.names = append(st.names, name)
			if d == PostgreSQL {
				fmt.Fprintf(&b, "$%d", len(st.names))
			} else {
				b.WriteByte('?')
			}
		}
	}
}

// quote makes a name of it that may be a reserved word.
func (d Dialect) quote(name string) string {
	if d == MySQL {
		return "`" + name + "`"
	}
	return `"` + name + `"`
}

// values returns the arguments for st's placeholders.
func (st statement) values(a args) []any {
	values := make([]any, len(st.names))
	for i, name := range st.names {
		switch name {
		case "key":
			values[i] = a.key
		case "owner":
			values[i] = a.rec.Owner
		case "version":
			values[i] = int64(a.rec.Version) // no database has all of 64 bits without a sign
		case "prev":
			values[i] = int64(a.prev)
		case "data":
			values[i] = notNil(a.rec.Data)
		case "meta":
			values[i] = notNil(a.rec.Meta)
		case "expires_at":
			values[i] = millis(a.rec.ExpiresAt)
		case "now", "start":
			values[i] = time.Now().UnixMilli()
		}
	}
	return values
}

// notNil returns b for a column that is not nullable.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// millis returns t in Unix milliseconds, rounded up.
func millis(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}
