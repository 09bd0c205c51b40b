package airgap_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/airgap"
	"github.com/sigbox/sigbox/tuf/trustroot"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// outside is an instance with one Rekor v1 log.
type outside struct {
	t      *testing.T
	clock  *clock.Manual
	cfg    tuf.Config
	repo   *tuf.Repository
	log    crypto.Signer
	leaves [][]byte
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{t: t, clock: clock.NewManual(start), log: tuftest.Key(t)}
	o.cfg = tuftest.Config(t, o.clock)
	m := tuftest.Material(t, "https://sigstore.example.com", start)
	m.RekorV1[0].Key = o.log.Public()
	o.repo = tuftest.Repository(t, o.cfg, m)
	o.grow(5)
	return o
}

func (o *outside) grow(n int) {
	for range n {
		o.leaves = append(o.leaves, fmt.Appendf(nil, "entry %d", len(o.leaves)))
	}
}

// tree is the compact range of the first n leaves.
func tree(t *testing.T, leaves [][]byte) (hashes [][]byte, root [32]byte) {
	t.Helper()
	r := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, l := range leaves {
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(l), nil); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := r.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.Hashes(), [32]byte(raw)
}

// consistency proves that the tree of all leaves extends that of the first old.
func consistency(t *testing.T, leaves [][]byte, old int) [][]byte {
	t.Helper()
	nodes, err := proof.Consistency(uint64(old), uint64(len(leaves)))
	if err != nil {
		t.Fatal(err)
	}
	var hashes [][]byte
	for _, id := range nodes.IDs {
		low, high := id.Index<<id.Level, (id.Index+1)<<id.Level
		_, root := tree(t, leaves[low:min(high, uint64(len(leaves)))])
		hashes = append(hashes, root[:])
	}
	hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		t.Fatal(err)
	}
	return hashes
}

func (o *outside) note(key crypto.Signer, leaves [][]byte) []byte {
	o.t.Helper()
	s, err := checkpoint.NewSigner("sigstore.example.com", "sigstore.example.com - 7", key)
	if err != nil {
		o.t.Fatal(err)
	}
	_, root := tree(o.t, leaves)
	signed, err := s.Sign(int64(len(leaves)), root)
	if err != nil {
		o.t.Fatal(err)
	}
	return signed.Note
}

// otherOrigin is a checkpoint of the first n leaves under another origin.
func (o *outside) otherOrigin(n int64) []byte {
	o.t.Helper()
	s, err := checkpoint.NewSigner("other.example.com", "other.example.com - 7", o.log)
	if err != nil {
		o.t.Fatal(err)
	}
	_, root := tree(o.t, o.leaves[:n])
	signed, err := s.Sign(n, root)
	if err != nil {
		o.t.Fatal(err)
	}
	return signed.Note
}

func logOf(t *testing.T, pub crypto.PublicKey, note []byte) airgap.Log {
	t.Helper()
	id, err := keys.ID(pub)
	if err != nil {
		t.Fatal(err)
	}
	return airgap.NewLog("rekor-v1", id, note)
}

// export is what is to be written, until build seals it. Rows of tests change it.
type export struct {
	manifest airgap.Manifest
	parts    map[string][]byte // of the manifest, by name
	signers  []crypto.Signer
	after    *airgap.Envelope
	change   func(*airgap.Envelope)              // once it is signed
	entries  func([]*tar.Header, [][]byte) []int // of the archive: the order in which they are written
	envelope *airgap.Envelope
}

// export makes an export of everything, with the entries since the one before.
func (o *outside) export(after *airgap.Envelope) *export {
	o.t.Helper()
	now := o.clock.Now()
	p := o.repo.Published()
	e := &export{parts: map[string][]byte{}, signers: []crypto.Signer{o.cfg.Keys.Targets}, after: after}
	v := p.Versions()
	e.manifest = airgap.Manifest{Mirror: "https://sigstore.example.com/tuf", Number: 1, Made: now, GoodUntil: now.Add(airgap.DefaultGoodFor), Versions: v}
	add := func(name, path string) {
		f, ok := p.File(path)
		if !ok {
			o.t.Fatalf("no %s", path)
		}
		e.add(name, f.Bytes)
	}
	for n := int64(1); n <= v.Root; n++ {
		add(fmt.Sprintf("tuf/%d.root.json", n), fmt.Sprintf("%d.root.json", n))
	}
	add("tuf/targets.json", fmt.Sprintf("%d.targets.json", v.Targets))
	add("tuf/snapshot.json", fmt.Sprintf("%d.snapshot.json", v.Snapshot))
	add("tuf/timestamp.json", "timestamp.json")
	for _, name := range p.Targets() {
		f, _ := p.Target(name)
		e.add("targets/"+name, f.Bytes)
	}
	l := logOf(o.t, o.log.Public(), o.note(o.log, o.leaves))
	l.Held = int64(len(o.leaves))
	l.Range, _ = tree(o.t, o.leaves)
	if after != nil {
		before := after.Manifest
		e.manifest.Number = before.Number + 1
		e.manifest.After, _ = before.ID()
		l.From, l.First, l.FirstRange = before.Logs[0].Held, before.Logs[0].Held, before.Logs[0].Range
		l.Proof = consistency(o.t, o.leaves, int(l.From))
	}
	var carried bytes.Buffer
	for _, leaf := range o.leaves[l.First:] {
		if err := airgap.WriteLeaf(&carried, leaf); err != nil {
			o.t.Fatal(err)
		}
	}
	if carried.Len() > 0 {
		e.add("entries/"+l.ID, carried.Bytes())
	}
	e.manifest.Logs = []airgap.Log{l}
	e.add("bundles/app.sigstore.json", []byte("{}"))
	return e
}

func part(name string, raw []byte) airgap.Part {
	sum := sha256.Sum256(raw)
	return airgap.Part{Name: name, Size: int64(len(raw)), SHA256: hex.EncodeToString(sum[:])}
}

func (e *export) add(name string, raw []byte) {
	e.manifest.Parts = append(e.manifest.Parts, part(name, raw))
	e.parts[name] = raw
}

// replace has the manifest say what the part is now.
func (e *export) replace(name string, raw []byte) {
	i := slices.IndexFunc(e.manifest.Parts, func(p airgap.Part) bool { return p.Name == name })
	e.manifest.Parts[i], e.parts[name] = part(name, raw), raw
}

// drop takes a part out.
func (e *export) drop(name string) {
	e.manifest.Parts = slices.DeleteFunc(e.manifest.Parts, func(p airgap.Part) bool { return p.Name == name })
}

// rename gives a part another name.
func (e *export) rename(from, to string) {
	i := slices.IndexFunc(e.manifest.Parts, func(p airgap.Part) bool { return strings.HasPrefix(p.Name, from) })
	e.parts[to] = e.parts[e.manifest.Parts[i].Name]
	e.manifest.Parts[i].Name = to
}

// build writes the file; err is that of a manifest that cannot be sealed.
func (o *outside) build(e *export) ([]byte, error) {
	o.t.Helper()
	sealed, err := e.manifest.Seal()
	if err != nil {
		return nil, err
	}
	for _, key := range e.signers {
		root := e.parts[fmt.Sprintf("tuf/%d.root.json", o.repo.Published().Versions().Root)]
		if err := sealed.Sign(key, root); err != nil {
			o.t.Fatal(err)
		}
	}
	if e.change != nil {
		e.change(sealed)
	}
	e.envelope = sealed
	var out bytes.Buffer
	err = airgap.Write(&out, sealed, func(p airgap.Part) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(e.parts[p.Name])), nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	if e.entries == nil {
		return out.Bytes(), nil
	}
	return o.rewrite(out.Bytes(), e.entries), nil
}

// rewrite changes entries of an archive, and writes those that are named.
func (o *outside) rewrite(raw []byte, change func([]*tar.Header, [][]byte) []int) []byte {
	o.t.Helper()
	var headers []*tar.Header
	var contents [][]byte
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			o.t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			o.t.Fatal(err)
		}
		headers, contents = append(headers, h), append(contents, content)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, i := range change(headers, contents) {
		h := *headers[i]
		h.Size = int64(len(contents[i]))
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeCont {
			h.Size = 0
		}
		if err := w.WriteHeader(&h); err != nil {
			o.t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write(contents[i]); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		o.t.Fatal(err)
	}
	return out.Bytes()
}

// read reads a file inside, where the first root is known.
func (o *outside) read(raw []byte) (*airgap.File, error) {
	root, _ := o.repo.Published().File("1.root.json")
	return airgap.Read(bytes.NewReader(raw), airgap.ReadOptions{Now: o.clock.Now(), Root: root.Bytes, Max: 1 << 20})
}

// publish changes what the instance publishes.
func (o *outside) publish(m trustroot.Material) {
	o.t.Helper()
	if _, err := o.repo.Publish(context.Background(), tuftest.Compose(o.t, m)); err != nil {
		o.t.Fatal(err)
	}
}
