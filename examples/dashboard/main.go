// Command dashboard is a small web app with pages for signed-in users, for
// admins and for analysts.
//
//	go run ./examples/dashboard
//
// By default it starts its own auth service and prints the test accounts. Set
// AUTH_URL to use another auth service. The flag -help lists the settings.
//
// The file settings.go reads the settings, and stores.go opens the stores. The
// file app.go lists the routes and their guards. The files nethttp.go, echo.go,
// gin.go and echo5.go mount the routes on a router. The handlers are in pages.go,
// api.go, values.go, acting.go, upstream.go and health.go. The file metrics.go serves
// metrics on another address. docs/dashboard.md describes the program as its users see it.
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

// At the end, the program waits shutdownTimeout for requests and refreshes. The
// last part, refreshTimeout, is reserved for refreshes.
const (
	shutdownTimeout = 10 * time.Second
	refreshTimeout  = time.Second / 2
)

// run runs the program until ctx is done. It returns the exit status: 2 for an
// invalid setting, and 1 for a failure at run time.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	s, err := readSettings(args, getenv)
	switch {
	case errors.Is(err, flag.ErrHelp):
		printUsage(stdout)
		return 0
	case err != nil:
		printError(stderr, err)
		return 2
	}
	log := s.logger(stderr)
	if s.authURL == "" {
		own, err := authtest.Start(ownAuth(s, stdout))
		if err != nil {
			printError(stderr, err)
			return 1
		}
		defer own.Close()
		s.ownAuth, s.authURL = own, own.URL
	}
	return runApp(ctx, s, log, stdout, stderr)
}

// ownAuth returns the settings of the auth service in this process. It prints its
// e-mails.
func ownAuth(s settings, stdout io.Writer) authtest.Options {
	return authtest.Options{
		Secret:       s.tokens.key, // nil: a random one
		Accounts:     seed.Accounts(),
		NoActivation: s.register == "verify",
		VerifyEmails: s.register == "verify",
		LostPassword: true,
		SelfDelete:   true,
		OnEmail: func(m authtest.Email) error {
			seed.PrintEmail(stdout, m)
			return nil
		},
	}
}

// runApp runs the app with an auth service at s.authURL. It returns the exit
// status, like run.
func runApp(ctx context.Context, s settings, log *slog.Logger, stdout, stderr io.Writer) int {
	err := serveApp(ctx, s, log, stdout)
	if err == nil {
		return 0
	}
	printError(stderr, err)
	if invalid := (settingError{}); errors.As(err, &invalid) || errors.Is(err, errKeyFile) {
		return 2
	}
	return 1
}

// settingError is an error of session.New: a setting is invalid.
type settingError struct{ err error }

// Error names the setting, and not the field of session.Config.
func (e settingError) Error() string { return fieldNames.Replace(e.err.Error()) }

// serveApp serves the app until ctx is done.
func serveApp(ctx context.Context, s settings, log *slog.Logger, stdout io.Writer) error {
	verifier, err := s.tokens.verifier()
	if err != nil {
		return err
	}
	// The client has no WithTimeout: a refresh may take longer than AUTH_TIMEOUT, the
	// time that a request waits for it.
	auth := synmetrix.NewClient(s.authURL, synmetrix.WithLogger(log))
	defer auth.CloseIdleConnections()
	st, err := openStores(s, log)
	if err != nil {
		return err
	}
	defer st.close()

	cfg := s.config()
	cfg.Auth, cfg.Store, cfg.Coordinator, cfg.Logger = auth, st.sessions, st.coordinator, log
	cfg.Verifier = verifier
	if len(cfg.Keys) == 0 {
		cfg.Keys = []session.SecretKey{session.GenerateKey()}
	}
	metrics, cfg, err := newMetrics(s.metrics, cfg)
	if err != nil {
		return err
	}
	manager, err := session.New(cfg)
	if err != nil {
		return settingError{err}
	}
	if err := st.check(ctx); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	stopMetrics, err := metrics.start(stdout, log)
	if err != nil {
		return err
	}
	defer stopMetrics()
	announce(s, listener.Addr(), log, stdout)
	return serve(ctx, listener, newApp(s, manager, auth.Ping, st.ping).handler(), manager, log)
}

// announce prints where the app listens. It also sets where the links in e-mails of the
// auth service in this process lead.
func announce(s settings, addr net.Addr, log *slog.Logger, stdout io.Writer) {
	if s.ownAuth != nil {
		seed.Print(stdout)
		callback := "http://" + addr.String() + s.basePath + "/callback"
		s.ownAuth.SetRedirects(callback, callback)
	}
	if len(s.keys) == 0 {
		log.Warn("SESSION_KEYS is not set: all sessions end with this process")
	}
	fmt.Fprintf(stdout, "listening on http://%s\n", addr)
}

// printError prints an error in one line. It replaces control characters, because
// an error may quote a name with line breaks.
func printError(w io.Writer, err error) {
	fmt.Fprintln(w, strings.Join(strings.FieldsFunc(err.Error(), unicode.IsControl), " "))
}

// serve serves requests until ctx is done. Then it ends event streams, and waits for
// other running requests and for refreshes.
func serve(ctx context.Context, l net.Listener, h http.Handler, m *session.Manager, log *slog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(m.EndStreams)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end := time.Now().Add(shutdownTimeout)
	requests, cancel := context.WithDeadline(context.Background(), end.Add(-refreshTimeout))
	defer cancel()
	if err := server.Shutdown(requests); err != nil {
		log.Warn("requests were aborted", "error", err)
		_ = server.Close() // an error would not matter: the program ends
	}
	refreshes, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	if err := m.Shutdown(refreshes); err != nil {
		log.Warn("refreshes were aborted", "error", err)
	}
	return nil
}
