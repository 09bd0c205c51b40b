package intoto_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/log"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/intoto/v0.0.2"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
)

// result is what either implementation makes of a proposed entry.
type result struct {
	body        []byte
	keys        []string
	insertable  bool
	attestation []byte
}

// Upstream's code logs each statement that is none to standard error, where the fuzzer lets it fill a
// pipe. Its logger keeps what standard error was when it was made.
func init() {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	was := os.Stderr
	os.Stderr = null
	log.ConfigureLogger("prod", "")
	os.Stderr = was
}

// upstream runs Rekor's own code.
func upstream(proposed []byte) (result, error) {
	var r result
	pe, err := models.UnmarshalProposedEntry(bytes.NewReader(proposed), nil)
	if err != nil {
		return r, err
	}
	impl, err := types.UnmarshalEntry(pe)
	if err != nil {
		return r, err
	}
	if r.body, err = types.CanonicalizeEntry(context.Background(), impl); err != nil {
		return r, err
	}
	if r.insertable, _ = impl.Insertable(); !r.insertable {
		return r, nil
	}
	keys, _ := impl.IndexKeys() // with an error come the keys that there are; see package intoto
	for _, k := range keys {
		r.keys = append(r.keys, strings.ToLower(k)) // as Rekor's index storage does
	}
	r.keys = append(r.keys, entrytest.Fingerprints(impl.Verifiers())...) // so that a search for the key finds it, which is ours
	_, r.attestation = impl.(types.EntryWithAttestationImpl).AttestationKeyValue()
	return r, nil
}

var parsers = map[string]entry.Parser{"0.0.1": intoto.ParseV001, "0.0.2": intoto.ParseV002}

func ours(proposed []byte) (result, error) {
	var v struct {
		APIVersion string `json:"apiVersion"`
		Spec       any    `json:"spec"`
	}
	dec := json.NewDecoder(bytes.NewReader(proposed))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return result{}, entry.Invalid("no JSON", err)
	}
	e, err := parsers[v.APIVersion](v.Spec)
	if err != nil {
		return result{}, err
	}
	r := result{body: e.Body(), insertable: e.Insertable() == nil, attestation: e.(*intoto.Entry).Attestation()}
	for _, k := range e.Keys() {
		r.keys = append(r.keys, string(k))
	}
	if e.Identity() != [32]byte(rfc6962.DefaultHasher.HashLeaf(r.body)) {
		return r, errors.New("identity is not the leaf hash of the body")
	}
	if r.insertable {
		return r, stored(e)
	}
	return r, nil
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
	keys, err := intoto.Keys(data)
	if err != nil || !reflect.DeepEqual(keys, e.Keys()) {
		return fmt.Errorf("the keys of what is stored are %q, %w; the entry's %q", keys, err, e.Keys())
	}
	told, err := intoto.Keys(leaf)
	_, behind, err2 := entry.Stored(data)
	if err = errors.Join(err, err2); err != nil || len(told)+len(behind) != len(keys) {
		return fmt.Errorf("%d keys are in the body, %d behind it, %d in all: %w", len(told), len(behind), len(keys), err)
	}
	return nil
}

// indexed are the keys of upstream that we index too: short ones, each once.
func indexed(keys []string) []string {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return len(k) > 512 || k == "" })
	slices.Sort(keys)
	return slices.Compact(keys)
}

// same holds ours to upstream's. What can be looked up and not appended is refused in its own way.
func same(t *testing.T, proposed []byte, insertable bool) {
	t.Helper()
	want, wantErr := upstream(proposed)
	got, err := ours(proposed)
	if (wantErr == nil && want.insertable) != insertable {
		t.Fatalf("the row is wrong: upstream says %v, insertable %v", wantErr, want.insertable)
	}
	if (err == nil && got.insertable) != insertable {
		t.Fatalf("error = %v, insertable %v; upstream says %v", err, got.insertable, wantErr)
	}
	if err == nil && wantErr != nil {
		t.Errorf("can be looked up, upstream says %v", wantErr)
	}
	if err != nil && !errors.Is(err, entry.ErrInvalid) {
		t.Errorf("%v does not wrap ErrInvalid: the client would get a 500", err)
	}
	if err == nil && wantErr == nil {
		compare(t, got, want)
	}
}

func compare(t *testing.T, got, want result) {
	t.Helper()
	if !bytes.Equal(got.body, want.body) {
		t.Errorf("body\n%s, upstream\n%s", got.body, want.body)
	}
	if a, b := indexed(got.keys), indexed(want.keys); len(b) <= 100 && !slices.Equal(a, b) {
		t.Errorf("keys %q, upstream %q", a, b)
	}
	if got.insertable != want.insertable {
		t.Errorf("insertable %v, upstream %v", got.insertable, want.insertable)
	}
	if !bytes.Equal(got.attestation, want.attestation) {
		t.Errorf("attestation %q, upstream %q", got.attestation, want.attestation)
	}
}

func TestAccepted(t *testing.T) {
	for name, proposed := range accepted(t) {
		t.Run(name, func(t *testing.T) { same(t, proposed, true) })
	}
}

func TestRefused(t *testing.T) {
	for name, proposed := range refused(t) {
		t.Run(name, func(t *testing.T) { same(t, proposed, false) })
	}
}

// TestLookup: a body finds its entry again, and can do nothing else.
func TestLookup(t *testing.T) {
	for name, proposed := range lookups(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := upstream(proposed); err != nil {
				t.Fatalf("the row is wrong: upstream says %v", err)
			}
			if _, err := ours(proposed); err != nil {
				t.Fatal(err)
			}
			same(t, proposed, false)
		})
	}
}

// TestStricter lists where we refuse what upstream takes.
func TestStricter(t *testing.T) {
	for name, row := range stricter(t) {
		t.Run(name, func(t *testing.T) {
			if !row.slow {
				if r, err := upstream(row.proposed); err != nil || !r.insertable {
					t.Fatalf("no longer stricter than upstream: %v", err)
				}
			}
			if _, err := ours(row.proposed); !errors.Is(err, entry.ErrInvalid) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error = %v, want %q", err, row.want)
			}
		})
	}
}

// TestNotStored: what a parser has not made has no search keys.
func TestNotStored(t *testing.T) {
	for name, proposed := range map[string][]byte{"0.0.1": accepted(t)["0.0.1: P-256"], "0.0.2": accepted(t)["0.0.2: P-256"]} {
		good, err := ours(proposed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := intoto.Keys(good.body); err != nil {
			t.Fatal(err)
		}
		for what, data := range map[string][]byte{
			"a blank more": append(slices.Clone(good.body), ' '), "cut off": good.body[:len(good.body)-1],
			"no list behind it": append(slices.Clone(good.body), "\n{}"...), "key is none": replace(t, good.body, `"publicKey":"`, `"publicKey":"AAAA`),
		} {
			if keys, err := intoto.Keys(data); !errors.Is(err, entry.ErrInvalid) || errors.Is(err, entry.ErrUnknownKind) {
				t.Errorf("%s, %s: %q, %v", name, what, keys, err)
			}
		}
	}
	if _, err := intoto.Keys([]byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":{}}`)); !errors.Is(err, entry.ErrUnknownKind) {
		t.Errorf("another kind: %v", err)
	}
}

// fuzzStricter are the refusals that upstream does not share.
var fuzzStricter = []string{"duplicate field", "1 to 100", "no object", "nesting", "digests", "in the order", "8192", "fetching by URL"}

func FuzzAgainstUpstream(f *testing.F) {
	for _, rows := range []map[string][]byte{accepted(f), lookups(f)} {
		for _, proposed := range rows {
			f.Add(proposed)
		}
	}
	f.Fuzz(func(t *testing.T, proposed []byte) {
		var v struct {
			Kind       string `json:"kind"`
			APIVersion string `json:"apiVersion"`
		}
		if json.Unmarshal(proposed, &v) != nil || v.Kind != "intoto" || parsers[v.APIVersion] == nil {
			return
		}
		got, err := ours(proposed)
		want, wantErr := upstream(proposed)
		switch {
		case err == nil && wantErr != nil:
			t.Fatalf("accepted, upstream says %v", wantErr)
		case err != nil && wantErr == nil && want.insertable && !slices.ContainsFunc(fuzzStricter, func(s string) bool { return strings.Contains(err.Error(), s) }):
			t.Fatalf("refused with %v, upstream accepts", err)
		case err == nil:
			compare(t, got, want)
		}
	})
}

// FuzzStatement signs whatever the fuzzer makes, so that it reaches what lies behind the signature.
func FuzzStatement(f *testing.F) {
	key := entrytest.Ed25519(f)
	f.Add(inToto, "", statement(2, materials))
	f.Add(inToto, "id", []byte(`{"Subject":[{"digest":{"A":"b"}}],"predicate":{"Materials":null}}`))
	f.Add("text/plain", "<&>\u2028", []byte{0xff, 0})
	f.Fuzz(func(t *testing.T, payloadType, keyID string, payload []byte) {
		if payloadType = strings.ToValidUTF8(payloadType, "?"); payloadType == "" || len(payload) == 0 {
			return
		}
		p := proposal{payloadType: payloadType, payload: payload, keyID: strings.ToValidUTF8(keyID, "?")}
		for _, proposed := range [][]byte{p.v002(t, key), proposal{payloadType: payloadType, payload: payload}.v001(t, key)} {
			want, wantErr := upstream(proposed)
			got, err := ours(proposed)
			if err != nil || wantErr != nil {
				t.Fatalf("error = %v, upstream says %v", err, wantErr)
			}
			compare(t, got, want)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	key := entrytest.P256(b)
	for name, proposed := range map[string][]byte{
		"0.0.1": proposal{inToto, statement(1, materials), ""}.v001(b, key), "0.0.2": proposal{inToto, statement(1, materials), ""}.v002(b, key),
	} {
		spec := entrytest.Spec(b, proposed)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := parsers[name](spec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
