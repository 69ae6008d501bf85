package main

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// measureCores returns by how much the throughput of a contender grows from one core to
// two: the median of the rounds. It returns 0 if there is only one.
func measureCores(e *env, c contender, rounds int, turn time.Duration) (float64, error) {
	before := runtime.GOMAXPROCS(0)
	if runtime.NumCPU() < 2 || before < 2 {
		return 0, nil
	}
	defer runtime.GOMAXPROCS(before)
	h, err := c.open(e)
	if err != nil {
		return 0, err
	}
	requests := make([]*http.Request, 2)
	for i := range requests {
		if requests[i], err = signedInRequest(h, "/admin", admin); err != nil {
			return 0, err
		}
	}
	var ratios []float64
	for range rounds {
		one, err := throughput(h, requests[:1], turn)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.name, err)
		}
		two, err := throughput(h, requests, turn)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", c.name, err)
		}
		ratios = append(ratios, two/one)
	}
	return median(ratios), nil
}

// throughput sends requests for a while, from one goroutine for each core, and returns
// their number per second.
func throughput(h http.Handler, requests []*http.Request, d time.Duration) (float64, error) {
	runtime.GOMAXPROCS(len(requests))
	counts := make([]int, len(requests))
	errs := make([]error, len(requests))
	start := time.Now()
	end := start.Add(d)
	var wg sync.WaitGroup
	for i, r := range requests {
		wg.Go(func() {
			send := repeat(h, r, func(v *reader) bool { return v.got(adminPage) })
			for counts[i] == 0 || time.Now().Before(end) {
				if errs[i] = send(100); errs[i] != nil {
					return
				}
				counts[i] += 100
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / took.Seconds(), errors.Join(errs...)
}
