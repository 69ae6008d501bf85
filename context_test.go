package session_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/synmetrix/session"
)

// stringContext has values by strings only, as the contexts of some frameworks.
type stringContext struct {
	context.Context
	values map[string]any
}

func (c stringContext) Value(key any) any {
	name, _ := key.(string)
	return c.values[name]
}

func TestContextName(t *testing.T) {
	a := newApp(t)
	r, x := a.Begin(httptest.NewRequest("GET", "/", nil))
	defer func() { _ = x.End() }()
	ctx := stringContext{context.Background(), map[string]any{}}
	if err := session.FromContext(ctx).Authorize(nil); !errors.Is(err, session.ErrNotLoaded) {
		t.Errorf("without anything: %v", err)
	}
	ctx.values[session.ContextName] = context.Background()
	if err := session.FromContext(ctx).Authorize(nil); !errors.Is(err, session.ErrNotLoaded) {
		t.Errorf("with another context: %v", err)
	}
	ctx.values[session.ContextName] = r.Context()
	if err := a.Login(ctx, "user@example.com", "secret"); err != nil {
		t.Fatal(err)
	}
	if s := session.FromContext(ctx); !s.SignedIn() || s != session.FromContext(r.Context()) {
		t.Error("the session is not found under its name")
	}
}
