package session_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
)

// At its end, a program first shuts down the server, which ends streams and waits for
// requests, and then the Manager, which waits for refreshes. Refreshes do not belong to a
// request. If a refresh is interrupted, its refresh token may be used up and the new
// token lost.
func ExampleManager_Shutdown() {
	auth := startAuth(authtest.Options{})
	defer auth.Close()
	m, err := session.New(session.Config{
		Auth: synmetrix.NewClient(auth.URL),
		Keys: []session.SecretKey{session.GenerateKey()},
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: middleware.Sessions(m)(http.NotFoundHandler())}
	server.RegisterOnShutdown(m.EndStreams)
	go func() { _ = server.Serve(listener) }()

	stop, cancel := context.WithCancel(context.Background()) // signal.NotifyContext
	cancel()
	<-stop.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(server.Shutdown(ctx))
	fmt.Println(m.Shutdown(ctx))
	// Output:
	// <nil>
	// <nil>
}
