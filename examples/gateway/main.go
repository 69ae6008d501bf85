// Command gateway puts a sign-in in front of an internal web service that has
// none: any HTTP service, its WebSockets included. Only users with a role get
// to it, and it learns from headers who they are.
//
//	go run ./examples/authserver
//	UPSTREAM=http://127.0.0.1:3000 go run ./examples/gateway
//
// The service must not be reachable but through the gateway: whoever reaches
// it otherwise can write the headers as he likes.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/synmetrix"
)

// cookieName is ours alone: cookies whose names begin with it stay here.
const cookieName = "gateway"

func main() {
	upstream, err := url.Parse(cmp.Or(os.Getenv("UPSTREAM"), "http://127.0.0.1:3000"))
	if err != nil || upstream.Host == "" {
		log.Fatal("UPSTREAM must be the address of an HTTP service")
	}
	m, err := newManager(cmp.Or(os.Getenv("AUTH_URL"), "http://127.0.0.1:8081"))
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	server := &http.Server{Handler: newGateway(m, upstream, cmp.Or(os.Getenv("ROLE"), "admin")), ReadHeaderTimeout: 10 * time.Second}
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-stop.Done()
	// What is running may end, but for WebSockets, and so may a refresh.
	patience, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(server.Shutdown(patience), m.Shutdown(patience)); err != nil {
		log.Print(err)
	}
}

func newManager(authURL string) (*session.Manager, error) {
	return session.New(session.Config{
		Auth:   synmetrix.NewClient(authURL),
		Keys:   []session.SecretKey{session.GenerateKey()}, // from the environment, where sessions are to outlive the process
		Cookie: session.Cookie{Name: cookieName},
	})
}
