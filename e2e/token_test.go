package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/internal/hsmtest"
	"github.com/sigbox/sigbox/internal/pgtest"
)

// TestShapeOnToken runs the table against `sigbox serve` in one process with every key of its services on a token.
func TestShapeOnToken(t *testing.T) {
	h := hsmtest.New(t)
	f := startFleetOf(t, fleet.Shape{Name: "one process, keys on a token", Replicas: 1}, fleet.Options{
		Database: pgtest.Start(t).URL("postgres"), Token: h.TokenURI(),
		Env: []string{"SOFTHSM2_CONF=" + os.Getenv("SOFTHSM2_CONF"), "SIGBOX_PKCS11_PROGRAM=" + hsmtest.Program(t)},
	})
	for _, key := range []string{"ca/ca.key", "ca/tsa.key", "tlog/rekor-v1.key", "tlog/rekor-v2.key", "tlog/ct.key", "tuf/snapshot.key", "tuf/timestamp.key"} {
		if raw, err := os.ReadFile(filepath.Join(filepath.Dir(f.Members[0].Config()), key)); err != nil || !strings.HasPrefix(string(raw), "pkcs11:") {
			t.Fatalf("%s is not on the token (%v)", key, err)
		}
	}
	allRows(t, f)
}
