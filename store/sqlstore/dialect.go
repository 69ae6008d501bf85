package sqlstore

import (
	"fmt"
	"strings"
	"time"

	"github.com/synmetrix/session/store"
)

// Dialect is a kind of database.
type Dialect int

// The supported databases.
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

// statement is an SQL statement and the names of its placeholders.
type statement struct {
	text  string
	names []string
}

// statements are the statements of a store, except for those that set the table up.
type statements struct {
	get, list, count, create, replace, update, remove, purge statement
}

// args are the values for the placeholders.
type args struct {
	key  string
	rec  store.Record
	prev uint64
}

const (
	columns = "session_key, owner, version, data, meta, expires_at"
	set     = "owner = {owner}, version = {version}, data = {data}, meta = {meta}, expires_at = {expires_at}"
)

// purgeBatch is the number of rows that one statement removes. It holds locks for some
// milliseconds.
const purgeBatch = 200

// statements returns the statements for a table. It returns false for an unknown
// dialect.
func (d Dialect) statements(table string) (statements, bool) {
	// In these texts {now} is the current time in Unix milliseconds, and {start} the
	// time when the statement started. Every other placeholder becomes an argument,
	// so that no value is part of a statement.
	insert := "INSERT INTO {table} (" + columns + ") VALUES ({key}, {owner}, {version}, {data}, {meta}, {expires_at})"
	replace := "UPDATE {table} SET " + set + " WHERE session_key = {key} AND expires_at <= {now}"
	purge := fmt.Sprintf("DELETE FROM {table} WHERE expires_at <= {start} ORDER BY expires_at LIMIT %d", purgeBatch)
	switch d {
	case SQLite, PostgreSQL:
		insert += " ON CONFLICT (session_key) DO UPDATE SET owner = excluded.owner, version = excluded.version," +
			" data = excluded.data, meta = excluded.meta, expires_at = excluded.expires_at" +
			" WHERE {table}.expires_at <= {now}"
		// The outer condition is needed because a row may have been replaced since
		// the inner query read it. SKIP LOCKED leaves rows to another process that
		// is removing them.
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
		count:   compile("SELECT COUNT(*) FROM {table} WHERE owner <> '' AND expires_at > {start}"),
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
			// Evaluated for each row, and again after waiting for the lock of a row.
			b.WriteString("CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)")
		case name == "start" && d == PostgreSQL:
			// Constant for the statement, so that it can use an index.
			b.WriteString("CAST(FLOOR(EXTRACT(EPOCH FROM statement_timestamp()) * 1000) AS BIGINT)")
		case (name == "now" || name == "start") && d == MySQL:
			// UNIX_TIMESTAMP(NOW(3)) is ambiguous in the hour that is repeated when
			// daylight saving time ends.
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

// quote quotes a name, which may be a reserved word.
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
			values[i] = int64(a.rec.Version) // the databases have no common unsigned type of 64 bits
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
