package main

import (
	"testing"

	"github.com/synmetrix/session/examples/internal/pagetest"
)

func TestMain(m *testing.M) { pagetest.Main(m, main) }

func TestExample(t *testing.T) { pagetest.Run(t, newHandler) }
