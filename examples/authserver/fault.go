package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/synmetrix/session/authtest"
)

// fault is an authtest.Fault and its endpoint.
type fault struct {
	endpoint authtest.Endpoint
	authtest.Fault
}

const endpointNames = "any login totp refresh revoke logout jwks healthz version"

var endpoints = map[string]authtest.Endpoint{
	"any":     authtest.Any,
	"login":   authtest.Login,
	"totp":    authtest.TOTP,
	"refresh": authtest.Refresh,
	"revoke":  authtest.Revoke,
	"logout":  authtest.Logout,
	"jwks":    authtest.JWKS,
	"healthz": authtest.Healthz,
	"version": authtest.Version,
}

const deliveryNames = "whole|hang|close|reset|half-close|half-reset"

var deliveries = map[string]authtest.Delivery{
	"whole":      authtest.Whole,
	"hang":       authtest.Hang,
	"close":      authtest.Close,
	"reset":      authtest.Reset,
	"half-close": authtest.HalfThenClose,
	"half-reset": authtest.HalfThenReset,
}

const editNames = "drop-tokens|spoil-access-token|truncate|enlarge"

var edits = map[string]func(*authtest.Response){
	"drop-tokens":        authtest.DropTokens,
	"spoil-access-token": authtest.SpoilAccessToken,
	"truncate":           authtest.Truncate,
	"enlarge":            authtest.Enlarge,
}

// parseFault parses ENDPOINT:PART,PART...
func parseFault(spec string) (fault, error) {
	name, parts, ok := strings.Cut(spec, ":")
	endpoint, known := endpoints[name]
	if strings.HasPrefix(name, "/") {
		endpoint, known = authtest.Endpoint(name), true
	}
	if !ok || !known {
		return fault{}, fmt.Errorf("must be ENDPOINT:PART,PART... with an endpoint of %s, or a path", endpointNames)
	}
	f := fault{endpoint: endpoint}
	for part := range strings.SplitSeq(parts, ",") {
		if allowed := f.set(part); allowed != "" {
			return fault{}, fmt.Errorf("%q must be %s", part, allowed)
		}
	}
	if f.Status == 0 && (f.Body != "" || f.Header != nil) {
		return fault{}, fmt.Errorf("body and location need a status=N")
	}
	return f, nil
}

// set applies one part. If the part is invalid, set returns the allowed form.
func (f *fault) set(part string) (allowed string) {
	key, value, _ := strings.Cut(part, "=")
	var err error
	ok := true
	switch key {
	case "times":
		f.Times, err = strconv.Atoi(value)
		if err != nil || f.Times < 1 {
			return "times=N with N from 1 on"
		}
	case "delay":
		if f.Delay, err = time.ParseDuration(value); err != nil || f.Delay < 0 {
			return "delay=DURATION, such as 2s"
		}
	case "drip":
		if f.Drip, err = time.ParseDuration(value); err != nil || f.Drip < 0 {
			return "drip=DURATION, such as 2s"
		}
	case "status":
		if f.Status, err = strconv.Atoi(value); err != nil || f.Status < 200 || f.Status > 599 {
			return "status=N with N from 200 to 599"
		}
	case "body":
		f.Body = value
	case "location":
		f.Header = http.Header{"Location": {value}}
	case "deliver":
		if f.Deliver, ok = deliveries[value]; !ok {
			return "deliver=" + deliveryNames
		}
	case "edit":
		if f.Edit, ok = edits[value]; !ok {
			return "edit=" + editNames
		}
	case "carry-out":
		f.CarryOut = true
	case "no-token":
		f.NoToken = true
	case "backend-down":
		f.BackendDown = true
	default:
		return "one of times, delay, drip, status, body, location, deliver, edit, carry-out, no-token, backend-down"
	}
	return ""
}
