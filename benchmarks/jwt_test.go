package benchmarks_test

import (
	"net/http"
	"slices"
	"time"

	ginjwt "github.com/appleboy/gin-jwt/v2"
	"github.com/gin-gonic/gin"
	"github.com/go-chi/jwtauth/v5"
	"github.com/golang-jwt/jwt/v5"
	echojwt "github.com/labstack/echo-jwt/v4"
	"github.com/labstack/echo/v4"
)

const (
	tokenName = "jwt" // of the cookie; jwtauth requires this name
	tokenLife = time.Hour
)

var tokenKey = []byte("a secret of the app: 32 bytes or more of it")

// setToken sets the token's cookie with the safest attributes.
func setToken(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{
		Name: tokenName, Value: token, Path: "/", MaxAge: int(tokenLife / time.Second),
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// userClaims are the claims that the app needs.
type userClaims struct {
	Roles []string `json:"roles"`
	jwt.RegisteredClaims
}

func echoJWT(bool) http.Handler {
	e := echo.New()
	// The ErrorHandler accepts requests without a token, because the front page is
	// public.
	e.Use(echojwt.WithConfig(echojwt.Config{
		SigningKey:             tokenKey,
		TokenLookup:            "cookie:" + tokenName,
		NewClaimsFunc:          func(echo.Context) jwt.Claims { return new(userClaims) },
		ContinueOnIgnoredError: true,
		ErrorHandler:           func(echo.Context, error) error { return nil },
	}))
	e.GET("/", func(c echo.Context) error {
		_, ok := c.Get("user").(*jwt.Token)
		front(c.Response(), ok)
		return nil
	})
	e.GET("/admin", func(c echo.Context) error {
		var roles []string
		token, ok := c.Get("user").(*jwt.Token)
		if ok {
			roles = token.Claims.(*userClaims).Roles
		}
		guard(c.Response(), c.Request(), ok, roles)
		return nil
	})
	e.POST("/login", func(c echo.Context) error {
		a, ok := claimedBy(c.Request())
		if !ok {
			refuse(c.Response(), http.StatusUnauthorized)
			return nil
		}
		now := time.Now()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, userClaims{a.roles, jwt.RegisteredClaims{
			Subject: a.userID, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife)),
		}}).SignedString(tokenKey)
		if err != nil {
			return err
		}
		setToken(c.Response(), token)
		signedIn(c.Response(), c.Request())
		return nil
	})
	return e
}

func ginJWT(bool) http.Handler {
	auth, err := ginjwt.New(&ginjwt.GinJWTMiddleware{
		Key:         tokenKey,
		Timeout:     tokenLife,
		IdentityKey: "sub",
		PayloadFunc: func(data any) ginjwt.MapClaims {
			a := data.(account)
			return ginjwt.MapClaims{"sub": a.userID, "roles": a.roles}
		},
		Authenticator: func(c *gin.Context) (any, error) {
			a, ok := claimedBy(c.Request)
			if !ok {
				return nil, ginjwt.ErrFailedAuthentication
			}
			return a, nil
		},
		Authorizator: func(_ any, c *gin.Context) bool {
			roles, _ := ginjwt.ExtractClaims(c)["roles"].([]any)
			return slices.Contains(roles, any("admin"))
		},
		LoginResponse: func(c *gin.Context, _ int, _ string, _ time.Time) {
			signedIn(c.Writer, c.Request)
		},
		TokenLookup:    "cookie:" + tokenName,
		SendCookie:     true,
		SecureCookie:   true,
		CookieHTTPOnly: true,
		CookieName:     tokenName,
		CookieMaxAge:   tokenLife,
		CookieSameSite: http.SameSiteLaxMode,
	})
	if err != nil {
		panic(err)
	}
	e := newGin()
	// The middleware rejects requests without a token, so it cannot be around a
	// public page.
	e.GET("/", func(c *gin.Context) {
		_, err := auth.GetClaimsFromJWT(c)
		front(c.Writer, err == nil)
	})
	e.GET("/admin", auth.MiddlewareFunc(), func(c *gin.Context) { adminOnly(c.Writer, c.Request) })
	e.POST("/login", auth.LoginHandler)
	return e
}

func chiJWTAuth(bool) http.Handler {
	auth := jwtauth.New("HS256", tokenKey, nil)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		token, _, err := jwtauth.FromContext(r.Context())
		front(w, token != nil && err == nil)
	})
	mux.Handle("GET /admin", jwtauth.Authenticator(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, claims, _ := jwtauth.FromContext(r.Context())
		roles, _ := claims["roles"].([]any)
		if !slices.Contains(roles, any("admin")) {
			refuse(w, http.StatusForbidden)
			return
		}
		adminOnly(w, r)
	})))
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		a, ok := claimedBy(r)
		if !ok {
			refuse(w, http.StatusUnauthorized)
			return
		}
		claims := map[string]any{"sub": a.userID, "roles": a.roles}
		jwtauth.SetIssuedNow(claims)
		jwtauth.SetExpiryIn(claims, tokenLife)
		_, token, err := auth.Encode(claims)
		if err != nil {
			refuse(w, http.StatusInternalServerError)
			return
		}
		setToken(w, token)
		signedIn(w, r)
	})
	return jwtauth.Verify(auth, jwtauth.TokenFromCookie)(mux)
}
