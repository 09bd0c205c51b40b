package peers

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sigbox/sigbox/e2e/internal/clients"
)

var tsaServer = clients.Client{
	Name: "timestamp-server", Package: "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server",
	Module: "github.com/sigstore/timestamp-authority/v2", Version: "v2.1.3",
}

// EnsureTSA is Ensure for the timestamp authority.
func EnsureTSA(ctx context.Context, w io.Writer) error { return tsaServer.Ensure(ctx, w) }

// StartTSA runs the timestamp authority with a key in memory. It looks at no NTP servers. It serves its
// metrics on port 2112 of every address: see [outside.Alone].
func StartTSA(ctx context.Context, dir string) (_ *Peer, err error) {
	p := &Peer{What: fmt.Sprintf("timestamp-authority %s, key in memory", tsaServer.Version)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Stop())
		}
	}()
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	p.URL = "http://" + local(ports[0])
	err = p.runClient(ctx, dir, tsaServer, "serve", "--host", "127.0.0.1", "--port", ports[0], "--timestamp-signer", "memory",
		"--disable-ntp-monitoring", "--use-http-201", "--log-type", "prod")
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, answers(p.URL+"/api/v1/timestamp/certchain"))
}
