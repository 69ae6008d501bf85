package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"

	"github.com/synmetrix/session/cmd/session-gateway/gateway"
	"github.com/synmetrix/session/middleware"
)

// file is the configuration file. docs/gateway.md describes its fields.
type file struct {
	Listen         string   `yaml:"listen"`
	Admin          string   `yaml:"admin"`
	TLS            tlsFile  `yaml:"tls"`
	AuthURL        string   `yaml:"auth_url"`
	BasePath       string   `yaml:"base_path"`
	TrustedProxies []string `yaml:"trusted_proxies"`
	TrustedOrigins []string `yaml:"trusted_origins"`

	JWT jwtFile `yaml:"jwt"`

	StopTimeout string `yaml:"stop_timeout"`

	Log         logFile        `yaml:"log"`
	Session     sessionFile    `yaml:"session"`
	Pages       pagesFile      `yaml:"pages"`
	AuthRequest *authFile      `yaml:"auth_request"`
	Upstreams   []upstreamFile `yaml:"upstreams"`
}

type tlsFile struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

type jwtFile struct {
	JWKSURL    string `yaml:"jwks_url"`
	PublicKeys string `yaml:"public_keys"`
	Issuer     string `yaml:"issuer"`
	Audience   string `yaml:"audience"`
}

type logFile struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

type sessionFile struct {
	Store         string     `yaml:"store"`
	File          string     `yaml:"file"`
	IdleTimeout   string     `yaml:"idle_timeout"`
	Lifetime      string     `yaml:"lifetime"`
	MaxTokenAge   string     `yaml:"max_token_age"`
	RefreshBefore string     `yaml:"refresh_before"`
	MaxSessions   int        `yaml:"max_sessions"`
	Cookie        cookieFile `yaml:"cookie"`
}

type cookieFile struct {
	Name          string `yaml:"name"`
	Domain        string `yaml:"domain"`
	Insecure      bool   `yaml:"insecure"`
	NonPersistent bool   `yaml:"non_persistent"`
	MaxChunks     int    `yaml:"max_chunks"`
}

type pagesFile struct {
	Path     string               `yaml:"path"`
	Name     string               `yaml:"name"`
	Home     string               `yaml:"home"`
	Features []middleware.Feature `yaml:"features"`
}

type authFile struct {
	Headers []gateway.Header `yaml:"headers"`
}

type upstreamFile struct {
	Host      string           `yaml:"host"`
	Path      string           `yaml:"path"`
	URL       string           `yaml:"url"`
	StripPath bool             `yaml:"strip_path"`
	Roles     []string         `yaml:"roles"`
	Public    []string         `yaml:"public"`
	Headers   []gateway.Header `yaml:"headers"`
	Timeout   string           `yaml:"timeout"`
}

// maxFile bounds the files that the program reads, in bytes.
const maxFile = 1 << 20

// readFile reads a configuration file. An unknown field is an error that has the line.
func readFile(name string) (f file, err error) {
	text, err := readBounded(name)
	if err != nil {
		return file{}, err
	}
	defer func() {
		// The parser panics for some tags. The value may be a part of the file.
		if recover() != nil {
			f, err = file{}, fmt.Errorf("%s cannot be parsed", name)
		}
	}()
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := d.Decode(&f); errors.Is(err, io.EOF) {
		return file{}, fmt.Errorf("%s is empty", name)
	} else if err != nil {
		// The error must not quote the file, which may have a secret in the wrong place.
		return file{}, fmt.Errorf("%s: %s", name, yaml.FormatError(err, false, false))
	}
	if err := d.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return file{}, fmt.Errorf("%s has more than one document", name)
	}
	return f, nil
}

func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", name, maxFile)
	}
	return text, err
}
