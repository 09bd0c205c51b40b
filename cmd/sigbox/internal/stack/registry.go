package stack

import (
	"io"
	"log"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Registry returns an OCI registry that keeps images in memory, with the referrers API that
// cosign 3 attaches bundles through. It is for trying things out.
func Registry() http.Handler {
	return registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
}
