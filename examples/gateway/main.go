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
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"

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
	log.Fatal(http.Serve(l, newGateway(m, upstream, cmp.Or(os.Getenv("ROLE"), "admin"))))
}

func newManager(authURL string) (*session.Manager, error) {
	return session.New(session.Config{
		Auth:   synmetrix.NewClient(authURL),
		Keys:   []session.SecretKey{session.GenerateKey()}, // from the environment, where sessions are to outlive the process
		Cookie: session.Cookie{Name: cookieName},
	})
}
