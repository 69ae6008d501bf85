// Command dashboard is a small web app with pages for signed-in users, for
// admins and for analysts.
//
//	go run ./examples/dashboard
//
// starts it with an auth service of its own, whose accounts it prints. With
// AUTH_URL it uses one that runs elsewhere. "go run ./examples/dashboard -help"
// lists the settings.
//
// How it is laid out: settings.go reads the settings, stores.go opens what they
// name, app.go says which routes there are and who may use them, nethttp.go,
// echo.go and gin.go mount them on a router; pages.go, api.go and health.go
// answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/seed"
	"github.com/synmetrix/session/synmetrix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// patience is how long requests and refreshes may take to end; the last of it is
// for refreshes alone.
const (
	patience = 10 * time.Second
	lastHalf = time.Second / 2
)

// run is the program until ctx is done. It returns the exit status: 2 for a
// setting that cannot be used, 1 for what fails at run time.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	s, err := readSettings(args, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printUsage(stdout)
		return 0
	case err != nil:
		complain(stderr, err)
		return 2
	}
	log := s.logger(stderr)
	cfg := s.config()
	cfg.Logger = log
	if len(cfg.Keys) == 0 {
		cfg.Keys = []session.SecretKey{session.GenerateKey()}
	}

	authURL := s.authURL
	if authURL == "" {
		own, err := authtest.Start(authtest.Options{Accounts: seed.Accounts()})
		if err != nil {
			complain(stderr, err)
			return 1
		}
		defer own.Close()
		authURL = own.URL
	}
	auth := synmetrix.NewClient(authURL, synmetrix.WithTimeout(s.authTimeout), synmetrix.WithLogger(log))
	defer auth.CloseIdleConnections()
	cfg.Auth = auth
	kept, err := openStores(s, log)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	defer kept.close()
	cfg.Store, cfg.Coordinator = kept.sessions, kept.coordinator

	manager, err := session.New(cfg)
	if err != nil {
		complain(stderr, errors.New(fieldNames.Replace(err.Error())))
		return 2
	}
	if err := kept.check(ctx); err != nil {
		complain(stderr, err)
		return 1
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		complain(stderr, err)
		return 1
	}
	if s.authURL == "" {
		seed.Print(stdout)
	}
	if len(s.keys) == 0 {
		log.Warn("SESSION_KEYS is not set: with this process all sessions end")
	}
	fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	if err := serve(ctx, listener, newApp(s, manager, auth.Ping, kept.ping).handler(), manager, log); err != nil {
		complain(stderr, err)
		return 1
	}
	return 0
}

// complain writes an error in one line: it may quote a name that has several.
func complain(w io.Writer, err error) {
	fmt.Fprintln(w, strings.Join(strings.FieldsFunc(err.Error(), unicode.IsControl), " "))
}

// serve answers requests until ctx is done, and then lets those that run, and
// refreshes, come to their end.
func serve(ctx context.Context, l net.Listener, h http.Handler, m *session.Manager, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end := time.Now().Add(patience)
	requests, cancel := context.WithDeadline(context.Background(), end.Add(-lastHalf))
	defer cancel()
	if err := server.Shutdown(requests); err != nil {
		log.Warn("requests were cut off", "error", err)
		_ = server.Close() // the connections are of no use any more
	}
	refreshes, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	if err := m.Shutdown(refreshes); err != nil {
		log.Warn("refreshes were given up", "error", err)
	}
	return nil
}
