package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// machine describes where and when a run was made, in one line.
func machine() string {
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s", processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH,
		runtime.Version(), time.Now().UTC().Format(time.DateOnly))
}

// processor returns the name of the CPU, as Linux has it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

// compared are the modules whose versions matter.
var compared = []string{
	"github.com/alexedwards/scs/v2", "github.com/appleboy/gin-jwt/v2", "github.com/gin-contrib/sessions", "github.com/gin-gonic/gin",
	"github.com/go-chi/jwtauth/v5", "github.com/golang-jwt/jwt/v5", "github.com/gorilla/securecookie", "github.com/gorilla/sessions",
	"github.com/labstack/echo-contrib", "github.com/labstack/echo-jwt/v4", "github.com/labstack/echo/v4", "github.com/redis/rueidis",
	"modernc.org/sqlite",
}

// versions returns the versions of the modules, and of the programs.
func versions() []string {
	var all []string
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if slices.Contains(compared, dep.Path) {
				all = append(all, strings.TrimPrefix(dep.Path, "github.com/")+" "+dep.Version)
			}
		}
	}
	if out, err := exec.Command("redis-server", "--version").Output(); err == nil {
		for field := range strings.FieldsSeq(string(out)) {
			if version, ok := strings.CutPrefix(field, "v="); ok {
				all = append(all, "Redis "+version)
			}
		}
	}
	if out, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output(); err == nil {
		all = append(all, "this library at "+strings.TrimSpace(string(out)))
	}
	return all
}
