//go:build postgres

package main

import (
	"bytes"
	"context"
	"crypto"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/bench"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/peertest"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/oidc/devidp"
	"github.com/sigbox/sigbox/tsa"
)

// trio is a configuration of all services over one database, each with a user and a schema of its
// own, as it runs in one process or in several.
type trio struct {
	server   *pgtest.Server
	database string
	users    map[string]string // by service
	dir      string
	peers    *peertest.Authority
	at       map[string]string // addresses: of services, and of their peers listeners as tlog.peers
	text     string
}

const trioConfig = `instance: 00112233445566778899aabbccddeeff
public_url: http://TLOG
logging: {level: debug, format: json}
issuer: {listen: "ISSUER", public_url: "http://ISSUER", key: issuer.pem}
ca:
  listen: CA
  public_url: http://CA
  database: {url: "AS_CA", migrate_url: "ADMIN"}
  key: ca.pem
  chain: chain.pem
  issuers: issuers.yaml
  ct: {address: "PEER_TLOG", key: ct.pub}
  tsa: {key: tsa.pem, chain: tsachain.pem}
  peers: {listen: "PEER_CA", certificate: ca.crt, key: ca.key, authorities: peers.pem}
tlog:
  listen: TLOG
  database: {url: "AS_TLOG", migrate_url: "ADMIN"}
  guard: {file: guard}
  poll: 100ms
  peers: {listen: "PEER_TLOG", certificate: tlog.crt, key: tlog.key, authorities: peers.pem}
  rekor_v1:
    shards:
      - {name: rekor-v1, tree_id: 1193046, key: rekor-v1.pem}
  rekor_v2: {key: rekor-v2.pem}
  ct: {key: ct.pem, roots: chain.pem}
tuf:
  listen: TUF
  public_url: http://TUF
  database: {url: "AS_TUF", migrate_url: "ADMIN"}
  snapshot_key: snapshot.pem
  timestamp_key: timestamp.pem
  sources: ["PEER_CA", "PEER_TLOG"]
  peers: {certificate: tuf.crt, key: tuf.key, authorities: peers.pem}
`

// newTrio makes all of it: keys, certificates, users, schemas, logs.
func newTrio(t *testing.T, changes ...string) *trio {
	t.Helper()
	s := &trio{server: pgtest.Shared(t), dir: t.TempDir(), users: map[string]string{}, at: map[string]string{}, peers: peertest.New(t, "peers")}
	s.database = s.server.Database(t)
	var replace []string
	for _, service := range []string{"ca", "tlog", "tuf", "issuer"} {
		s.at[service], s.at[service+".peers"] = freeAddr(t), freeAddr(t)
		upper := strings.ToUpper(service)
		replace = append(replace, "PEER_"+upper, s.at[service+".peers"], "AS_"+upper, s.asUser(t, service), upper, s.at[service])
		if service != "issuer" {
			s.peers.Issue(t, s.dir, service, service)
		}
	}
	s.peers.Write(t, filepath.Join(s.dir, "peers.pem"))
	s.text = strings.NewReplacer(append(replace, "ADMIN", s.server.URL(s.database))...).Replace(strings.NewReplacer(changes...).Replace(trioConfig))
	s.material(t)
	file := s.config(t)
	if stdout, stderr, code := run(t, "migrate", "--config", file); code != 0 {
		t.Fatalf("migrate: %d\n%s%s", code, stdout, stderr)
	}
	createLogs(t, file)
	return s
}

// asUser makes the user of a service and returns its connection string.
func (s *trio) asUser(t *testing.T, service string) string {
	t.Helper()
	user := fmt.Sprintf("%s%d", service, time.Now().UnixNano())
	s.server.Exec(t, "postgres", "CREATE ROLE "+user+" LOGIN")
	t.Cleanup(func() { s.server.Exec(t, "postgres", "DROP ROLE "+user) })
	s.users[service] = user
	return strings.Replace(s.server.URL(s.database), "user=postgres", "user="+user, 1)
}

// material makes keys and certificates.
func (s *trio) material(t *testing.T) {
	t.Helper()
	save := func(name string, key crypto.Signer) {
		if err := keys.Save(filepath.Join(s.dir, name+".pem"), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"rekor-v1", "rekor-v2", "ct", "snapshot", "timestamp", "other-ct", "other-issuer"} {
		key, err := keys.NewECDSA()
		if name == "other-issuer" {
			key, err = keys.NewRSA()
		}
		if err != nil {
			t.Fatal(err)
		}
		save(name, key)
		if pub, err := keys.PublicPEM(key.Public()); err != nil {
			t.Fatal(err)
		} else {
			write(t, filepath.Join(s.dir, name+".pub"), string(pub))
		}
	}
	issuer, err := keys.NewRSA()
	if err != nil {
		t.Fatal(err)
	}
	save("issuer", issuer)
	h, err := ca.NewHierarchy(clock.System{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	stamps, err := tsa.NewChain(clock.System{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	save("ca", h.IntermediateKey)
	save("tsa", stamps.Leaf.Key)
	var chain, tsaChain []byte
	for _, c := range h.Chain() {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	for _, c := range stamps.Certificates() {
		tsaChain = append(tsaChain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	write(t, filepath.Join(s.dir, "chain.pem"), string(chain))
	write(t, filepath.Join(s.dir, "tsachain.pem"), string(tsaChain))
	s.writeIssuers(t, "http://"+s.at["issuer"])
}

func (s *trio) writeIssuers(t *testing.T, urls ...string) {
	t.Helper()
	text := "oidc-issuers:\n"
	for _, url := range urls {
		text += fmt.Sprintf("  %s:\n    issuer-url: %s\n    client-id: sigstore\n    type: email\n", url, url)
	}
	replaceFile(t, filepath.Join(s.dir, "issuers.yaml"), text)
}

// replaceFile replaces a file in one step, as tools that renew certificates do.
func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// config writes the configuration, with pairs of texts replaced.
func (s *trio) config(t *testing.T, changes ...string) string {
	t.Helper()
	text := s.text
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(text, changes[i]) {
			t.Fatalf("the configuration has no %q", changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	f, err := os.CreateTemp(s.dir, "sigbox-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// serve runs services of a configuration, all for none, and waits until they listen.
func (s *trio) serve(t *testing.T, file string, only ...string) *instanceRun {
	t.Helper()
	args := []string{"serve", "--config", file}
	if only != nil {
		args = append(args, "--only", strings.Join(only, ","))
	}
	r := startCommand(t, sigbox(t, args...))
	address, _, _ := strings.Cut(r.url, " ")
	r.url = "http://" + address
	return r
}

// publish makes the first set by a ceremony of one signer, from what waits in the inbox.
func (s *trio) publish(t *testing.T, file string) {
	t.Helper()
	key, request := filepath.Join(s.dir, "signer.key"), filepath.Join(s.dir, "first.json")
	sigboxOK := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := run(t, args...)
		if code != 0 {
			t.Fatalf("%v: %d\n%s%s", args, code, stdout, stderr)
		}
		return stdout
	}
	sigboxOK("tuf", "key", "--out", key)
	sigboxOK("tuf", "init", "--config", file, "--root-key", key+".pub", "--targets-key", key+".pub", "--out", request)
	// A person types the id from the request's words.
	_, id, found := strings.Cut(sigboxOK("tuf", "status", request), "request ")
	if id, _, _ = strings.Cut(id, "\n"); !found {
		t.Fatal("the words do not say the id")
	}
	sigboxOK("tuf", "sign", request, "--key", key, "--approve", strings.Fields(id)[0])
	sigboxOK("tuf", "publish", request, "--config", file, "--approve", strings.Fields(id)[0])
}

// client asks the CA for certificates, and checks them as clients do.
func (s *trio) client(t *testing.T, n int) *bench.Fulcio {
	t.Helper()
	return s.clientOf(t, n, "ct.pub")
}

// clientOf is client, for certificates that are in the CT log with a key.
func (s *trio) clientOf(t *testing.T, n int, ctKey string) *bench.Fulcio {
	t.Helper()
	token, err := devidp.FetchToken(t.Context(), "http://"+s.at["issuer"], map[string]any{"email": "dev@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	f := &bench.Fulcio{Token: token, ChainFile: filepath.Join(s.dir, "chain.pem"), CTKeyFile: filepath.Join(s.dir, ctKey)}
	if err := f.Prepare(t.Context(), http.DefaultClient, "http://"+s.at["ca"], uint64(time.Now().UnixNano()), n); err != nil {
		t.Fatal(err)
	}
	return f
}

// sign asks for certificate i and returns how that was answered; a certificate has been checked.
func (s *trio) sign(t *testing.T, f *bench.Fulcio, i int) (status int, text string, took time.Duration) {
	t.Helper()
	body, err := f.Request(i)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	status, text, _, err = answer(t.Context(), http.MethodPost, "http://"+s.at["ca"]+f.Path(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if status == http.StatusOK {
		if err := f.Check(i, []byte(text)); err != nil {
			t.Errorf("certificate: %v", err)
		}
	}
	return status, text, time.Since(began)
}

// certified wants a certificate.
func (s *trio) certified(t *testing.T) {
	t.Helper()
	if status, text, _ := s.sign(t, s.client(t, 1), 0); status != http.StatusOK {
		t.Errorf("no certificate: %d %s", status, text)
	}
}

// stamped wants a timestamp.
func (s *trio) stamped(t *testing.T) {
	t.Helper()
	status, text, _, err := answer(context.Background(), http.MethodPost, "http://"+s.at["ca"]+"/api/v1/timestamp",
		strings.NewReader(`{"artifactHash":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=","hashAlgorithm":"sha256"}`))
	if err != nil || status != http.StatusCreated || len(text) < 100 {
		t.Errorf("no timestamp: %d %q %v", status, text, err)
	}
}
