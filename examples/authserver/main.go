// Command authserver runs the in-process auth service of package authtest as a
// program of its own, with a few accounts, for trying an app against it.
//
//	go run ./examples/authserver -access-life 10s -fault refresh:status=503,times=3
//
// Settings are environment variables or flags; a flag beats its variable.
//
//	ADDR         -addr         where to listen; port 0 picks a free one (127.0.0.1:8081)
//	ACCESS_LIFE  -access-life  life of an access token, a Go duration (15m)
//	MODE         -mode         strict: a refresh token is good for one use, and a second one
//	                           ends the session; lax: as the real service behaves (strict)
//	             -fault        makes an endpoint fail; may be repeated, see -help
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/synmetrix/session/authtest"
	"github.com/synmetrix/session/examples/internal/seed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program. It returns the exit status: 2 for a setting that cannot
// be used, 1 for a failure to listen.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	opts, faults, err := settings(args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	opts.Accounts = seed.Accounts()
	srv, err := authtest.Start(opts)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	for _, f := range faults {
		srv.Inject(f.endpoint, f.Fault)
	}
	seed.Print(stdout)
	fmt.Fprintln(stdout, "listening on", srv.URL)

	<-ctx.Done()
	patience, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = srv.Shutdown(patience) // whoever is not done by now hangs in a fault
	return 0
}

const usage = `usage: authserver [-addr HOST:PORT] [-access-life DURATION] [-mode strict|lax] [-fault FAULT]...

  -addr, ADDR                where to listen; port 0 picks a free one (default 127.0.0.1:8081)
  -access-life, ACCESS_LIFE  life of an access token, 1s or more (default 15m)
  -mode, MODE                strict, or lax as the real service is (default strict)
  -fault                     ENDPOINT:PART,PART... as in refresh:status=503,times=3

  ENDPOINT  ` + endpointNames + `
  PART      times=N  delay=DURATION  drip=DURATION  status=N  body=TEXT  location=URL
            deliver=` + deliveryNames + `
            edit=` + editNames + `  carry-out
`

// settings reads flags and environment. Its error is one line, which names the
// setting and says what is allowed.
func settings(args []string, getenv func(string) string) (authtest.Options, []fault, error) {
	var opts authtest.Options
	var faults []fault
	flags := flag.NewFlagSet("authserver", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	addr := flags.String("addr", "", "")
	life := flags.String("access-life", "", "")
	mode := flags.String("mode", "", "")
	flags.Func("fault", "", func(spec string) error {
		f, err := parseFault(spec)
		faults = append(faults, f)
		return err
	})
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return opts, nil, err
	case err != nil:
		return opts, nil, fmt.Errorf("%w (see -help)", err)
	case flags.NArg() > 0:
		return opts, nil, fmt.Errorf("unexpected argument %q: settings are flags (see -help)", flags.Arg(0))
	}

	opts.Addr = cmp.Or(*addr, getenv("ADDR"), "127.0.0.1:8081")
	if _, port, err := net.SplitHostPort(opts.Addr); err != nil || !isPort(port) {
		return opts, nil, fmt.Errorf("ADDR: %q is not HOST:PORT with a port from 0 to 65535", opts.Addr)
	}
	text := cmp.Or(*life, getenv("ACCESS_LIFE"), "15m")
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return opts, nil, fmt.Errorf("ACCESS_LIFE: %q is not a duration of 1s or more, such as 15m", text)
	}
	opts.AccessLife = d
	switch text := cmp.Or(*mode, getenv("MODE"), "strict"); text {
	case "strict":
	case "lax":
		opts.Lax = true
	default:
		return opts, nil, fmt.Errorf("MODE: %q is neither strict nor lax", text)
	}
	return opts, faults, nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}
