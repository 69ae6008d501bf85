package redisstore_test

import (
	"fmt"
	"log"
	"net"
	"time"

	"github.com/redis/rueidis"
	"github.com/synmetrix/session/store/redisstore"
)

// With ForceSingleClient, NewClient returns a client even if the server is down. The
// program can start, and the store works as soon as the server does.
func ExampleNew() {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:       []string{"127.0.0.1:1"}, // no server is here
		ForceSingleClient: true,
		// A connection that hangs is closed within 2 seconds.
		Dialer:           net.Dialer{KeepAlive: time.Second / 2},
		ConnWriteTimeout: time.Second,
	})
	if client == nil {
		log.Fatal(err)
	}
	defer client.Close()
	sessions, err := redisstore.New(client, redisstore.Config{})
	fmt.Println(sessions != nil, err)
	// Output: true <nil>
}
