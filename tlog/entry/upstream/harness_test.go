package upstream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
)

// samples is where testdata/make.sh has worked, to make the kept proposals anew.
var samples = flag.String("samples", "", "make testdata/*.json from the samples in this directory")

// artifacts are the proposals of testdata: a file for each, made by upstream's own client code from
// what make.sh has made, as rekor-cli does it.
var artifacts = []struct{ name, kind, artifact, signature, key, format string }{
	{"rekord-pgp-armoured", "rekord", "artifact", "artifact.asc", "pgp.pub", "pgp"},
	{"rekord-pgp-binary", "rekord", "artifact", "artifact.gpg", "pgp.pub.bin", "pgp"},
	{"rekord-minisign", "rekord", "artifact", "artifact.minisig", "minisign.pub", "minisign"},
	{"rekord-minisign-legacy", "rekord", "artifact", "artifact.legacy.minisig", "minisign.pub", "minisign"},
	{"rekord-ssh-ed25519", "rekord", "artifact", "artifact.ssh-ed25519", "ssh-ed25519.pub", "ssh"},
	{"rekord-ssh-ecdsa", "rekord", "artifact", "artifact.ssh-ecdsa", "ssh-ecdsa.pub", "ssh"},
	{"rekord-ssh-rsa", "rekord", "artifact", "artifact.ssh-rsa", "ssh-rsa.pub", "ssh"},
	{"rekord-x509-key", "rekord", "artifact", "artifact.ec", "ec.pub", "x509"},
	{"rekord-x509-certificate", "rekord", "artifact", "artifact.ec", "ec.crt", "x509"},
	{"helm", "helm", "chart-0.1.0.tgz.prov", "", "pgp.pub", "pgp"},
	{"jar", "jar", "signed.jar", "", "", ""},
	{"alpine", "alpine", "test.apk", "", "apk.pub", "x509"},
	{"rpm", "rpm", "test.rpm", "", "pgp.pub", "pgp"},
	{"cose", "cose", "artifact.cose", "", "ec.pub", "x509"},
	{"rfc3161", "rfc3161", "artifact.tsr", "", "", ""},
}

func TestMain(m *testing.M) {
	flag.Parse()
	if *samples != "" {
		if err := keep(*samples); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func keep(dir string) error {
	for _, a := range artifacts {
		var props types.ArtifactProperties
		var err error
		if props.ArtifactBytes, err = os.ReadFile(filepath.Join(dir, a.artifact)); err != nil {
			return err
		}
		if a.signature != "" {
			if props.SignatureBytes, err = os.ReadFile(filepath.Join(dir, a.signature)); err != nil {
				return err
			}
		}
		if a.key != "" {
			key, err := os.ReadFile(filepath.Join(dir, a.key))
			if err != nil {
				return err
			}
			props.PublicKeyBytes = [][]byte{key}
		}
		props.PKIFormat = a.format
		pe, err := types.NewProposedEntry(context.Background(), a.kind, "0.0.1", props)
		if err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
		if err := write(a.name, pe); err != nil {
			return err
		}
	}
	pe, err := makeTUF(farOff, farOff)
	if err != nil {
		return err
	}
	return write("tuf", pe)
}

func write(name string, proposed any) error {
	text, err := json.MarshalIndent(proposed, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join("testdata", name+".json"), append(text, '\n'), 0o666)
}

// kept returns all proposals of testdata by name.
func kept(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no proposals in testdata", err)
	}
	for _, f := range files {
		if out[strings.TrimSuffix(filepath.Base(f), ".json")], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// result is what either implementation makes of a proposed entry.
type result struct {
	body, attestation []byte
	keys              []string
}

// theirs does what upstream's server does, in its order.
func theirs(proposed []byte) (r result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	pe, err := models.UnmarshalProposedEntry(bytes.NewReader(proposed), nil)
	if err != nil {
		return r, err
	}
	impl, err := types.CreateVersionedEntry(pe)
	if err != nil {
		return r, err
	}
	if r.body, err = types.CanonicalizeEntry(context.Background(), impl); err != nil {
		return r, err
	}
	keys, err := impl.IndexKeys()
	for _, k := range keys {
		r.keys = append(r.keys, strings.ToLower(k))
	}
	if a, ok := impl.(types.EntryWithAttestationImpl); ok {
		_, r.attestation = a.AttestationKeyValue()
	}
	return r, err
}

func ours(t testing.TB, proposed []byte) (result, error) {
	t.Helper()
	var v struct {
		Kind       string
		APIVersion string
	}
	if err := json.Unmarshal(proposed, &v); err != nil {
		t.Fatal(err)
	}
	e, err := upstream.Kinds().Parse(entry.Kind{Name: v.Kind, Version: v.APIVersion}, entrytest.Spec(t, proposed))
	if err == nil {
		err = e.Insertable()
	}
	if err != nil {
		return result{}, err
	}
	r := result{body: e.Body(), attestation: e.(*upstream.Entry).Attestation()}
	for _, k := range e.Keys() {
		r.keys = append(r.keys, string(k))
	}
	if e.Identity() != [32]byte(rfc6962.DefaultHasher.HashLeaf(r.body)) {
		return r, errors.New("identity is not the leaf hash of the body")
	}
	return r, stored(e)
}

// stored checks what the log keeps of an entry: the leaf comes back from it, and so do the keys.
func stored(e entry.Proposed) error {
	leaf, data, err := e.Encode(1, 1)
	if err != nil || !bytes.Equal(leaf, e.Body()) {
		return fmt.Errorf("encoded as %q, %w", leaf, err)
	}
	if again, err := entry.LeafInput(data); err != nil || !bytes.Equal(again, leaf) {
		return fmt.Errorf("the leaf of what is stored is %q, %w", again, err)
	}
	keys, err := upstream.Keys(data)
	if err != nil || fmt.Sprintf("%q", keys) != fmt.Sprintf("%q", e.Keys()) {
		return fmt.Errorf("the keys of what is stored are %q, %w; the entry's %q", keys, err, e.Keys())
	}
	return nil
}
