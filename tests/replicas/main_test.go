// Package replicas_test runs several processes of the dashboard, as one app
// behind a load balancer, over each database, and looks at what their users
// see while processes die and stand still, databases are gone, and people sign
// out.
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

// database is where the processes of an app meet.
type database struct {
	driver  string // as sql.Open names it, or redis
	dsn     string
	address string         // as in the settings of the dashboard
	file    string         // of SQLite
	server  *dbtest.Server // of the others
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

// mode is what the processes have in the database.
type mode string

const (
	stored  mode = "sessions"    // sessions
	cookies mode = "coordinator" // what cookie sessions share
)

var modes = []mode{stored, cookies}

// test does everything with one database, and looks for secrets in it when all
// is over. It does so in the usual mode only. LONG=1 uses both modes.
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
