package sessionecho5_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v5"
	echomw "github.com/labstack/echo/v5/middleware"

	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessionecho5"
)

// plain is a writer without the methods by which Echo finds its own response.
type plain struct{ w http.ResponseWriter }

func (p plain) Header() http.Header         { return p.w.Header() }
func (p plain) WriteHeader(status int)      { p.w.WriteHeader(status) }
func (p plain) Write(b []byte) (int, error) { return p.w.Write(b) }

// Other middleware may replace Echo's response.
func TestReplacedResponse(t *testing.T) {
	replaced := func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			c.SetResponse(plain{c.Response()})
			return next(c)
		}
	}
	wrapped := echo.WrapMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(plain{w}, r) })
	})
	for name, around := range map[string]echo.MiddlewareFunc{"replaced": replaced, "wrapped": wrapped} {
		for _, where := range []string{"outside", "inside"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) {
					if where == "outside" {
						e.Use(around)
					}
				}, func(a *adaptertest.App, e *echo.Echo) {
					if where == "inside" {
						e.Use(around)
					}
					e.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
					e.GET("/error", func(*echo.Context) error { return errTeapot })
					e.GET("/fails", func(c *echo.Context) error {
						change(c)
						a.Store.Down.Store(true)
						return c.String(200, "secret")
					})
				})
				visitor, viewer := a.Browser(), a.SignedIn(adaptertest.Viewer)
				visitor.Open("/admin").Is(303)
				if got := viewer.Get("/admin").Says(403, "forbidden"); strings.Count(got.Body, "{") != 1 {
					t.Errorf("two responses: %q", got.Body)
				}
				viewer.Get("/error").Says(418, "teapot")
				if got := viewer.Get("/fails").Says(503, "session_unavailable"); strings.Contains(got.Body, "secret") {
					t.Errorf("%q", got.Body)
				}
			})
		}
	}
}

func logger(w io.Writer) echo.MiddlewareFunc {
	return echomw.RequestLoggerWithConfig(echomw.RequestLoggerConfig{
		LogURI: true, LogStatus: true, LogResponseSize: true, HandleError: true,
		LogValuesFunc: func(_ *echo.Context, v echomw.RequestLoggerValues) error {
			_, err := fmt.Fprintf(w, "%s %d %d %v\n", v.URI, v.Status, v.ResponseSize, v.Error)
			return err
		},
	})
}

func TestLogger(t *testing.T) {
	var log bytes.Buffer
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
		e.Use(logger(&log))
	}, func(_ *adaptertest.App, e *echo.Echo) {
		e.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
	})
	viewer, admin := a.SignedIn(adaptertest.Viewer), a.SignedIn(adaptertest.Admin)
	log.Reset()
	admin.Get("/admin")
	refused := viewer.Get("/admin")
	a.Browser().Open("/admin")
	viewer.Get("/nowhere")
	lines := strings.Split(log.String(), "\n")
	for i, want := range []string{"/admin 200 36 ", fmt.Sprintf("/admin 403 %d code=403", len(refused.Body)), "/admin 303 0 code=401", "/nowhere 404 "} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("logged %q, want %q", lines[i], want)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	for _, where := range []string{"outside", "inside"} {
		limit := echomw.BodyLimit(1024)
		a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
			if where == "outside" {
				e.Use(limit)
			}
		}, func(_ *adaptertest.App, e *echo.Echo) {
			if where == "inside" {
				e.Use(limit)
			}
			e.POST("/h", func(c *echo.Context) error {
				_, err := io.Copy(c.Response(), c.Request().Body)
				return err
			})
		})
		b := a.SignedIn(adaptertest.Viewer)
		b.Do("POST", "/h", strings.Repeat("x", 1<<10)).Says(200, "xxx")
		b.Do("POST", "/h", strings.Repeat("x", 1<<10+1)).Is(413)
		b.Submit("/login", "email", adaptertest.Viewer, "password", strings.Repeat("x", 2<<10)).Is(413)
	}
}

func TestGzip(t *testing.T) {
	long := strings.Repeat("hello ", 10_000)
	for _, where := range []string{"outside", "inside"} {
		t.Run(where, func(t *testing.T) {
			a := start(t, adaptertest.Options{Stored: true}, func(e *echo.Echo) {
				if where == "outside" {
					e.Use(echomw.Gzip())
				}
			}, func(a *adaptertest.App, e *echo.Echo) {
				if where == "inside" {
					e.Use(echomw.Gzip())
				}
				e.GET("/long", func(c *echo.Context) error { return c.String(200, long) })
				e.GET("/none", func(c *echo.Context) error { return c.NoContent(204) })
				e.GET("/events", func(c *echo.Context) error {
					_, _ = io.WriteString(c.Response(), "data: 1\n\n")
					c.Response().(http.Flusher).Flush()
					_, _ = io.WriteString(c.Response(), "data: 2\n\n")
					return nil
				})
				e.GET("/fails", func(c *echo.Context) error {
					change(c)
					a.Store.Down.Store(true)
					return c.String(200, long)
				})
				e.GET("/admin", whoami, sessionecho5.RequireRole("admin"))
			})
			b := a.SignedIn(adaptertest.Viewer)
			body, res := adaptertest.Gunzip(t, b, "/long")
			if body != long || res.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Cookie") {
				t.Errorf("%d bytes, %v", len(body), res.Header)
			}
			if body, res := adaptertest.Gunzip(t, b, "/none"); res.StatusCode != 204 || body != "" {
				t.Errorf("%d %q", res.StatusCode, body)
			}
			if body, _ := adaptertest.Gunzip(t, b, "/events"); body != "data: 1\n\ndata: 2\n\n" {
				t.Errorf("%q", body)
			}
			if body, res := adaptertest.Gunzip(t, b, "/admin"); res.StatusCode != 403 || !strings.Contains(body, "forbidden") {
				t.Errorf("%d %q", res.StatusCode, body)
			}
			if body, res := adaptertest.Gunzip(t, b, "/fails"); res.StatusCode != 503 || !strings.Contains(body, "session_unavailable") || strings.Contains(body, "hello") {
				t.Errorf("%d %.200q %v", res.StatusCode, body, res.Header)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	a := start(t, adaptertest.Options{}, func(e *echo.Echo) {
		e.Use(echomw.CORSWithConfig(echomw.CORSConfig{AllowOrigins: []string{"https://other.example"}, AllowCredentials: true}))
	}, func(_ *adaptertest.App, e *echo.Echo) { e.GET("/user", whoami, sessionecho5.RequireUser) })
	b := a.SignedIn(adaptertest.Viewer)
	got := b.Do("OPTIONS", "/user", "", "Origin", "https://other.example", "Access-Control-Request-Method", "GET").Is(204)
	if got.Header.Get("Access-Control-Allow-Origin") != "https://other.example" {
		t.Errorf("%v", got.Header)
	}
	got = b.Get("/user", "Origin", "https://other.example").Says(200, "0000000b")
	vary := strings.Join(got.Header.Values("Vary"), ",")
	if got.Header.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(vary, "Origin") || !strings.Contains(vary, "Cookie") {
		t.Errorf("%v", got.Header)
	}
}
