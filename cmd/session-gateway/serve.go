package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/cmd/session-gateway/gateway"
)

// The limits of the servers. There is no limit to the duration of a request or a
// response: streams take as long as they take.
const (
	headerTimeout  = 10 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeader      = 128 << 10       // bytes of a request's header; ten cookies have 40 KiB
	refreshTimeout = 2 * time.Second // the least time for refreshes, after the requests
)

// serve serves requests until ctx is done. Then it ends the streams, and waits for
// other requests and for refreshes.
func serve(ctx context.Context, s *settings, log *slog.Logger, stdout io.Writer, g *gateway.Gateway, admin http.Handler, m *session.Manager) error {
	listener, err := net.Listen("tcp", s.file.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	scheme := "http"
	if s.certificate != nil {
		scheme = "https"
		listener = tls.NewListener(listener, &tls.Config{
			Certificates: []tls.Certificate{*s.certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	failed := make(chan error, 2)
	server := newServer(g, log)
	servers := []*http.Server{server}
	if s.file.Admin != "" {
		adminListener, err := net.Listen("tcp", s.file.Admin)
		if err != nil {
			return err
		}
		adminServer := newServer(admin, log)
		servers = append(servers, adminServer)
		fmt.Fprintf(stdout, "admin on http://%s\n", adminListener.Addr())
		go func() { failed <- adminServer.Serve(adminListener) }()
	}
	fmt.Fprintf(stdout, "listening on %s://%s\n", scheme, listener.Addr())
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		for _, server := range servers {
			_ = server.Close() // err is the one to report
		}
		return err
	case <-ctx.Done():
	}
	stop(s.stopTimeout, log, g, servers, m)
	return nil
}

func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// stop waits for requests and refreshes for up to timeout. After the requests, refreshes
// have at least refreshTimeout.
func stop(timeout time.Duration, log *slog.Logger, g *gateway.Gateway, servers []*http.Server, m *session.Manager) {
	end := time.Now().Add(timeout)
	g.EndStreams()
	requests, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	var wg sync.WaitGroup
	for _, server := range servers {
		wg.Go(func() {
			if err := server.Shutdown(requests); err != nil && !errors.Is(err, http.ErrServerClosed) {
				log.Warn("requests were aborted", "error", err)
				_ = server.Close() // an error would not matter: the program ends
			}
		})
	}
	wg.Wait()
	// The clients of refreshes may have disconnected, so that no request is left.
	if least := time.Now().Add(refreshTimeout); end.Before(least) {
		end = least
	}
	refreshes, cancel := context.WithDeadline(context.Background(), end)
	defer cancel()
	if err := m.Shutdown(refreshes); err != nil {
		log.Warn("refreshes were aborted", "error", err)
	}
}
