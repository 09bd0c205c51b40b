package witness

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// Writer makes hashedrekord entries, each over a digest that nobody has seen.
type Writer struct {
	key *ecdsa.PrivateKey
	der []byte
}

// NewWriter makes a writer with a key of its own.
func NewWriter() (*Writer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return &Writer{key, der}, err
}

func (w *Writer) sign() (digest [32]byte, sig []byte, err error) {
	if _, err := rand.Read(digest[:]); err != nil {
		return digest, nil, err
	}
	sig, err = ecdsa.SignASN1(rand.Reader, w.key, digest[:])
	return digest, sig, err
}

// inclusionV1 is the proof of a Rekor v1 LogEntry.
type inclusionV1 struct {
	Checkpoint string   `json:"checkpoint"`
	Hashes     []string `json:"hashes"`
	LogIndex   uint64   `json:"logIndex"`
}

type entryV1 struct {
	Body         []byte `json:"body"` // base64 in JSON
	Verification struct {
		InclusionProof inclusionV1 `json:"inclusionProof"`
	} `json:"verification"`
}

func (e entryV1) accept(w *Witness, id string) error {
	hashes := make([][]byte, len(e.Verification.InclusionProof.Hashes))
	for i, h := range e.Verification.InclusionProof.Hashes {
		var err error
		if hashes[i], err = hex.DecodeString(h); err != nil {
			return err
		}
	}
	p := e.Verification.InclusionProof
	return w.Acknowledged(Entry{ID: id, Index: p.LogIndex, Leaf: e.Body}, p.Checkpoint, hashes)
}

// WriteV1 posts one entry to the Rekor v1 log; once it is acknowledged the witness knows it. That the
// log has it already, since a proxy sent it twice, is acknowledgement too: what is there must be it.
func (w *Writer) WriteV1(ctx context.Context, c *Client, wit *Witness) error {
	digest, sig, err := w.sign()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": map[string]any{
		"data": map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": hex.EncodeToString(digest[:])}},
		"signature": map[string]any{"content": sig, "publicKey": map[string]any{
			"content": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: w.der})}},
	}})
	if err != nil {
		return err
	}
	status, header, out, err := c.send(ctx, http.MethodPost, "/api/v1/log/entries", body)
	if err == nil && status == http.StatusConflict {
		status, _, out, err = c.send(ctx, http.MethodGet, header.Get("Location"), nil)
		if err == nil && status == http.StatusOK {
			status = http.StatusCreated
		}
	}
	if err != nil {
		return err
	}
	if status != http.StatusCreated {
		return fmt.Errorf("POST /api/v1/log/entries: status %d: %s", status, out)
	}
	var got map[string]entryV1
	if err := json.Unmarshal(out, &got); err != nil {
		return err
	}
	for id, e := range got {
		if err := e.accept(wit, id); err != nil {
			return &Broken{err}
		}
	}
	return nil
}

// Broken says that the log broke a promise, rather than that it could not be reached.
type Broken struct{ error }

func (b *Broken) Unwrap() error { return b.error }

// WriteV2 does the same on the Rekor v2 log.
func (w *Writer) WriteV2(ctx context.Context, c *Client, wit *Witness) error {
	digest, sig, err := w.sign()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"hashedRekordRequestV002": map[string]any{
		"digest": digest[:], "signature": map[string]any{"content": sig, "verifier": map[string]any{
			"publicKey": map[string]any{"rawBytes": w.der}, "keyDetails": "PKIX_ECDSA_P256_SHA_256"}},
	}})
	if err != nil {
		return err
	}
	var got struct {
		LogIndex          string
		CanonicalizedBody []byte
		InclusionProof    struct {
			Hashes     [][]byte
			Checkpoint struct{ Envelope string }
		}
	}
	if err := c.JSON(ctx, http.MethodPost, "/api/v2/log/entries", body, http.StatusCreated, &got); err != nil {
		return err
	}
	index, err := strconv.ParseUint(got.LogIndex, 10, 63)
	if err != nil {
		return &Broken{err}
	}
	if err := wit.Acknowledged(Entry{Index: index, Leaf: got.CanonicalizedBody}, got.InclusionProof.Checkpoint.Envelope, got.InclusionProof.Hashes); err != nil {
		return &Broken{err}
	}
	return nil
}

// CheckEntriesV1 gets each entry by its id: the same leaf at the same index, with a proof that
// verifies now.
func CheckEntriesV1(ctx context.Context, c *Client, wit *Witness, entries []Entry) error {
	fresh := &Witness{verifier: wit.verifier, heads: map[uint64]Head{}}
	for _, e := range entries {
		var got map[string]entryV1
		if err := c.JSON(ctx, http.MethodGet, "/api/v1/log/entries/"+e.ID, nil, http.StatusOK, &got); err != nil {
			return fmt.Errorf("LOST: %w", err)
		}
		now, ok := got[e.ID]
		if !ok || now.Verification.InclusionProof.LogIndex != e.Index || !bytes.Equal(now.Body, e.Leaf) {
			return fmt.Errorf("entry %s was acknowledged at %d, is %+v", e.ID, e.Index, got)
		}
		if err := now.accept(fresh, e.ID); err != nil {
			return err
		}
	}
	for _, h := range fresh.Heads() { // the heads of these proofs count too
		if err := wit.add(h); err != nil {
			return err
		}
	}
	return nil
}

func (w *Witness) add(h Head) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.heads[h.Size]; ok && !bytes.Equal(old.Root, h.Root) {
		return fmt.Errorf("FORK at size %d: roots %x and %x", h.Size, old.Root, h.Root)
	}
	w.heads[h.Size] = h
	return nil
}

// HeadV1 gets the current head of the Rekor v1 log.
func HeadV1(ctx context.Context, c *Client, wit *Witness) (Head, error) {
	var info struct{ SignedTreeHead string }
	if err := c.JSON(ctx, http.MethodGet, "/api/v1/log", nil, http.StatusOK, &info); err != nil {
		return Head{}, err
	}
	return wit.Head(info.SignedTreeHead)
}

// CheckHeadsV1 wants a consistency proof from each head to the last.
func CheckHeadsV1(ctx context.Context, c *Client, heads []Head, last Head) error {
	_, tree, _ := strings.Cut(last.Origin, " - ")
	for _, h := range heads {
		if h.Size == 0 {
			continue
		}
		var got struct{ Hashes []string }
		path := fmt.Sprintf("/api/v1/log/proof?firstSize=%d&lastSize=%d&treeID=%s", h.Size, last.Size, tree)
		if err := c.JSON(ctx, http.MethodGet, path, nil, http.StatusOK, &got); err != nil {
			return err
		}
		hashes := make([][]byte, len(got.Hashes))
		for i, s := range got.Hashes {
			var err error
			if hashes[i], err = hex.DecodeString(s); err != nil {
				return err
			}
		}
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, h.Size, last.Size, hashes, h.Root, last.Root); err != nil {
			return fmt.Errorf("head of size %d is not a prefix of that of %d: %w", h.Size, last.Size, err)
		}
	}
	return nil
}

// CheckV2 reads the whole Rekor v2 log from its entry bundles: every acknowledged entry is at its
// index, and every head that was ever signed is the root of the leaves below its size.
func CheckV2(ctx context.Context, c *Client, wit *Witness) (Head, error) {
	status, checkpoint, err := c.Do(ctx, http.MethodGet, "/api/v2/checkpoint", nil)
	if err != nil || status != http.StatusOK {
		return Head{}, fmt.Errorf("checkpoint: status %d: %w", status, err)
	}
	last, err := wit.Head(string(checkpoint))
	if err != nil {
		return Head{}, err
	}
	leaves, err := readBundles(ctx, c, last.Size)
	if err != nil {
		return Head{}, err
	}
	for _, e := range wit.Entries() {
		if e.Index >= last.Size || !bytes.Equal(leaves[e.Index], e.Leaf) {
			return Head{}, fmt.Errorf("LOST: entry %d of %d", e.Index, last.Size)
		}
	}
	heads, next := wit.Heads(), 0
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for i, leaf := range leaves {
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(leaf), nil); err != nil {
			return Head{}, err
		}
		for next < len(heads) && heads[next].Size <= uint64(i+1) {
			root, err := tree.GetRootHash(nil)
			if err != nil {
				return Head{}, err
			}
			if h := heads[next]; h.Size == uint64(i+1) && !bytes.Equal(root, h.Root) {
				return Head{}, fmt.Errorf("head of size %d is not a prefix of that of %d", h.Size, last.Size)
			}
			next++
		}
	}
	if next != len(heads) {
		return Head{}, fmt.Errorf("a head of size %d was signed, the log has %d", heads[len(heads)-1].Size, last.Size)
	}
	return last, nil
}

// readBundles reads all leaves (C2SP tlog-tiles: 256 to a bundle, the last one partial).
func readBundles(ctx context.Context, c *Client, size uint64) ([][]byte, error) {
	var leaves [][]byte
	for n := uint64(0); n*256 < size; n++ {
		path := "/api/v2/tile/entries/" + tileIndex(n)
		if w := size - n*256; w < 256 {
			path += fmt.Sprintf(".p/%d", w)
		}
		status, raw, err := c.Do(ctx, http.MethodGet, path, nil)
		if err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("%s: status %d: %w", path, status, err)
		}
		for len(raw) > 0 {
			if len(raw) < 2 || len(raw) < 2+int(binary.BigEndian.Uint16(raw)) {
				return nil, fmt.Errorf("%s breaks off", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(raw))
			leaves, raw = append(leaves, raw[2:end]), raw[end:]
		}
	}
	if uint64(len(leaves)) != size {
		return nil, fmt.Errorf("bundles hold %d leaves of %d", len(leaves), size)
	}
	return leaves, nil
}

func tileIndex(n uint64) string {
	s := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		s = fmt.Sprintf("x%03d/%s", n%1000, s)
	}
	return s
}
