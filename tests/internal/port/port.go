// Package port has ports for servers that a test starts as another program.
package port

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Clients get their ports from the range that begins at 32768 on Linux and at 49152 on
// other systems. Another test's client could take a port of that range before the server
// listens on it.
const first, last = 20000, 29999

// Free returns the number of a port of 127.0.0.1 that was free at the time of the call, and that no
// client gets.
func Free(t testing.TB) string {
	t.Helper()
	var err error
	for range 100 {
		port := strconv.Itoa(first + rand.IntN(last-first+1))
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatalf("no free port: %v", err)
	return ""
}
