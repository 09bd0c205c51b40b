package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// StartRekorV1 runs Rekor v1 on Trillian's log server and signer over an empty PostgreSQL database
// (a URL as pgx reads it), with Redis as its search index. What they print and what Redis keeps goes
// to dir.
//
// The signer sequences every 100 ms, its default. Redis appends to a file, as in Rekor's compose
// file. Trillian's quotas are off. Settings are Rekor's.
func StartRekorV1(ctx context.Context, dir, database string, settings ...Setting) (_ *Peer, err error) {
	p := &Peer{What: fmt.Sprintf("Rekor %s on Trillian %s over PostgreSQL, sequencer every 100 ms, Redis index", rekorServer.Version, trillianServer.Version)}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Stop())
		}
	}()
	ports, err := freePorts(4)
	if err != nil {
		return nil, err
	}
	logServer, signer, redis, web := ports[0], ports[1], ports[2], ports[3]
	tree, err := p.startTrillian(ctx, dir, database, logServer, signer)
	if err != nil {
		return nil, err
	}
	redisServer, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("Rekor's search index: %w: install the package redis-server", err)
	}
	err = p.run(ctx, dir, redisServer, "--bind", "127.0.0.1", "--port", redis, "--dir", dir, "--appendonly", "yes", "--save", "")
	if err == nil {
		err = p.await(ctx, listens(local(redis)))
	}
	if err != nil {
		return nil, err
	}
	// Rekor serves its metrics on port 2112 of every address, and goes on without where the port is
	// taken. Nothing of ours listens beyond loopback, so it is.
	if l, err := net.Listen("tcp", "127.0.0.1:2112"); err == nil {
		defer l.Close()
	}
	p.URL = "http://" + local(web)
	args := []string{"serve", "--rekor_server.address", "127.0.0.1", "--port", web,
		"--rekor_server.hostname", "rekor.test", "--rekor_server.signer", "memory", "--log_type", "prod",
		"--trillian_log_server.address", "127.0.0.1", "--trillian_log_server.port", logServer, "--trillian_log_server.tlog_id", tree,
		"--redis_server.address", "127.0.0.1", "--redis_server.port", redis}
	for _, s := range settings {
		args = append(args, s(dir)...)
	}
	if err := p.runClient(ctx, dir, rekorServer, args...); err != nil {
		return nil, err
	}
	return p, p.await(ctx, answers(p.URL+"/api/v1/log"))
}

// Setting returns flags of rekor-server; dir is where it may keep files.
type Setting func(dir string) []string

// Attestations has Rekor keep attestations in files. It keeps none otherwise.
func Attestations(dir string) []string {
	return []string{"--enable_attestation_storage", "--attestation_storage_bucket=file://" + dir}
}

// startTrillian makes Trillian's tables, starts it and returns the id of a new tree.
func (p *Peer) startTrillian(ctx context.Context, dir, database, logServer, signer string) (tree string, err error) {
	if err := makeTables(ctx, database); err != nil {
		return "", err
	}
	storage := []string{"--storage_system=postgresql", "--postgresql_uri=" + database, "--quota_system=noop", "--http_endpoint=", "--logtostderr"}
	err = p.runClient(ctx, dir, trillianServer, append(storage, "--rpc_endpoint="+local(logServer))...)
	if err == nil {
		err = p.await(ctx, listens(local(logServer)))
	}
	if err == nil {
		err = p.runClient(ctx, dir, trillianSigner, append(storage, "--rpc_endpoint="+local(signer), "--force_master")...)
	}
	if err == nil {
		err = p.await(ctx, listens(local(signer)))
	}
	if err != nil {
		return "", err
	}
	path, err := createTree.Path()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, path, "--admin_server="+local(logServer)).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			out = exit.Stderr
		}
		return "", fmt.Errorf("createtree: %w: %s", err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// makeTables runs the schema that comes with Trillian.
func makeTables(ctx context.Context, database string) error {
	dir, err := moduleDir(ctx, trillianServer)
	if err != nil {
		return err
	}
	schema, err := os.ReadFile(filepath.Join(dir, "storage", "postgresql", "schema", "storage.sql"))
	if err != nil {
		return err
	}
	c, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, string(schema)); err != nil {
		return fmt.Errorf("Trillian's tables: %w", err)
	}
	return nil
}
