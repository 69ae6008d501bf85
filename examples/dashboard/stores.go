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
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/store/sqlstore"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/rueidis"
	"modernc.org/sqlite"
)

// place is where a store or a coordinator keeps its records.
type place struct {
	kind    string           // cookie, memory, or the scheme of an address, such as "postgres"
	dialect sqlstore.Dialect // of a database
	file    string           // of an SQLite database

	// connect returns a pool of connections to a database, without connecting.
	connect func(*slog.Logger) (*sql.DB, error)

	redis *rueidis.ClientOption // of a Redis server
}

// addressForms are the forms of an address, for messages.
const addressForms = "sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE, mysql://USER:PASSWORD@HOST/DATABASE, " +
	"redis://USER:PASSWORD@HOST/NUMBER, rediss://USER:PASSWORD@HOST/NUMBER"

// parseAddress parses the address of a database or a Redis server. It does not connect.
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
	case "redis", "rediss":
		return redisPlace(address)
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
		// In a plain file name, the driver would interpret some characters.
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

// mysqlPlace parses an address such as mysql://user:password@host:3306/database.
// Its query has parameters of the driver.
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
	// The user and the password are set separately, because the driver's address
	// syntax cannot express every character.
	config, err := mysql.ParseDSN("tcp(" + net.JoinHostPort(u.Hostname(), port) + ")/" + url.PathEscape(database) + "?" + u.RawQuery)
	if err != nil || database == "" {
		return place{}, false
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	return place{kind: "mysql", dialect: sqlstore.MySQL, connect: func(log *slog.Logger) (*sql.DB, error) {
		config.Logger = slog.NewLogLogger(log.Handler(), slog.LevelDebug) // the store's errors have the same information
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, err
		}
		return sql.OpenDB(connector), nil
	}}, true
}

// stores has the stores of the settings STORE and COORDINATOR. They are nil for
// sessions in cookies and for a coordinator in memory, the library's default.
type stores struct {
	sessions, coordinator store.Store

	place    place // of the database or the Redis server, if there is one
	database *sqlstore.Store
	db       *sql.DB
	redis    *redisStore
	log      *slog.Logger
}

// maxConnections bounds the connections of one process. By default PostgreSQL
// accepts 100 connections in all.
const maxConnections = 20

// openStores returns the stores, without connecting to a database.
func openStores(s settings, log *slog.Logger) (*stores, error) {
	st := &stores{log: log, place: s.store}
	target := &st.sessions
	if s.store.kind == "cookie" {
		st.place, target = s.coordinator, &st.coordinator
	}
	switch {
	case s.store.kind == "memory":
		st.sessions = memstore.New()
	case st.place.redis != nil:
		st.redis = newRedisStore(*st.place.redis, redisstore.Config{Timeout: s.storeTimeout, Logger: log})
		*target = st.redis
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

// check checks the table in the database, and creates the table if it is missing.
// It returns only permanent errors: a wrong table, or a file that cannot be
// opened. If the database is down, check logs a warning, as the database may
// recover.
func (st *stores) check(ctx context.Context) error {
	if st.redis != nil {
		if err := st.ping(ctx); err != nil {
			st.log.WarnContext(ctx, session.EventStoreUnavailable, "error", err)
		}
		return nil
	}
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

// isBusy reports whether another process has locked the SQLite file.
func isBusy(err error) bool {
	const busy, locked = 5, 6 // https://www.sqlite.org/rescode.html
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()&0xff == busy || e.Code()&0xff == locked
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// ping returns an error if the database or the Redis server is not available.
func (st *stores) ping(ctx context.Context) error {
	if st.redis != nil {
		return st.redis.Ping(ctx)
	}
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
		_ = st.db.Close() // all writes are complete
	}
	if st.redis != nil {
		st.redis.close()
	}
}
