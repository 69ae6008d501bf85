package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/store/sqlstore"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
)

// place is where sessions are kept, or what cookie sessions share.
type place struct {
	kind    string           // cookie, memory, or the beginning of an address, such as "postgres"
	dialect sqlstore.Dialect // of a database
	file    string           // that holds an SQLite database

	// connect prepares the connections to a database, and makes none yet.
	connect func(*slog.Logger) (*sql.DB, error)
}

// addressForms are the addresses of places outside this process.
const addressForms = "sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE, mysql://USER:PASSWORD@HOST/DATABASE"

// parseAddress returns the place that an address names, if it is one that this
// program knows. It opens nothing.
func parseAddress(address string) (place, bool) {
	kind, rest, found := strings.Cut(address, ":")
	if !found {
		return place{}, false
	}
	switch kind {
	case "sqlite":
		return sqlitePlace(rest)
	case "postgres":
		return postgresPlace(address)
	case "mysql":
		return mysqlPlace(address)
	}
	return place{}, false
}

func sqlitePlace(file string) (place, bool) {
	if file == "" || file == ":memory:" || strings.ContainsRune(file, 0) {
		return place{}, false
	}
	return place{kind: "sqlite", dialect: sqlstore.SQLite, file: file, connect: func(*slog.Logger) (*sql.DB, error) {
		path, err := filepath.Abs(file)
		if err != nil {
			return nil, err
		}
		// As a URI, in which no character of the name is taken for something else.
		return sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	}}, true
}

func postgresPlace(address string) (place, bool) {
	if !strings.HasPrefix(address, "postgres://") {
		return place{}, false
	}
	config, err := pgx.ParseConfig(address)
	if err != nil {
		return place{}, false
	}
	return place{kind: "postgres", dialect: sqlstore.PostgreSQL, connect: func(*slog.Logger) (*sql.DB, error) {
		return stdlib.OpenDB(*config), nil
	}}, true
}

// mysqlPlace reads an address such as mysql://user:password@host:3306/database,
// which may end in parameters of the driver.
func mysqlPlace(address string) (place, bool) {
	u, err := url.Parse(address)
	if err != nil || !strings.HasPrefix(address, "mysql://") || u.Hostname() == "" || u.Fragment != "" {
		return place{}, false
	}
	database := strings.TrimPrefix(u.Path, "/")
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	// User and password are set as they are: in the driver's own form of an
	// address not every character can be written.
	config, err := mysql.ParseDSN("tcp(" + net.JoinHostPort(u.Hostname(), port) + ")/" + url.PathEscape(database) + "?" + u.RawQuery)
	if err != nil || database == "" {
		return place{}, false
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	return place{kind: "mysql", dialect: sqlstore.MySQL, connect: func(log *slog.Logger) (*sql.DB, error) {
		config.Logger = slog.NewLogLogger(log.Handler(), slog.LevelDebug) // the store's own errors tell it all
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}}, true
}

// stores are what STORE and COORDINATOR name. Cookies need no store, and a
// coordinator in memory is what the library has by itself.
type stores struct {
	sessions, coordinator store.Store

	place    place // of the one outside this process, if there is one
	database *sqlstore.Store
	db       *sql.DB
	log      *slog.Logger
}

// maxConnections is for one process. PostgreSQL allows 100 in all unless it is
// told otherwise.
const maxConnections = 20

// openStores makes the stores. It does not ask them anything.
func openStores(s settings, log *slog.Logger) (*stores, error) {
	st := &stores{log: log, place: s.store}
	target := &st.sessions
	if s.store.kind == "cookie" {
		st.place, target = s.coordinator, &st.coordinator
	}
	switch {
	case s.store.kind == "memory":
		st.sessions = memstore.New()
	case st.place.connect != nil:
		var err error
		if st.db, err = st.place.connect(log); err != nil {
			return nil, err
		}
		st.db.SetMaxOpenConns(maxConnections)
		st.db.SetMaxIdleConns(maxConnections)
		st.db.SetConnMaxIdleTime(5 * time.Minute)
		st.database, err = sqlstore.New(st.db, sqlstore.Config{Dialect: st.place.dialect, Timeout: s.storeTimeout, Logger: log})
		if err != nil {
			return nil, err
		}
		*target = st.database
	}
	return st, nil
}

// check asks the database for its table, which is made if need be. Its error is
// one that waiting does not help against: a table that is wrong, a file that
// can't be opened. A database that is down is not: it may come up.
func (st *stores) check(ctx context.Context) error {
	if st.database == nil {
		return nil
	}
	if st.place.file != "" {
		f, err := os.OpenFile(st.place.file, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	err := st.database.Setup(ctx)
	var wrong *sqlstore.SchemaError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong), st.place.file != "" && !isBusy(err):
		return fmt.Errorf("%s: %w", st.place.kind, err)
	}
	st.log.WarnContext(ctx, session.EventStoreUnavailable, "error", err)
	return nil
}

// isBusy reports whether another process holds the SQLite file.
func isBusy(err error) bool {
	const busy, locked = 5, 6 // https://www.sqlite.org/rescode.html
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()&0xff == busy || e.Code()&0xff == locked
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// ping reports whether the store answers. Memory and cookies always do.
func (st *stores) ping(ctx context.Context) error {
	if st.database == nil {
		return nil
	}
	_, err := st.database.Get(ctx, "ping")
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func (st *stores) close() {
	if st.db != nil {
		_ = st.db.Close() // all that was to be written has been
	}
}
