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

// The end of a program: first the server, which lets requests finish, then the
// Manager, which lets refreshes finish. They belong to no request, and one that
// is cut off may have used up a refresh token without anybody having the next.
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
