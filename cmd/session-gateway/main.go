// Command session-gateway is a reverse proxy that requires a sign-in. It protects HTTP
// services that have no sign-in, as a configuration file describes.
//
//	session-gateway -config gateway.yaml
//	session-gateway -config gateway.yaml -config-test
//
// The file file.go has the settings in the configuration file, and settings.go checks them.
// The file stores.go opens the store of the sessions, serve.go serves requests, and
// admin.go has the health checks. Package gateway has the reverse proxy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
	"github.com/synmetrix/session/synmetrix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// usage is the text of -help.
const usage = `usage: session-gateway [-config FILE] [-config-test]

  -config FILE   the configuration file (default gateway.yaml)
  -config-test   check the configuration and the keys, print all errors and exit;
                 nothing is opened or called, except files that the configuration names
  -help          print this text

Secrets are in the environment, or in a file that NAME_FILE names:
  SESSION_KEYS   comma-separated base64 secrets of 32 bytes or more, newest first; required
  STORE_DSN      address of the session store if it is
                 postgres  postgres://USER:PASSWORD@HOST/DATABASE
                 mysql     USER:PASSWORD@tcp(HOST:PORT)/DATABASE
                 redis     redis://USER:PASSWORD@HOST:PORT/NUMBER, or rediss:// for TLS
  JWT_KEY        shared secret of the auth service, to accept bearer tokens and to
                 check tokens; instead of jwt.jwks_url and jwt.public_keys

The settings in the configuration file are described in docs/gateway.md.
Exit status: 0 after SIGTERM or SIGINT, 1 after a failure, 2 if a setting is invalid.
`

// run runs the program until ctx is done. It returns the exit status.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("session-gateway", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	name := flags.String("config", "gateway.yaml", "")
	testOnly := flags.Bool("config-test", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil || flags.NArg() > 0:
		printErrors(stderr, errors.Join(err, errors.New("see session-gateway -help")))
		return 2
	}
	s, err := readSettings(*name, getenv)
	if s != nil {
		err = errors.Join(err, s.test())
	}
	if err != nil {
		printErrors(stderr, err)
		return 2
	}
	if *testOnly {
		fmt.Fprintf(stdout, "%s is valid\n", *name)
		return 0
	}
	if err := runGateway(ctx, s, stdout, stderr); err != nil {
		printErrors(stderr, err)
		return 1
	}
	return 0
}

// runGateway runs the gateway until ctx is done.
func runGateway(ctx context.Context, s *settings, stdout, stderr io.Writer) error {
	log := s.logger(stderr)
	st, err := openStore(s, log)
	if err != nil {
		return err
	}
	defer st.close()
	if err := st.check(ctx); err != nil {
		return err
	}
	// The client has no WithTimeout: a refresh may take longer than a request waits.
	auth := synmetrix.NewClient(s.file.AuthURL, synmetrix.WithLogger(log))
	defer auth.CloseIdleConnections()
	cfg := s.session
	cfg.Auth, cfg.Store, cfg.Logger = auth, st.sessions, log
	cfg, metrics, err := instrument(cfg)
	if err != nil {
		return err
	}
	m, err := session.New(cfg)
	if err != nil {
		return err
	}
	gcfg := s.gateway
	gcfg.Manager = m
	g, err := gateway.New(gcfg)
	if err != nil {
		return err
	}
	defer g.CloseIdleConnections()
	admin := newAdmin(auth.Ping, st.ping, metrics)
	if s.file.AuthRequest != nil {
		h, err := g.AuthHandler()
		if err != nil {
			return err
		}
		admin.Handle("/auth", h)
	}
	return serve(ctx, s, log, stdout, g, admin, m)
}
