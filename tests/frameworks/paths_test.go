package frameworks_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessionecho"
	"github.com/synmetrix/session/adapters/sessionecho5"
	"github.com/synmetrix/session/adapters/sessiongin"
	"github.com/synmetrix/session/middleware"
)

const secret = "for admins only"

var files = fstest.MapFS{
	"admin/secret.txt": {Data: []byte(secret)},
	"a b.txt":          {Data: []byte("public")},
	"report (1).txt":   {Data: []byte("public")},
	"100%.txt":         {Data: []byte("public")},
	"100%fun.txt":      {Data: []byte("public")},
	"ü/x..y/.z.txt":    {Data: []byte("public")},
}

// subtrees serve files at "/", with a guard on "/admin/".
var subtrees = map[string]func(m *session.Manager, opts ...middleware.Option) http.Handler{
	"nethttp": func(m *session.Manager, opts ...middleware.Option) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/", http.FileServerFS(files))
		mux.Handle("/admin/", middleware.RequireRole("admin")(http.FileServerFS(files)))
		return middleware.Sessions(m, opts...)(mux)
	},
	"chi": func(m *session.Manager, opts ...middleware.Option) http.Handler {
		r := chi.NewRouter()
		r.Use(middleware.Sessions(m, opts...))
		r.Handle("/*", http.FileServerFS(files))
		r.With(middleware.RequireRole("admin")).Handle("/admin/*", http.FileServerFS(files))
		return r
	},
	"echo": func(m *session.Manager, opts ...middleware.Option) http.Handler {
		e := echo.New()
		e.Use(sessionecho.Sessions(m, opts...))
		e.Any("/*", echo.WrapHandler(http.FileServerFS(files)))
		e.Group("/admin", sessionecho.RequireRole("admin")).Any("/*", echo.WrapHandler(http.FileServerFS(files)))
		return e
	},
	"echo5": func(m *session.Manager, opts ...middleware.Option) http.Handler {
		e := echo5.New()
		e.Use(sessionecho5.Sessions(m, opts...))
		e.Any("/*", echo5.WrapHandler(http.FileServerFS(files)))
		e.Group("/admin", sessionecho5.RequireRole("admin")).Any("/*", echo5.WrapHandler(http.FileServerFS(files)))
		return e
	},
	"gin": func(m *session.Manager, opts ...middleware.Option) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(sessiongin.Sessions(m, opts...))
		r.Any("/admin/*path", sessiongin.RequireRole("admin"), gin.WrapH(http.FileServerFS(files)))
		r.NoRoute(gin.WrapH(http.FileServerFS(files)))
		return r
	},
}

// detours are spellings of /admin/secret.txt that some routers treat as another path, and
// some file servers do not.
var detours = []string{
	"/admin%2fsecret.txt", "/admin%2Fsecret.txt", "/%61dmin%2fsecret.txt", "/admin%252fsecret.txt", "/admin%5csecret.txt", `/admin\secret.txt`,
	"/x/%2e%2e/admin/secret.txt", "/x/%2E./admin/secret.txt", "/x/.%2e/admin%2fsecret.txt", "/x/%252e%252e/admin/secret.txt", "/x%2f../admin/secret.txt",
	"/x%2f%2e%2e%2fadmin%2fsecret.txt", "/x/../admin/secret.txt", "/./admin/secret.txt", "/%2e/admin/secret.txt", "//admin/secret.txt",
	"/%2fadmin/secret.txt", "/x/..//admin/secret.txt", "/x/..%5cadmin/secret.txt", "/x/..;/admin/secret.txt", "/admin/..%2fadmin/secret.txt",
	"/x//../admin/secret.txt", "/admin%00/secret.txt", "/%61dmin/secret.txt", "/adm%69n/secret.txt", "/admi%6e/secret.txt",
	"/%2561dmin/secret.txt", "/admi%256e/secret.txt", "/%252561dmin/secret.txt",
}

// raw sends a request with an address that no client has cleaned, and returns the status
// and the body.
func (s *site) raw(method, address string) (int, string) {
	s.t.Helper()
	conn, err := tls.Dial("tcp", s.srv.Listener.Addr().String(), s.srv.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.0\r\nHost: app.example\r\n\r\n", method, address)
	text, err := io.ReadAll(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	var status int
	if _, err := fmt.Sscanf(string(text), "HTTP/1.0 %d", &status); err != nil {
		s.t.Fatalf("%v: %q", err, text)
	}
	return status, string(text)
}

// WithCleanPaths refuses the paths that bypass a guard on a subtree, and no others.
func TestCleanPaths(t *testing.T) {
	for framework, build := range subtrees {
		t.Run(framework, func(t *testing.T) {
			s := newSite(t, "memory", time.Minute)
			s.serve(build(s.m))
			led := 0
			for _, path := range detours {
				for _, method := range []string{"GET", "CONNECT"} {
					if _, text := s.raw(method, path); strings.Contains(text, secret) {
						led++
						t.Logf("without the option %s %s leads past the guard", method, path)
					}
				}
			}
			if led == 0 {
				t.Error("no path leads past the guard")
			}

			s.serve(build(s.m, middleware.WithCleanPaths()))
			for _, path := range detours {
				for _, method := range []string{"GET", "HEAD", "POST", "CONNECT"} {
					status, text := s.raw(method, path)
					// net/http itself rejects some, and redirects others.
					if strings.Contains(text, secret) || status != 404 && status != 400 {
						t.Errorf("%s %s: %d %q", method, path, status, text)
					}
					// The status 404 of a file server shows that the request has reached
					// it.
					if status == 404 && method != "HEAD" && !strings.Contains(text, "not_found") {
						t.Errorf("%s %s reaches a handler: %q", method, path, text)
					}
				}
			}
			if status, _ := s.raw("GET", "/admin/secret.txt"); status != 401 {
				t.Errorf("the path itself: %d", status)
			}
			for _, path := range []string{"/a%20b.txt", "/100%25.txt", "/100%25fun.txt", "/%C3%BC/x..y/.z.txt", "/a%20b.txt?x=../%2f//", "/report%20(1).txt"} {
				if status, text := s.raw("GET", path); status != 200 || !strings.Contains(text, "public") {
					t.Errorf("GET %s: %d %q", path, status, text)
				}
			}
			if status, text := s.raw("GET", "/"+strings.Repeat("a", 10_000)); status != 404 || !strings.Contains(text, "not_found") {
				t.Errorf("a long path: %d %.300q", status, text)
			}
		})
	}
}
