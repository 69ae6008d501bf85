package sessiongin_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/synmetrix/session/adapters/internal/adaptertest"
	"github.com/synmetrix/session/adapters/sessiongin"
)

// Gin logs failures as errors. It does not log refusals because of a missing
// sign-in or role.
func TestLogger(t *testing.T) {
	var log bytes.Buffer
	a := start(t, adaptertest.Options{Stored: true}, func(e *gin.Engine) {
		e.Use(gin.LoggerWithConfig(gin.LoggerConfig{Output: &log, Formatter: func(p gin.LogFormatterParams) string {
			return fmt.Sprintf("%s %d %d %s\n", p.Path, p.StatusCode, p.BodySize, strings.Join(strings.Fields(p.ErrorMessage), " "))
		}}))
	}, func(a *adaptertest.App, e *gin.Engine) {
		e.GET("/admin", sessiongin.RequireRole("admin"), whoami)
		e.GET("/fails", func(c *gin.Context) {
			change(c)
			a.Store.Down.Store(true)
			c.JSON(200, "x")
		})
	})
	viewer, admin := a.SignedIn(adaptertest.Viewer), a.SignedIn(adaptertest.Admin)
	log.Reset()
	admin.Get("/admin")
	refused := viewer.Get("/admin")
	a.Browser().Open("/admin")
	viewer.Get("/nowhere")
	failed := viewer.Get("/fails")
	lines := strings.Split(log.String(), "\n")
	for i, want := range []string{
		"/admin 200 36 ", fmt.Sprintf("/admin 403 %d ", len(refused.Body)), "/admin 303 0 ",
		"/nowhere 404 ", fmt.Sprintf("/fails 503 %d Error #01: session: session unavailable", len(failed.Body)),
	} {
		if wantError := strings.Contains(want, "Error"); !strings.HasPrefix(lines[i], want) || strings.Contains(lines[i], "Error") != wantError {
			t.Errorf("logged %q, want %q, an error: %v", lines[i], want, wantError)
		}
	}
}

func TestBodyLimit(t *testing.T) {
	for _, where := range []string{"outside", "inside"} {
		limit := func(c *gin.Context) { c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 1<<10) }
		a := start(t, adaptertest.Options{}, func(e *gin.Engine) {
			if where == "outside" {
				e.Use(limit)
			}
		}, func(_ *adaptertest.App, e *gin.Engine) {
			if where == "inside" {
				e.Use(limit)
			}
			e.POST("/h", func(c *gin.Context) {
				if _, err := c.GetRawData(); err != nil {
					_ = c.AbortWithError(413, err)
				}
			})
		})
		b := a.SignedIn(adaptertest.Viewer)
		b.Do("POST", "/h", strings.Repeat("x", 1<<10)).Is(200)
		b.Do("POST", "/h", strings.Repeat("x", 1<<10+1)).Is(413)
		if where == "outside" { // inside, the middleware is added after the built-in routes
			b.Submit("/login", "email", adaptertest.Viewer, "password", strings.Repeat("x", 2<<10)).Is(413)
		}
	}
}

// gzipWriter replaces the context's writer, as compression middleware for Gin does.
type gzipWriter struct {
	gin.ResponseWriter
	z *gzip.Writer
}

func (w *gzipWriter) Write(p []byte) (int, error) {
	w.Header().Del("Content-Length")
	return w.z.Write(p)
}
func (w *gzipWriter) WriteString(s string) (int, error) { return w.Write([]byte(s)) }
func (w *gzipWriter) WriteHeader(status int) {
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(status)
}
func (w *gzipWriter) Flush() { _ = w.z.Flush(); w.ResponseWriter.Flush() }

func compress(c *gin.Context) {
	z := gzip.NewWriter(c.Writer)
	defer func() {
		if c.Writer.Size() > 0 {
			_ = z.Close()
		}
	}()
	c.Header("Content-Encoding", "gzip")
	c.Header("Vary", "Accept-Encoding")
	c.Writer = &gzipWriter{c.Writer, z}
	c.Next()
	_ = z.Flush()
}

func TestGzip(t *testing.T) {
	long := strings.Repeat("hello ", 10_000)
	for _, where := range []string{"outside", "inside"} {
		t.Run(where, func(t *testing.T) {
			a := adaptertest.NewApp(t, adaptertest.Options{})
			e := gin.New()
			e.Use(sessiongin.Sessions(a.Manager))
			sessiongin.Mount(e, a.Manager)
			g := e.Group("/z")
			if where == "outside" {
				e = gin.New()
				sessions := e.Group("", sessiongin.Sessions(a.Manager))
				sessiongin.Mount(sessions, a.Manager)
				g = e.Group("/z", compress, sessiongin.Sessions(a.Manager))
			} else {
				g.Use(compress)
			}
			g.GET("/long", func(c *gin.Context) { change(c); c.String(200, long) })
			g.GET("/events", func(c *gin.Context) {
				change(c)
				_, _ = c.Writer.WriteString("data: 1\n\n")
				c.Writer.Flush()
				_, _ = c.Writer.WriteString("data: 2\n\n")
			})
			g.GET("/admin", sessiongin.RequireRole("admin"), whoami)
			a.Serve(e, adaptertest.Options{})
			b := a.SignedIn(adaptertest.Viewer)
			body, res := adaptertest.Gunzip(t, b, "/z/long")
			if body != long || len(res.Cookies()) == 0 || !strings.Contains(strings.Join(res.Header.Values("Vary"), ","), "Cookie") {
				t.Errorf("%d bytes, %v", len(body), res.Header)
			}
			if body, res := adaptertest.Gunzip(t, b, "/z/events"); body != "data: 1\n\ndata: 2\n\n" || len(res.Cookies()) == 0 {
				t.Errorf("%q %v", body, res.Header)
			}
			if body, res := adaptertest.Gunzip(t, b, "/z/admin"); res.StatusCode != 403 || !strings.Contains(body, "forbidden") {
				t.Errorf("%d %q", res.StatusCode, body)
			}
		})
	}
}

func TestCORS(t *testing.T) {
	a := start(t, adaptertest.Options{}, func(e *gin.Engine) {
		e.Use(func(c *gin.Context) {
			c.Header("Access-Control-Allow-Origin", "https://other.example")
			c.Header("Access-Control-Allow-Credentials", "true")
			c.Writer.Header().Add("Vary", "Origin")
			if c.Request.Method == http.MethodOptions {
				c.AbortWithStatus(204)
			}
		})
	}, func(_ *adaptertest.App, e *gin.Engine) { e.GET("/user", sessiongin.RequireUser, whoami) })
	b := a.SignedIn(adaptertest.Viewer)
	b.Do("OPTIONS", "/user", "", "Origin", "https://other.example", "Access-Control-Request-Method", "GET").Is(204)
	got := b.Get("/user", "Origin", "https://other.example").Says(200, "0000000b")
	if vary := strings.Join(got.Header.Values("Vary"), ", "); vary != "Origin, Cookie" || got.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%v", got.Header)
	}
}

// The writer of a request does not print the cookies or the token that the request presents.
func TestWriterRedacts(t *testing.T) {
	var printed string
	a := start(t, adaptertest.Options{}, nil, func(_ *adaptertest.App, e *gin.Engine) {
		e.GET("/print", func(c *gin.Context) {
			printed = fmt.Sprintf("%v %+v %#v %s %d", c.Writer, c.Writer, c.Writer, c.Writer, c.Writer)
		})
	})
	b := a.Browser()
	b.Do("GET", "/print", "", "Cookie", "__Host-session=the-presented-cookie")
	if printed == "" || strings.Contains(printed, "the-presented-cookie") {
		t.Errorf("prints %s", printed)
	}
}
