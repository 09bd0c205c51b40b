package peers

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
)

// StartFulcio runs Fulcio, and the CT log server on Trillian's log server and signer over an empty
// PostgreSQL database (a URL as pgx reads it). issuers is Fulcio's config.yaml. What they print and their
// keys go to dir.
//
// Fulcio signs with a key of a file, as its compose file has it, by an intermediate and a root that our own
// code has made. It serves its metrics on a port of every address: see [outside.Alone].
func StartFulcio(ctx context.Context, dir, database, issuers string) (_ *Peer, err error) {
	p := &Peer{
		What:    fmt.Sprintf("Fulcio %s with ct_server %s on Trillian %s over PostgreSQL, sequencer every 100 ms", fulcioServer.Version, ctServer.Version, trillianServer.Version),
		KeyFile: filepath.Join(dir, "ctfe.pub"),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Stop())
		}
	}()
	ports, err := freePorts(6)
	if err != nil {
		return nil, err
	}
	chain, key, err := makeAuthority(dir)
	if err != nil {
		return nil, err
	}
	tree, err := p.startTrillian(ctx, dir, database, ports[0], ports[1])
	if err != nil {
		return nil, err
	}
	log := local(ports[2])
	if err := p.startCTLog(ctx, dir, tree, local(ports[0]), log); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, []byte(issuers), 0o644); err != nil {
		return nil, err
	}
	p.URL, p.RPC = "http://"+local(ports[3]), local(ports[4])
	err = p.runClient(ctx, dir, fulcioServer, "serve", "--host", "127.0.0.1", "--port", ports[3],
		"--grpc-host", "127.0.0.1", "--grpc-port", ports[4], "--metrics-port", ports[5], "--legacy-unix-domain-socket", filepath.Join(dir, "legacy.sock"),
		"--ca", "fileca", "--fileca-cert", chain, "--fileca-key", key, "--fileca-key-passwd", "none", "--fileca-watch=false",
		"--ct-log-url", "http://"+log+"/test", "--ct-log-public-key-path", p.KeyFile, "--config-path", config, "--log_type", "prod")
	if err != nil {
		return nil, err
	}
	return p, p.await(ctx, answers(p.URL+"/api/v1/rootCert"))
}

// startCTLog runs the CT log of a tree. It takes code signing certificates of the root in dir.
func (p *Peer) startCTLog(ctx context.Context, dir, tree, logServer, addr string) error {
	key, err := keys.NewECDSA()
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	public, err := keys.PublicPEM(key.Public())
	if err != nil {
		return err
	}
	var escaped strings.Builder // in the configuration itself, since it takes a file only with a password
	for _, b := range der {
		fmt.Fprintf(&escaped, `\x%02x`, b)
	}
	config := fmt.Sprintf(`config {
  log_id: %s
  prefix: "test"
  roots_pem_file: %q
  ext_key_usages: "CodeSigning"
  private_key: { [type.googleapis.com/keyspb.PrivateKey] { der: "%s" } }
}
`, tree, filepath.Join(dir, "root.pem"), escaped.String())
	path := filepath.Join(dir, "ct_server.cfg")
	if err := errors.Join(os.WriteFile(path, []byte(config), 0o600), os.WriteFile(p.KeyFile, public, 0o644)); err != nil {
		return err
	}
	if err := p.runClient(ctx, dir, ctServer, "--log_config", path, "--log_rpc_server", logServer, "--http_endpoint", addr, "--logtostderr"); err != nil {
		return err
	}
	return p.await(ctx, answers("http://"+addr+"/test/ct/v1/get-sth"))
}

// makeAuthority writes root.pem, and the chain and the key of an intermediate below it.
func makeAuthority(dir string) (chainFile, keyFile string, err error) {
	h, err := ca.NewHierarchy(clock.System{}, "fulcio.test")
	if err != nil {
		return "", "", err
	}
	root, err := cryptoutils.MarshalCertificateToPEM(h.Root)
	if err != nil {
		return "", "", err
	}
	chain, err := cryptoutils.MarshalCertificatesToPEM(h.Chain())
	if err != nil {
		return "", "", err
	}
	chainFile, keyFile = filepath.Join(dir, "chain.pem"), filepath.Join(dir, "key.pem")
	return chainFile, keyFile, errors.Join(
		os.WriteFile(filepath.Join(dir, "root.pem"), root, 0o644),
		os.WriteFile(chainFile, chain, 0o644),
		keys.Save(keyFile, h.IntermediateKey))
}
