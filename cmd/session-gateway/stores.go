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
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/rueidis"
	_ "modernc.org/sqlite"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/store/redisstore"
	"github.com/synmetrix/session/store/sqlstore"
)

// place is where the sessions are stored, as parsed from the settings.
type place struct {
	kind  string // as in the configuration file
	file  string // of SQLite
	pg    *pgx.ConnConfig
	mysql *mysql.Config
	redis rueidis.ClientOption
}

// place reads where the sessions are stored. Its errors never quote the address, which
// contains a password.
func (r *reader) place(f sessionFile) place {
	p := place{kind: f.Store, file: f.File}
	if p.kind == "" {
		p.kind = "cookie"
	}
	if (f.File != "") != (p.kind == "sqlite") {
		r.fail("session.file", "is the database file of the store sqlite, and for no other store")
	}
	dsn := r.secret("STORE_DSN")
	switch p.kind {
	case "cookie", "memory", "sqlite":
		if dsn != "" {
			r.fail("STORE_DSN", "is for the stores postgres, mysql and redis")
		}
		return p
	case "postgres", "mysql", "redis":
		if dsn == "" {
			r.fail("STORE_DSN", "is required in the environment for the store %s", p.kind)
			return p
		}
	default:
		r.fail("session.store", "must be cookie, memory, sqlite, postgres, mysql or redis")
		return p
	}
	var err error
	switch p.kind {
	case "postgres":
		p.pg, err = pgx.ParseConfig(dsn)
	case "mysql":
		p.mysql, err = mysql.ParseDSN(dsn)
	case "redis":
		p.redis, err = rueidis.ParseURL(dsn)
	}
	if err != nil {
		r.fail("STORE_DSN", "must be an address of the store %s; see -help", p.kind)
	}
	return p
}

// openedStore is the session store. sessions is nil for sessions in cookies.
type openedStore struct {
	place    place
	log      *slog.Logger
	sessions store.Store
	db       *sql.DB
	database *sqlstore.Store
	client   rueidis.Client
	redis    *redisstore.Store
}

// maxConnections bounds the connections to a database. By default PostgreSQL accepts 100
// connections in all.
const maxConnections = 20

// openStore opens the session store, which may be down.
func openStore(s *settings, log *slog.Logger) (*openedStore, error) {
	st := &openedStore{place: s.place, log: log}
	var err error
	switch s.place.kind {
	case "memory":
		st.sessions = memstore.New()
	case "sqlite":
		err = st.openSQLite()
	case "postgres":
		err = st.openDatabase(stdlib.OpenDB(*s.place.pg), sqlstore.PostgreSQL)
	case "mysql":
		s.place.mysql.Logger = slog.NewLogLogger(log.Handler(), slog.LevelDebug) // the store's errors have the same information
		connector, connectorErr := mysql.NewConnector(s.place.mysql)
		if err = connectorErr; err == nil {
			err = st.openDatabase(sql.OpenDB(connector), sqlstore.MySQL)
		}
	case "redis":
		err = st.openRedis()
	}
	if err != nil {
		st.close()
		return nil, fmt.Errorf("session store: %w", err)
	}
	return st, nil
}

// openSQLite opens a file that only this user can read.
func (st *openedStore) openSQLite() error {
	path, err := filepath.Abs(st.place.file)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	// In a plain file name, the driver would interpret some characters.
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path}).String())
	if err != nil {
		return err
	}
	return st.openDatabase(db, sqlstore.SQLite)
}

func (st *openedStore) openDatabase(db *sql.DB, dialect sqlstore.Dialect) error {
	st.db = db
	db.SetMaxOpenConns(maxConnections)
	db.SetMaxIdleConns(maxConnections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	var err error
	st.database, err = sqlstore.New(db, sqlstore.Config{Dialect: dialect, Logger: st.log})
	st.sessions = st.database
	return err
}

// openRedis opens the store in Redis, as docs/stores.md describes.
func (st *openedStore) openRedis() error {
	option := st.place.redis
	option.ForceSingleClient = len(option.InitAddress) == 1 && option.Sentinel.MasterSet == "" // starts even if the server is down
	option.Dialer = net.Dialer{Timeout: 2 * time.Second, KeepAlive: time.Second / 2}
	option.ConnWriteTimeout = time.Second
	option.RetryDelay = func(attempts int, _ rueidis.Completed, _ error) time.Duration {
		if attempts > 3 {
			return -1
		}
		return 10 * time.Millisecond
	}
	var err error
	if st.client, err = rueidis.NewClient(option); st.client == nil {
		return err
	}
	st.redis, err = redisstore.New(st.client, redisstore.Config{Logger: st.log})
	st.sessions = st.redis
	return err
}

// check checks the table in the database, and creates it if it is missing. It returns
// only permanent errors. If the store is down, check logs a warning, as it may recover.
func (st *openedStore) check(ctx context.Context) error {
	var err error
	if st.database != nil {
		err = st.database.Setup(ctx)
		var wrong *sqlstore.SchemaError
		if errors.As(err, &wrong) {
			return fmt.Errorf("session store: %w", err)
		}
	} else {
		err = st.ping(ctx)
	}
	if err != nil {
		st.log.WarnContext(ctx, session.EventStoreUnavailable, "error", err)
	}
	return nil
}

// ping returns an error if the store is not available.
func (st *openedStore) ping(ctx context.Context) error {
	if st.redis != nil {
		return st.redis.Ping(ctx)
	}
	if st.database == nil {
		return nil
	}
	if _, err := st.database.Get(ctx, "ping"); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

func (st *openedStore) close() {
	if st.db != nil {
		_ = st.db.Close() // all writes are complete
	}
	if st.client != nil {
		st.client.Close()
	}
}
