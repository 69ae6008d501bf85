// Package replicas_test runs several processes of the dashboard with each database, as
// one app behind a load balancer. It checks the responses while processes die or are
// paused, databases are down, and users sign out.
package replicas_test

import (
	"path/filepath"
	"testing"

	"github.com/synmetrix/session/internal/testkit/scale"
	"github.com/synmetrix/session/tests/internal/dbtest"
	"github.com/synmetrix/session/tests/internal/proc"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

func TestMain(m *testing.M) { proc.Main(m, "dashboard") }

// database is a database that the processes of an app share.
type database struct {
	driver  string // of sql.Open, or redis
	dsn     string
	address string         // as in the settings of the dashboard
	file    string         // of SQLite
	server  *dbtest.Server // of the other databases
}

func newSQLite(t *testing.T) *database {
	file := filepath.Join(t.TempDir(), "sessions.db")
	return &database{driver: "sqlite", dsn: file, address: "sqlite:" + file, file: file}
}

func newDatabase(s *dbtest.Server) *database {
	return &database{driver: s.Driver, dsn: s.DSN, address: s.URL, server: s}
}

func TestSQLite(t *testing.T)     { t.Parallel(); newSQLite(t).test(t, cookies) }
func TestPostgreSQL(t *testing.T) { t.Parallel(); newDatabase(dbtest.Postgres(t)).test(t, stored) }
func TestMariaDB(t *testing.T)    { t.Parallel(); newDatabase(dbtest.MariaDB(t)).test(t, cookies) }
func TestRedis(t *testing.T)      { t.Parallel(); newDatabase(dbtest.Redis(t)).test(t, stored) }

// mode is store or coordinator: the use of the database.
type mode string

const (
	stored  mode = "sessions"    // sessions
	cookies mode = "coordinator" // what cookie sessions share
)

var modes = []mode{stored, cookies}

// test runs all tests with one database, and searches it for secrets at the end. By
// default it uses the usual mode only, and with LONG=1 both.
func (db *database) test(t *testing.T, usual mode) {
	both := scale.Long()
	t.Run("start", db.testStart)
	var all []*cluster
	keys := newKeys()
	for _, m := range modes {
		if m != usual && !both {
			continue
		}
		t.Run(string(m), func(t *testing.T) {
			c := newCluster(t, db, m, keys)
			all = append(all, c)
			c.run("a wave", c.testWave)
			c.run("a service that takes 8 s", c.testSlowService)
			if m == stored {
				c.run("writes of many values", c.testValues)
				c.run("sessions", c.testSessions)
			}
			c.run("logout", c.testLogout)
			c.run("sign out everywhere", c.testEverywhere)
			c.run("deaths", c.testDeaths)
			c.run("new keys", c.testNewKeys)
		})
	}
	t.Run("dump", func(t *testing.T) { db.testDump(t, keys, all) })
}
