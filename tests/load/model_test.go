package load

import (
	"fmt"
	"math"
	"time"
)

// This file has the model of docs/performance.md: the load of many sessions on one
// server.

// usage is how sessions are used.
type usage struct {
	inUse   float64       // part of the sessions that are used at the same time
	every   time.Duration // between two requests of a session in use
	refresh time.Duration // between two refreshes of a session in use
	signIn  time.Duration // between two sign-ins of a user
}

// usual is the usage for the tables: one session of ten is in use, with a request every ten
// seconds.
var usual = usage{inUse: 0.1, every: 10 * time.Second, refresh: 15 * time.Minute, signIn: 24 * time.Hour}

// calls are the reads and writes of an event, as TestStoreCalls counts them.
type calls struct{ reads, writes float64 }

var (
	atRefresh = calls{5, 2}
	atSignIn  = calls{1, 7}
)

// perRequest is the number of records that a request needs if its user has sent no other
// for 2 seconds: the session's record and the mark of the user.
const perRequest = 2

// cacheTTL is how long a client of Redis keeps a record that does not change.
const cacheTTL = time.Minute

// processesOf returns how many of p processes receive at least one of a session's k
// requests, if each request is sent to a random process.
func processesOf(p, k float64) float64 { return p * (1 - math.Pow(1-1/p, k)) }

// demand returns the requests, reads and writes per second of sessions.
func (u usage) demand(sessions, processes float64, inRedis bool) (requests float64, c calls) {
	active := sessions * u.inUse
	requests = active / u.every.Seconds()
	pages := requests
	if inRedis {
		k := cacheTTL.Seconds() / u.every.Seconds()
		pages = active * processesOf(processes, k) / cacheTTL.Seconds()
	}
	refreshes, signIns := active/u.refresh.Seconds(), sessions/u.signIn.Seconds()
	return requests, calls{
		pages*perRequest + refreshes*atRefresh.reads + signIns*atSignIn.reads,
		refreshes*atRefresh.writes + signIns*atSignIn.writes,
	}
}

// prediction is the load of a server by the model, if a session takes size bytes. A read
// takes from least to most microseconds of CPU time, depending on how many the server
// receives together, and a write takes write microseconds.
func prediction(name string, size, least, most, write float64) [][]string {
	var rows [][]string
	for _, sessions := range []float64{1e5, 1e6, 1e7} {
		for _, processes := range []float64{1, 10, 100} {
			if name != "Redis" && processes > 1 {
				continue // each request is a read, whatever the number of processes
			}
			requests, c := usual.demand(sessions, processes, name == "Redis")
			at := fmt.Sprintf("%.0f", processes)
			if name != "Redis" {
				at = "1 to 100"
			}
			rows = append(rows, []string{
				name, fmt.Sprintf("%.0f", sessions), at, fmt.Sprintf("%.0f", requests), fmt.Sprintf("%.0f", c.reads), fmt.Sprintf("%.0f", c.writes),
				fmt.Sprintf("%.2f to %.2f", (c.reads*least+c.writes*write)/1e6, (c.reads*most+c.writes*write)/1e6), fmt.Sprintf("%.1f", sessions*size/1e9),
			})
		}
	}
	return rows
}
