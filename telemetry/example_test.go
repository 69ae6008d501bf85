package telemetry_test

import (
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/synmetrix"
	"github.com/synmetrix/session/telemetry"
)

// The metrics are served on a second address that visitors cannot reach.
func Example() {
	reg := prometheus.NewRegistry()
	t, err := telemetry.New(reg)
	if err != nil {
		log.Fatal(err)
	}
	m, err := session.New(t.Instrument(session.Config{
		Auth: synmetrix.NewClient("https://app.synmetrix.org"),
		Keys: []session.SecretKey{session.GenerateKey()},
	}))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	middleware.Mount(mux, m)

	metrics := http.NewServeMux()
	metrics.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	go func() { log.Fatal(http.ListenAndServe("localhost:9090", metrics)) }()
	log.Fatal(http.ListenAndServe("localhost:8080", middleware.Sessions(m)(mux)))
}
