package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// errMissing means that a contender needs a program that is not installed.
var errMissing = errors.New("not installed")

// env is what the contenders of a run share. The Redis server and the SQLite database
// start at their first use.
type env struct {
	dir      string
	redis    func() (*redisServer, error)
	database func() (*sql.DB, error)

	mu      sync.Mutex
	closers []func()
}

// newEnv returns an env. The caller must close it.
func newEnv() (*env, error) {
	dir, err := os.MkdirTemp("", "bench-") // short: the path of a socket has at most 107 bytes
	if err != nil {
		return nil, err
	}
	e := &env{dir: dir}
	e.redis = sync.OnceValues(e.startRedis)
	e.database = sync.OnceValues(e.openDatabase)
	return e, nil
}

// onClose has Close call f, before what was registered earlier.
func (e *env) onClose(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closers = append(e.closers, f)
}

func (e *env) Close() {
	for _, f := range slices.Backward(e.closers) {
		f()
	}
	_ = os.RemoveAll(e.dir) // a directory for temporary files
}

// redisServer is a Redis server that listens on a Unix socket.
type redisServer struct {
	socket string
	client rueidis.Client
}

func (e *env) startRedis() (*redisServer, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redis-server is %w", errMissing)
	}
	socket := filepath.Join(e.dir, "redis")
	cmd := exec.Command(program, "--port", "0", "--unixsocket", socket, "--dir", e.dir, "--save", "", "--appendonly", "no")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	e.onClose(func() {
		_ = cmd.Process.Kill() // its data is in the directory
		_ = cmd.Wait()
	})
	option, err := rueidis.ParseURL("unix://" + socket)
	if err != nil {
		return nil, err
	}
	option.ForceSingleClient = true
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		client, err := rueidis.NewClient(option)
		if err == nil {
			err = client.Do(context.Background(), client.B().Ping().Build()).Error()
		}
		switch {
		case err == nil:
			e.onClose(client.Close)
			return &redisServer{socket, client}, nil
		case time.Now().After(deadline):
			return nil, err
		case client != nil:
			client.Close()
		}
	}
}
