package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/synmetrix/session/store/sqlstore"
)

// If the app has no permission to create tables, print the statements for an operator.
func ExampleStore_Schema() {
	db := sql.OpenDB(connector{}) // sql.Open("pgx", address) with a driver
	defer db.Close()
	sessions, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL, Table: "web_sessions"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.ReplaceAll(sessions.Schema(), "; ", ";\n"))
	// Output:
	// CREATE TABLE "web_sessions" (session_key TEXT COLLATE "C" NOT NULL PRIMARY KEY, owner TEXT COLLATE "C" NOT NULL, version BIGINT NOT NULL, data BYTEA NOT NULL, meta BYTEA NOT NULL, expires_at BIGINT NOT NULL);
	// CREATE INDEX "web_sessions_owner" ON "web_sessions" (owner);
	// CREATE INDEX "web_sessions_expires_at" ON "web_sessions" (expires_at)
}

// A program should stop at startup if the table is wrong, and start anyway if the
// database is down.
func ExampleSchemaError() {
	start := func(err error) string {
		var wrong *sqlstore.SchemaError
		switch {
		case err == nil:
			return "started"
		case errors.As(err, &wrong):
			return "stopped, fix the table: " + wrong.Problem
		}
		return "started without the database"
	}
	fmt.Println(start(nil))
	fmt.Println(start(fmt.Errorf("setup: %w", &sqlstore.SchemaError{Table: "sessions", Problem: "column owner is missing"})))
	fmt.Println(start(sql.ErrConnDone))
	// Output:
	// started
	// stopped, fix the table: column owner is missing
	// started without the database
}
