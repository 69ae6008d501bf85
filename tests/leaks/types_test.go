package leaks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/synmetrix/session"
	"github.com/synmetrix/session/auth"
	"github.com/synmetrix/session/auth/verify"
	"github.com/synmetrix/session/middleware"
	"github.com/synmetrix/session/sessiontest"
	"github.com/synmetrix/session/store"
	"github.com/synmetrix/session/store/memstore"
	"github.com/synmetrix/session/synmetrix"
	"github.com/synmetrix/session/tests/internal/leaks"
)

// harmless are the exported types that hold no secret.
var harmless = []string{
	"auth.ClaimNames", "auth.Claims", "auth.User", "session.Call", "session.Cookie", "session.Event", "session.Features", "session.Key", "session.Limits", "session.SessionInfo",
	"session.TooManyAttemptsError", "session.UnavailableError",
	"middleware.Link", "middleware.Loader", "middleware.PageSession", "middleware.PageTime", "middleware.Problem", "middleware.Route",
	"synmetrix.TokenSourceConfig",
	"sqlstore.Config", "sqlstore.SchemaError", "sqlstore.Store",
	"verify.Key", // one made by NewKey is public
}

// Package authtest is left out, because it has only the secrets of tests.
const exempt = "authtest"

// Every exported type is listed as harmless or redacts its secrets in fmt, slog and
// JSON: alone, by pointer, in exported fields, and embedded.
func TestTypes(t *testing.T) {
	const tokenPart = "c2VjcmV0LW9mLWEtdG9rZW4tdGhhdC1ub2JvZHktbWF5LXNlZQ"
	var secrets leaks.Secrets
	key := session.GenerateKey()
	secrets.Add("key", key.Encode())
	const secretText = "a text that no log may have, in whatever form"
	secrets.Add("secret", secretText)
	secrets.Add("token", tokenPart)

	client := synmetrix.NewClient("http://auth.example", synmetrix.WithTransport(&http.Transport{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.example", User: url.UserPassword("user", secretText)}),
	}))
	memory := memstore.New()
	cfg := session.Config{Auth: client, Keys: []session.SecretKey{key}, Store: memory, Logger: slog.New(slog.DiscardHandler)}
	manager, err := session.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tokens := auth.Tokens{AccessToken: tokenPart + "." + tokenPart + "." + tokenPart, RefreshToken: secretText}
	user := sessiontest.As("user-1", "admin")
	r := user.SignedInTo(manager, httptest.NewRequest("GET", "/", nil))
	for _, c := range r.Cookies() {
		secrets.AddSealed("cookie", c.Value)
	}
	exchange := new(session.Exchange)
	r = manager.Begin(r.Context(), exchange, r)
	s := session.FromContext(r.Context())
	access, err := s.AccessToken(r.Context())
	if err != nil {
		t.Fatal(err)
	}
	secrets.AddJWT("access token", access)
	var around middleware.Scope
	presents := user.SignedInTo(manager, httptest.NewRequest("GET", "/", nil))
	for _, c := range presents.Cookies() {
		secrets.AddSealed("cookie of the scope", c.Value)
	}
	middleware.NewLoader(manager).Begin(&around, httptest.NewRecorder(), presents)
	err = memory.Put(context.Background(), store.Record{Key: "k", Version: 1, Data: []byte(secretText), ExpiresAt: time.Now().Add(time.Hour)}, 0)
	if err != nil {
		t.Fatal(err)
	}

	verified := verify.Config{Secrets: [][]byte{[]byte(strings.Repeat(secretText, 4))}}
	verifier, err := verify.New(verified)
	if err != nil {
		t.Fatal(err)
	}

	quiet := map[string]any{
		"verify.Config":              verified,
		"verify.Verifier":            verifier,
		"auth.Error":                 auth.Error{Op: "login", Message: secretText},
		"session.Config":             cfg,
		"session.Exchange":           exchange,
		"session.Manager":            manager,
		"auth.SecondFactorError":     auth.SecondFactorError{Ticket: secretText},
		"session.SecretKey":          key,
		"session.Session":            s,
		"auth.Tokens":                tokens,
		"auth.Grant":                 auth.Grant{Tokens: tokens, Claims: &auth.Claims{UserID: "user-1"}},
		"session.Transport":          manager.Transport("api.example"),
		"middleware.Field":           middleware.Field{Kind: "hidden", Name: "ticket", Value: secretText},
		"middleware.Page":            middleware.Page{Name: "mfa-setup", Secret: secretText, Fields: []middleware.Field{{Value: secretText}}},
		"middleware.Scope":           &around,
		"synmetrix.Client":           client,
		"synmetrix.Registration":     synmetrix.Registration{Email: "a@example.com", Password: secretText, Data: map[string]any{"pin": secretText}},
		"auth.TOTPKey":               auth.TOTPKey{Secret: secretText},
		"synmetrix.TokenSource":      synmetrix.NewTokenSource(client, tokens, synmetrix.TokenSourceConfig{}),
		"sessiontest.User":           sessiontest.User{ID: "user-1", Tokens: tokens},
		"store.Record":               store.Record{Key: "k", Version: 1, Data: []byte(secretText), Meta: []byte(secretText)},
		"memstore.Store":             memory,
		"session.Config, in private": struct{ cfg session.Config }{cfg},
		"session.SecretKey, too":     struct{ key session.SecretKey }{key},
	}
	for _, name := range exportedStructs(t) {
		if _, ok := quiet[name]; ok == slices.Contains(harmless, name) {
			t.Errorf("%s: whether it keeps secrets is not said, or said twice", name)
		}
	}
	for name, v := range quiet {
		for form, wrapped := range map[string]any{
			"alone": v, "in a struct": struct{ V any }{v}, "in a slice": []any{v}, "in a map": map[string]any{"v": v}, "by pointer": &v,
		} {
			var out bytes.Buffer
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
				fmt.Fprintf(&out, verb+"\n", wrapped)
			}
			if name != "store.Record" { // a store may keep records as JSON
				text, err := json.Marshal(wrapped)
				fmt.Fprintf(&out, "%s %v\n", text, err)
				slog.New(slog.NewJSONHandler(&out, nil)).Info("a", "v", wrapped)
			}
			slog.New(slog.NewTextHandler(&out, nil)).Info("a", "v", wrapped)
			for _, found := range secrets.Search(out.String()) {
				t.Errorf("%s %s gives away: %s", name, form, found)
			}
		}
	}
	embedded := struct {
		auth.Tokens
		Name string
	}{tokens, "embedded"}
	if found := secrets.Search(fmt.Sprintf("%v %+v %#v %s", embedded, embedded, embedded, embedded)); len(found) > 0 {
		t.Errorf("embedded tokens are given away: %q", found)
	}
}

// exportedStructs returns the exported struct types of all packages that
// programs can import, as "package.Type".
func exportedStructs(t *testing.T) []string {
	t.Helper()
	list := exec.Command("go", "list", "-f", "{{.Dir}}", "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for dir := range strings.Lines(string(out)) {
		dir = strings.TrimSpace(dir)
		if strings.Contains(dir, "/internal") || path.Base(dir) == exempt {
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				g, ok := d.(*ast.GenDecl)
				if !ok {
					continue
				}
				for _, s := range g.Specs {
					if s, ok := s.(*ast.TypeSpec); ok && s.Name.IsExported() {
						if _, ok := s.Type.(*ast.StructType); ok {
							names = append(names, f.Name.Name+"."+s.Name.Name)
						}
					}
				}
			}
		}
	}
	if len(names) < 20 {
		t.Fatalf("only %q", names)
	}
	return names
}
