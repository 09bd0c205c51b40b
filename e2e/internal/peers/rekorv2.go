package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sigbox/sigbox/keys"
)

// StartRekorV2 runs Rekor v2 on Tessera's POSIX driver, with everything in dir. An entry is answered
// when a checkpoint covers it, so the interval of checkpoints bounds every latency: Rekor's compose
// file has 2 s, and Tessera takes no less than 100 ms. Duplicates are found, as in the compose file.
func StartRekorV2(ctx context.Context, dir string, interval time.Duration) (_ *Peer, err error) {
	p := &Peer{What: fmt.Sprintf("Rekor %s (Tessera POSIX), checkpoint every %s", rekorTiles.Version, interval), KeyFile: filepath.Join(dir, "log.pub")}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Stop())
		}
	}()
	private := filepath.Join(dir, "log.pem")
	if err := makeKey(private, p.KeyFile); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	p.URL, p.RPC, p.Tiles = "http://"+local(ports[0]), local(ports[1]), filepath.Join(dir, "log")
	err = p.runClient(ctx, dir, rekorTiles, "serve", "--http-address", "127.0.0.1", "--http-port", ports[0],
		"--grpc-address", "127.0.0.1", "--grpc-port", ports[1], "--http-metrics-port", ports[2],
		"--hostname", "rekor.test", "--storage-dir", p.Tiles, "--signer-filepath", private,
		"--checkpoint-interval", interval.String(), "--batch-max-age", min(interval, 250*time.Millisecond).String(),
		"--persistent-antispam", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, answers(p.URL+"/healthz"))
}

// makeKey writes a log's key pair as PEM.
func makeKey(private, public string) error {
	key, err := keys.NewECDSA()
	if err != nil {
		return err
	}
	text, err := keys.PublicPEM(key.Public())
	if err != nil {
		return err
	}
	return errors.Join(keys.Save(private, key), os.WriteFile(public, text, 0o644))
}
