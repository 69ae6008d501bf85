package main

import (
	"database/sql"
	"net/url"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/sqlstore"
)

const (
	sqliteRead  = "session, SQLite"
	sqliteFirst = "session, SQLite, first request"
)

func init() {
	register(contender{
		name: sqliteRead, router: netHTTP, session: "in SQLite, read, opened before", ours: true,
		waits: true,
		open:  openSession(inSQLite),
	})
	register(contender{
		name: sqliteFirst, router: netHTTP, session: "in SQLite, read, not opened before", ours: true, first: true,
		waits: true,
		open:  openSession(inSQLite),
	})
}

func inSQLite(e *env, c *session.Config) (err error) {
	c.Store, err = openSQLite(e)
	return err
}

// openDatabase opens a database in the directory of e.
func (e *env) openDatabase() (*sql.DB, error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(e.dir, "sessions.db")}).String())
	if err == nil {
		e.onClose(func() { _ = db.Close() })
	}
	return db, err
}

func openSQLite(e *env) (store.Store, error) {
	db, err := e.database()
	if err != nil {
		return nil, err
	}
	return sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.SQLite})
}
