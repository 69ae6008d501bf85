package middleware_test

import (
	"testing"

	"github.com/synmetrix/session/internal/testkit/scale"
)

func TestMain(m *testing.M) {
	scale.AtOnce(16) // they wait for the least duration of refused logins
	m.Run()
}
