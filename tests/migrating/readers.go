package migrating

import (
	"errors"
	"net/http"
	"os"

	"github.com/alexedwards/scs/v2"
	ginjwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/securecookie"
	gorilla "github.com/gorilla/sessions"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/adapters/sessiongin"
)

// readSCS reads the sessions of old, which must have its previous store and codec.
func readSCS(old *scs.SessionManager) func(*http.Request, string) (map[string]any, error) {
	return func(r *http.Request, cookie string) (map[string]any, error) {
		ctx, err := old.Load(r.Context(), cookie)
		if err != nil {
			return nil, err
		}
		values := map[string]any{}
		for _, name := range old.Keys(ctx) {
			values[name] = old.Get(ctx, name)
		}
		return values, nil
	}
}

// readGorilla reads the sessions of old, a CookieStore or another store, which must have
// its previous keys.
func readGorilla(old gorilla.Store, name string) func(*http.Request, string) (map[string]any, error) {
	return func(r *http.Request, _ string) (map[string]any, error) {
		s, err := old.New(r, name)
		var broken securecookie.Error
		if errors.As(err, &broken) && broken.IsDecode() || errors.Is(err, os.ErrNotExist) {
			return nil, nil // expired, sealed with another key, or deleted
		}
		if err != nil {
			return nil, err
		}
		values := map[string]any{}
		for key, value := range s.Values {
			if name, ok := key.(string); ok {
				values[name] = value
			}
		}
		return values, nil
	}
}

// readGinJWT reads the tokens of old, which must have its previous key.
func readGinJWT(old *ginjwt.GinJWTMiddleware) func(*http.Request, string) (map[string]any, error) {
	return func(_ *http.Request, cookie string) (map[string]any, error) {
		token, err := old.ParseTokenString(cookie)
		if err != nil {
			return nil, nil // expired or forged
		}
		return ginjwt.ExtractClaimsFromToken(token), nil
	}
}

// ginApp adds a mover's move to a Gin app, after sessiongin.Sessions.
func ginApp(m *session.Manager, move func(http.ResponseWriter, *http.Request) bool) *gin.Engine {
	r := gin.New()
	r.Use(sessiongin.Sessions(m), func(c *gin.Context) {
		if !move(c.Writer, c.Request) {
			c.Abort()
		}
	})
	return r
}

// readProxy reads the header field that oauth2-proxy adds.
func readProxy(r *http.Request, _ string) (map[string]any, error) {
	token := r.Header.Get("X-Oauth2-Refresh-Token")
	if token == "" {
		return nil, nil
	}
	return map[string]any{"refresh_token": token}, nil
}
