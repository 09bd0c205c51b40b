package figures

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/instance"
)

const replicaUser = "sigbox_replica"

// configuration is that of a replica over the logs, and with the keys, of an instance. The guard is a
// row in another database, which replicas share.
const configuration = `public_url: http://%[1]s
listen: %[2]s
logging: {level: warn, format: text}
tlog:
  database: {url: %[3]q, migrate_url: %[4]q}
  guard:
    database: {url: %[5]q, migrate_url: %[6]q}
  rekor_v1:
    shards:
      - {name: rekor-v1, tree_id: %[7]d, key: %[8]q}
  rekor_v2: {key: %[9]q}
`

// replicas starts some equal processes over the logs of an instance that is not running, and returns
// their URLs. They are stopped when the test ends, or before, by the function that it returns.
func (i *testInstance) replicas(t *testing.T, n int) (urls []string, stop func()) {
	t.Helper()
	var info struct {
		Host   string
		TreeID int64 `json:"tree_id"`
	}
	raw, err := os.ReadFile(filepath.Join(i.data, "instance.json"))
	if err == nil {
		err = json.Unmarshal(raw, &info)
	}
	if err != nil {
		t.Fatal(err)
	}
	const guard = "guard"
	i.server.Exec(t, "postgres", "DROP DATABASE IF EXISTS "+guard, "CREATE DATABASE "+guard, // it has forgotten everything, which is allowed
		"DO $$ BEGIN CREATE ROLE "+replicaUser+" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
	asUser := func(database string) string {
		return strings.Replace(i.server.URL(database), "user=postgres", "user="+replicaUser, 1)
	}
	dir := t.TempDir()
	var running []*exec.Cmd
	for r := range n {
		port, err := instance.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		addr := fmt.Sprintf("127.0.0.1:%d", port)
		file := filepath.Join(dir, fmt.Sprintf("replica-%d.yaml", r))
		text := fmt.Sprintf(configuration, info.Host, addr, asUser(databaseName), i.server.URL(databaseName), asUser(guard), i.server.URL(guard),
			info.TreeID, filepath.Join(i.data, "keys", "rekor-v1.pem"), filepath.Join(i.data, "keys", "rekor-v2.pem"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r == 0 {
			migrate := exec.Command(binary(t), "migrate", "--config", file)
			migrate.Env = i.env()
			if out, err := migrate.CombinedOutput(); err != nil {
				t.Fatalf("sigbox migrate: %v\n%s", err, out)
			}
		}
		running = append(running, serve(t, i.env(), file))
		urls = append(urls, "http://"+addr)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		for _, cmd := range running {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("sigbox serve: %v", err)
			}
		}
	}
	t.Cleanup(stop)
	return urls, stop
}

// serve runs a replica and waits for its ready line.
func serve(t *testing.T, env []string, file string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary(t), "serve", "--config", file)
	var stderr bytes.Buffer
	cmd.Env, cmd.Stderr, cmd.SysProcAttr = env, &stderr, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "ready ") {
			return cmd
		}
	}
	_ = cmd.Wait()
	t.Fatalf("sigbox serve gave no ready line:\n%s", stderr.String())
	return nil
}

// two loads two replicas as load loads one process.
func (i *testInstance) two(t *testing.T) (s Server) {
	t.Helper()
	s.What = "sigbox, two replicas"
	urls, stop := i.replicas(t, 2)
	defer stop()
	all := strings.Join(urls, ",")
	for _, clients := range world.clients {
		s.V1 = append(s.V1, i.bench(t, s.What, "rekor-v1", all, filepath.Join(i.data, "trust", "rekor.pub"), clients))
		s.V2 = append(s.V2, i.bench(t, s.What, "rekor-v2", all, filepath.Join(i.data, "trust", "rekor_v2.pub"), clients))
	}
	return s
}
