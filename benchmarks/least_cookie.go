package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"sync"
	"time"
)

const leastCookieSeen = "least code, cookie"

func init() {
	register(contender{
		name: leastCookieSeen, router: netHTTP, session: "sealed in a cookie (AES-GCM), opened before", less: notInOne + "; no revocation; the idle timeout is that of one process",
		open: openLeastCookie,
	})
}

var leastSeal = func() cipher.AEAD {
	block, err := aes.NewCipher(blockKey)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return aead
}()

// maxOpened bounds the opened cookies that are kept.
const maxOpened = 4096

func openLeastCookie(*env) (http.Handler, error) {
	var mu sync.RWMutex
	opened := map[[sha256.Size]byte]*leastSession{} // by the hash of the value
	return leastApp(
		func(value string) *leastSession {
			key := sha256.Sum256([]byte(value))
			mu.RLock()
			s := opened[key]
			mu.RUnlock()
			if s != nil {
				return s
			}
			if s = openLeast(value); s != nil {
				mu.Lock()
				defer mu.Unlock()
				if len(opened) >= maxOpened {
					clear(opened)
				}
				opened[key] = s
			}
			return s
		},
		func(a account) (string, error) { return sealLeast(a, time.Now()), nil }), nil
}

// sealLeast returns the value of a cookie: a nonce, and the sealed time of the login and
// tokens.
func sealLeast(a account, now time.Time) string {
	nonce := make([]byte, leastSeal.NonceSize(), 1024)
	_, _ = rand.Read(nonce) // never fails
	plain := binary.BigEndian.AppendUint64(make([]byte, 0, 1024), uint64(now.Unix()))
	plain = append(append(append(plain, a.tokens.RefreshToken...), ' '), a.tokens.AccessToken...)
	return base64.RawURLEncoding.EncodeToString(leastSeal.Seal(nonce, nonce, plain, nil))
}

// openLeast returns the session in the value of a cookie, nil if the value is invalid.
func openLeast(value string) *leastSession {
	sealed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil || len(sealed) < leastSeal.NonceSize() {
		return nil
	}
	nonce, text := sealed[:leastSeal.NonceSize()], sealed[leastSeal.NonceSize():]
	plain, err := leastSeal.Open(nil, nonce, text, nil)
	if err != nil {
		return nil
	}
	login := time.Unix(int64(binary.BigEndian.Uint64(plain)), 0)
	refresh, access, _ := strings.Cut(string(plain[8:]), " ")
	s, err := newLeastSession(access, refresh, login)
	if err != nil {
		return nil
	}
	s.lastUsed.Store(time.Now().Unix()) // the idle timeout is that of this process
	return s
}
