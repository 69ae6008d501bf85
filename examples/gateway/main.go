// Command gateway protects an internal HTTP service, including its WebSockets,
// that has no sign-in. Only users with a certain role can reach the service. The
// gateway sends it the user's ID and roles in header fields.
//
//	go run ./examples/authserver
//	UPSTREAM=http://127.0.0.1:3000 go run ./examples/gateway
//
// The service must be reachable only through the gateway. Clients that reach it
// directly can forge the header fields.
//
// Command session-gateway does the same with a configuration file. Your own program, such
// as this one, can add routes and middleware.
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
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
	"github.com/synmetrix/session/synmetrix"
)

// within calls stop with a context that ends after d.
func within(d time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return stop(ctx)
}

// cookieName is the name of the gateway's cookies. The service never receives or sets
// cookies with this name.
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
	g, err := newGateway(m, upstream, cmp.Or(os.Getenv("ROLE"), "admin"))
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:8080"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", l.Addr())
	server := &http.Server{Handler: g, ReadHeaderTimeout: 10 * time.Second}
	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	<-stop.Done()
	g.EndStreams()
	// Wait for requests and refreshes. Refreshes have a separate timeout, even if a request
	// hangs.
	if err := errors.Join(within(10*time.Second, server.Shutdown), within(10*time.Second, m.Shutdown)); err != nil {
		log.Print(err)
	}
}

func newManager(authURL string) (*session.Manager, error) {
	return session.New(session.Config{
		Auth:   synmetrix.NewClient(authURL),
		Keys:   []session.SecretKey{session.GenerateKey()}, // in production, load a key from the environment
		Cookie: session.Cookie{Name: cookieName},
	})
}

// newGateway returns a handler that forwards the requests of users with the role
// to upstream.
func newGateway(m *session.Manager, upstream *url.URL, role string) (*gateway.Gateway, error) {
	return gateway.New(gateway.Config{
		Manager: m,
		Upstreams: []gateway.Upstream{{
			Path: "/", URL: upstream, Roles: []string{role},
			Headers: []gateway.Header{gateway.User, gateway.Roles},
		}},
	})
}
