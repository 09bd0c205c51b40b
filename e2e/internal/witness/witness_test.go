package witness

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	tilesnote "github.com/sigstore/rekor-tiles/v2/pkg/note"
)

// fakeLog signs and serves whatever a row wants of it.
type fakeLog struct {
	signer note.Signer
	leaves [][]byte
}

func newFakeLog(t *testing.T, n int) (*fakeLog, *Witness) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sv, err := signature.LoadSignerVerifier(key, 5) // crypto.SHA256
	if err != nil {
		t.Fatal(err)
	}
	signer, err := tilesnote.NewNoteSigner(context.Background(), "127.0.0.1", sv)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New("127.0.0.1", key.Public())
	if err != nil {
		t.Fatal(err)
	}
	l := &fakeLog{signer: signer}
	for i := range n {
		l.leaves = append(l.leaves, fmt.Appendf(nil, "leaf %d", i))
	}
	return l, w
}

func (l *fakeLog) checkpoint(t *testing.T, size int, wrong bool) string {
	t.Helper()
	tree := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	for _, leaf := range l.leaves[:size] {
		if err := tree.Append(rfc6962.DefaultHasher.HashLeaf(leaf), nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := tree.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	if wrong {
		sum := sha256.Sum256(root)
		root = sum[:]
	}
	n, err := note.Sign(&note.Note{Text: fmt.Sprintf("127.0.0.1\n%d\n%s\n", size, base64.StdEncoding.EncodeToString(root))}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(n)
}

func (l *fakeLog) serve(t *testing.T) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/checkpoint") {
			fmt.Fprint(w, l.checkpoint(t, len(l.leaves), false))
			return
		}
		first := 0
		if strings.Contains(r.URL.Path, "/001") {
			first = 256
		}
		for _, leaf := range l.leaves[first:min(len(l.leaves), first+256)] {
			_, _ = w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(leaf))), leaf...))
		}
	}))
	t.Cleanup(s.Close)
	return NewClient(s.URL)
}

// TestCheckV2Sees: the check that nothing is lost finds what is lost, moved, forked or cut off.
func TestCheckV2Sees(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(*testing.T, *fakeLog, *Witness)
		want  string // "" passes
	}{
		{"a good log", func(*testing.T, *fakeLog, *Witness) {}, ""},
		{"an acknowledged entry is gone", func(_ *testing.T, l *fakeLog, w *Witness) {
			w.entries = append(w.entries, Entry{Index: 300, Leaf: []byte("leaf 300")})
		}, "LOST"},
		{"another leaf is in its place", func(_ *testing.T, l *fakeLog, w *Witness) {
			w.entries = append(w.entries, Entry{Index: 7, Leaf: []byte("leaf 8")})
		}, "LOST"},
		{"an early head is no prefix", func(t *testing.T, l *fakeLog, w *Witness) {
			if _, err := w.Head(l.checkpoint(t, 5, true)); err != nil {
				t.Fatal(err)
			}
		}, "not a prefix"},
		{"a head was signed beyond the end", func(t *testing.T, l *fakeLog, w *Witness) {
			if _, err := w.Head(l.checkpoint(t, 300, false)); err != nil {
				t.Fatal(err)
			}
			l.leaves = l.leaves[:299]
		}, "a head of size 300 was signed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, w := newFakeLog(t, 300)
			for _, i := range []uint64{0, 255, 256, 290} {
				w.entries = append(w.entries, Entry{Index: i, Leaf: l.leaves[i]})
			}
			if _, err := w.Head(l.checkpoint(t, 256, false)); err != nil {
				t.Fatal(err)
			}
			row.spoil(t, l, w)
			_, err := CheckV2(context.Background(), l.serve(t), w)
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestHeadSeesForksAndForgeries(t *testing.T) {
	l, w := newFakeLog(t, 10)
	if _, err := w.Head(l.checkpoint(t, 10, false)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Head(l.checkpoint(t, 10, true)); err == nil || !strings.Contains(err.Error(), "FORK") {
		t.Errorf("two roots of one size: %v", err)
	}
	other, _ := newFakeLog(t, 10)
	if _, err := w.Head(other.checkpoint(t, 9, false)); err == nil {
		t.Error("a checkpoint of another key was accepted")
	}
	if err := w.Acknowledged(Entry{Index: 3, Leaf: l.leaves[4]}, l.checkpoint(t, 10, false), nil); err == nil {
		t.Error("an acknowledgement without a proof was accepted")
	}
}
