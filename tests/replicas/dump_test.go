package replicas_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/securecookie"
)

// testDump searches the database for secrets. The database together with SESSION_KEYS
// reveals no token, session ID or address, and opens no record.
func (db *database) testDump(t *testing.T, keys secretKeys, clusters []*cluster) {
	rows := db.dump(t)
	opened := 0
	for _, c := range clusters {
		c.service.keep("a User-Agent field", "Go-http-client/1.1") // in the lists of sessions
		for _, l := range c.logins {
			id := c.sessionID(t, l.jar)
			c.service.keep("a session's ID", string(id), hex.EncodeToString(id), base64.RawURLEncoding.EncodeToString(id), base64.RawStdEncoding.EncodeToString(id))
		}
		for _, r := range rows {
			for _, column := range r.columns {
				c.service.search(t, "a row of the database", column)
				if plain, err := base64.URLEncoding.DecodeString(string(column)); err == nil {
					c.service.search(t, "a row of the database, decoded", plain)
				}
			}
		}
		for _, file := range []string{db.file, db.file + "-wal", db.file + "-shm"} {
			if raw, err := os.ReadFile(file); err == nil {
				c.service.search(t, "the file of the database", raw)
			}
		}
		// With a browser's cookie its record opens, and has the secrets.
		for _, l := range c.logins {
			id := c.sessionID(t, l.jar)
			for _, secret := range keys.secrets() {
				plain := rows[recordKey(id)].open(recordSeal(secret, id))
				if plain != nil {
					opened++
					if !bytes.Contains(plain, uuidBytes(l.user.id)) {
						t.Error("a record is not that of its user")
					}
				}
			}
		}
	}
	if opened < 10 {
		t.Errorf("%d records are of the test's own browsers: too few to show anything", opened)
	}
	// Without a cookie no record opens, with any part of the row in place of the ID.
	tried := 0
	for _, r := range rows {
		if tried++; tried > 50 {
			break // all rows have the same form
		}
		for _, secret := range keys.secrets() {
			seals := []sealKeys{cookieSeal(secret)}
			guesses := [][]byte{nil, make([]byte, 32)}
			for _, column := range r.columns {
				if plain, err := hex.DecodeString(string(column)); err == nil {
					guesses = append(guesses, column, plain)
				}
			}
			for _, guess := range guesses {
				seals = append(seals, recordSeal(secret, guess), seal(secret, guess, "record"))
			}
			for _, s := range seals {
				if r.open(s) != nil {
					t.Fatal("a record opens without a browser's cookie")
				}
			}
		}
	}
	t.Logf("%d rows, %d of them opened with the cookies of their browsers", len(rows), opened)
}

// row is a row of the table of sessions.
type row struct {
	key     string
	columns [][]byte
}

// open returns the contents of the first column that opens with s, nil if none does.
func (r row) open(k sealKeys) []byte {
	for _, column := range r.columns {
		if len(column) < 60 {
			continue // not sealed
		}
		for _, purpose := range []string{"record", "tokens", "state", "id"} {
			if plain := k.open("1 "+purpose+" "+r.key, string(column)); plain != nil {
				return plain
			}
			if plain := k.openBytes("2 "+purpose+" "+r.key, column); plain != nil {
				return plain
			}
		}
	}
	return nil
}

// dump returns the rows of the table by their keys. It fails the test if there is another
// table.
func (db *database) dump(t *testing.T) map[string]row {
	t.Helper()
	if db.driver == redis {
		return db.dumpRedis(t)
	}
	conn := db.open(t)
	tables := map[string]string{
		"sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
		"pgx":    "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
		"mysql":  "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()",
	}
	var table string
	if err := conn.QueryRow(tables[db.driver]).Scan(&table); err != nil || table != "sessions" {
		t.Fatalf("table %q, error %v", table, err)
	}
	found, err := conn.Query("SELECT * FROM sessions")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]row{}
	for found.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(sql.RawBytes)
		}
		if err := found.Scan(values...); err != nil {
			t.Fatal(err)
		}
		var r row
		for i, v := range values {
			column := bytes.Clone(*v.(*sql.RawBytes))
			r.columns = append(r.columns, column)
			if names[i] == "session_key" {
				r.key = string(column)
			}
		}
		rows[r.key] = r
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

func (db *database) open(t *testing.T) *sql.DB {
	t.Helper()
	conn, err := sql.Open(db.driver, db.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// The rest of this file is the code of an attacker who has SESSION_KEYS and this module's
// source.

func (k secretKeys) secrets() [][]byte {
	var secrets [][]byte
	for _, key := range k {
		secret, _ := base64.RawURLEncoding.DecodeString(key.Encode())
		secrets = append(secrets, secret)
	}
	return secrets
}

func derive(secret, salt []byte, info string) []byte {
	key, _ := hkdf.Key(sha256.New, secret, salt, "synmetrix/session 1 "+info, sha256.Size)
	return key
}

// sealKeys are the keys of a seal.
type sealKeys struct{ hash, block []byte }

func seal(secret, salt []byte, what string) sealKeys {
	return sealKeys{derive(secret, salt, what+" hash"), derive(secret, salt, what+" block")}
}

func cookieSeal(secret []byte) sealKeys { return seal(secret, nil, "cookie") }

func recordSeal(secret, id []byte) sealKeys {
	keys, _ := hkdf.Expand(sha256.New, derive(secret, nil, "record"), "synmetrix/session 1 record "+string(id), 2*sha256.Size)
	return sealKeys{keys[:sha256.Size], keys[sha256.Size:]}
}

// open opens a sealed text, as in cookies. It returns nil if the text does not open.
func (k sealKeys) open(name, sealed string) []byte {
	var plain []byte
	sc := securecookie.New(k.hash, k.block).MaxAge(0).MaxLength(0).SetSerializer(securecookie.NopEncoder{})
	if sc.Decode(name, sealed, &plain) != nil {
		return nil
	}
	return plain
}

// openBytes opens sealed bytes, as in a store. It returns nil if they do not open.
func (k sealKeys) openBytes(name string, sealed []byte) []byte {
	end := len(sealed) - sha256.Size
	if end <= aes.BlockSize {
		return nil
	}
	mac := hmac.New(sha256.New, k.hash)
	mac.Write([]byte(name + "|"))
	mac.Write(sealed[:end])
	if !hmac.Equal(mac.Sum(nil), sealed[end:]) {
		return nil
	}
	block, err := aes.NewCipher(k.block)
	if err != nil {
		panic(err) // the keys have 32 bytes
	}
	plain := make([]byte, end-aes.BlockSize)
	cipher.NewCTR(block, sealed[:aes.BlockSize]).XORKeyStream(plain, sealed[aes.BlockSize:end])
	return plain
}

func recordKey(id []byte) string {
	sum := sha256.Sum256(id)
	return hex.EncodeToString(sum[:])
}

// sessionID returns the ID in a browser's cookie.
func (c *cluster) sessionID(t *testing.T, j jar) []byte {
	t.Helper()
	purpose := map[mode]string{stored: "id", cookies: "tokens"}[c.mode]
	for _, secret := range c.keys.secrets() {
		if plain := cookieSeal(secret).open("1 "+purpose+" "+mainCookie, j[mainCookie]); plain != nil {
			return plain[:32]
		}
	}
	t.Fatal("a cookie does not open with the keys")
	return nil
}

// keep adds secrets that must not be found.
func (s *service) keep(what string, forms ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, form := range forms {
		s.secrets[form] = what
	}
}

func uuidBytes(text string) []byte {
	b, _ := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	return b
}

// grain is the number of bytes of a form that are looked up together. All forms are
// longer.
const grain = 12

// search fails the test if data contains a secret in any form.
func (s *service) search(t *testing.T, where string, data []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.index) == 0 || s.indexed != len(s.secrets) {
		s.makeIndex()
	}
	for i := 0; i+grain <= len(data); i++ {
		for _, form := range s.index[[grain]byte(data[i:])] {
			if bytes.HasPrefix(data[i:], []byte(form.text)) {
				t.Fatalf("%s is in %s", form.what, where)
			}
		}
	}
}

type form struct{ text, what string }

func (s *service) makeIndex() {
	s.index, s.indexed = map[[grain]byte][]form{}, len(s.secrets)
	for secret, what := range s.secrets {
		forms := []string{secret}
		if parts := strings.Split(secret, "."); what == "an access token" {
			// The first part is the same in all tokens, and not secret.
			for _, part := range parts[1:] {
				raw, _ := base64.RawURLEncoding.DecodeString(part)
				forms = append(forms, part, string(raw))
			}
		}
		if raw := uuidBytes(secret); len(raw) == 16 {
			forms = append(forms, hex.EncodeToString(raw), string(raw))
		}
		for _, f := range forms {
			if len(f) < grain {
				panic(fmt.Sprintf("%s of %d bytes is too short to be looked for", what, len(f)))
			}
			key := [grain]byte([]byte(f))
			s.index[key] = append(s.index[key], form{f, what})
		}
	}
}
