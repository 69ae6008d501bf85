// Command authserver runs the test auth service of package authtest as a separate
// program, with a few accounts.
//
//	go run ./examples/authserver -access-life 10s -fault refresh:status=503,times=3
//
// It prints e-mails to standard output. Settings are environment variables or
// flags. A flag overrides its variable.
//
//	ADDR         -addr         the address to listen on; port 0 selects a free one (127.0.0.1:8081)
//	ACCESS_LIFE  -access-life  the lifetime of access tokens, a Go duration (15m)
//	MODE         -mode         strict: a refresh token is valid once, and a second use ends
//	                           the session; lax: like the real service (strict)
//	CALLBACK_URL -callback-url the app's /callback, for the links in e-mails
//	                           (http://127.0.0.1:8080/callback)
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
	"net/url"
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

// run runs the program. It returns the exit status: 2 for an invalid setting, and
// 1 if the service cannot listen.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	set, err := readSettings(args, getenv)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stdout, usage)
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	srv, err := authtest.Start(authtest.Options{
		Accounts:     seed.Accounts(),
		Addr:         set.addr,
		AccessLife:   set.accessLife,
		Lax:          set.lax,
		LostPassword: true,
		OnEmail: func(m authtest.Email) error {
			seed.PrintEmail(stdout, m)
			return nil
		},
	})
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	srv.SetRedirects(set.callbackURL, set.callbackURL)
	for _, f := range set.faults {
		srv.Inject(f.endpoint, f.Fault)
	}
	seed.Print(stdout)
	fmt.Fprintln(stdout, "listening on", srv.URL)

	<-ctx.Done()
	patience, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = srv.Shutdown(patience) // an error means that a request hangs in a fault
	return 0
}

const usage = `usage: authserver [flag]...

  -addr, ADDR                  the address to listen on; port 0 selects a free one (default 127.0.0.1:8081)
  -access-life, ACCESS_LIFE    the lifetime of access tokens, 1s or more (default 15m)
  -mode, MODE                  strict, or lax like the real service (default strict)
  -callback-url, CALLBACK_URL  the app's /callback, for the links in e-mails
                               (default http://127.0.0.1:8080/callback)
  -fault                       ENDPOINT:PART,PART... as in refresh:status=503,times=3

  ENDPOINT  ` + endpointNames + `
            or a path such as /auth/register
  PART      times=N  delay=DURATION  drip=DURATION  status=N  body=TEXT  location=URL
            deliver=` + deliveryNames + `
            edit=` + editNames + `  carry-out
            no-token: the service cannot store the new refresh token
            backend-down: the service's database is down
`

type settings struct {
	addr        string
	accessLife  time.Duration
	lax         bool
	callbackURL string
	faults      []fault
}

// readSettings reads the flags and the environment. The error is one line that
// names the setting and the allowed values.
func readSettings(args []string, getenv func(string) string) (settings, error) {
	var set settings
	flags := flag.NewFlagSet("authserver", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	addr := flags.String("addr", "", "")
	life := flags.String("access-life", "", "")
	mode := flags.String("mode", "", "")
	callback := flags.String("callback-url", "", "")
	flags.Func("fault", "", func(spec string) error {
		f, err := parseFault(spec)
		set.faults = append(set.faults, f)
		return err
	})
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return set, err
	case err != nil:
		return set, fmt.Errorf("%w (see -help)", err)
	case flags.NArg() > 0:
		return set, fmt.Errorf("unexpected argument %q: settings are flags (see -help)", flags.Arg(0))
	}

	set.addr = cmp.Or(*addr, getenv("ADDR"), "127.0.0.1:8081")
	if _, port, err := net.SplitHostPort(set.addr); err != nil || !isPort(port) {
		return set, fmt.Errorf("ADDR: %q is not HOST:PORT with a port from 0 to 65535", set.addr)
	}
	text := cmp.Or(*life, getenv("ACCESS_LIFE"), "15m")
	var err error
	if set.accessLife, err = time.ParseDuration(text); err != nil || set.accessLife < time.Second {
		return set, fmt.Errorf("ACCESS_LIFE: %q is not a duration of 1s or more, such as 15m", text)
	}
	switch text := cmp.Or(*mode, getenv("MODE"), "strict"); text {
	case "strict":
	case "lax":
		set.lax = true
	default:
		return set, fmt.Errorf("MODE: %q is neither strict nor lax", text)
	}
	set.callbackURL = cmp.Or(*callback, getenv("CALLBACK_URL"), "http://127.0.0.1:8080/callback")
	if u, err := url.Parse(set.callbackURL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return set, fmt.Errorf("CALLBACK_URL: %q is not an http or https URL", set.callbackURL)
	}
	return set, nil
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}
