package dsse_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

const inToto = "application/vnd.in-toto+json"

// result is what either implementation makes of a proposed entry.
type result struct {
	body       []byte
	keys       []string
	insertable bool
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
	r.insertable, _ = impl.Insertable()
	if !r.insertable {
		return r, nil
	}
	keys, err := impl.IndexKeys()
	if err != nil {
		return r, err
	}
	for _, k := range keys {
		r.keys = append(r.keys, strings.ToLower(k)) // as Rekor's index storage does
	}
	r.keys = append(r.keys, entrytest.Fingerprints(impl.Verifiers())...) // so that a search for the key finds it, which is ours
	return r, nil
}

func ours(spec any) (result, error) {
	e, err := dsse.Parse(spec)
	if err != nil {
		return result{}, err
	}
	r := result{body: e.Body(), insertable: e.Insertable() == nil}
	for _, k := range e.Keys() {
		r.keys = append(r.keys, string(k))
	}
	if e.Identity() != [32]byte(rfc6962.DefaultHasher.HashLeaf(r.body)) {
		return r, errors.New("identity is not the leaf hash of the body")
	}
	// The keys of a body come first, and all but the statement's digests are among them.
	leaf, stored, err := e.Encode(1, 1)
	if err != nil || !bytes.Equal(leaf, e.Body()) {
		return r, fmt.Errorf("encoded as %q, %v", leaf, err)
	}
	if again, err := entry.LeafInput(stored); err != nil || !bytes.Equal(again, leaf) {
		return r, fmt.Errorf("the leaf of what is stored is %q, %v", again, err)
	}
	keys, err := dsse.Keys(stored)
	if err != nil || r.insertable && !reflect.DeepEqual(keys, e.Keys()) {
		return r, fmt.Errorf("the keys of what is stored are %q, %v; the entry's %q", keys, err, e.Keys())
	}
	return r, nil
}

// indexed are the keys of upstream that we index too: short ones, each once.
func indexed(keys []string) []string {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return len(k) > 512 || k == "" })
	slices.Sort(keys)
	return slices.Compact(keys)
}

func same(t *testing.T, proposed []byte, accept bool) {
	t.Helper()
	want, wantErr := upstream(proposed)
	got, err := ours(entrytest.Spec(t, proposed))
	if (wantErr == nil) != accept {
		t.Fatalf("the row is wrong: upstream says %v", wantErr)
	}
	if (err == nil) != accept {
		t.Fatalf("error = %v, upstream says %v", err, wantErr)
	}
	if err != nil {
		if !errors.Is(err, entry.ErrInvalid) {
			t.Errorf("%v does not wrap ErrInvalid: the client would get a 500", err)
		}
		return
	}
	compare(t, got, want)
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
}

func statement(subjects int, more string) []byte {
	var subs []string
	for i := range subjects {
		subs = append(subs, fmt.Sprintf(`{"name":"n%d","digest":{"sha256":"%064X","sha1":"%040x"}}`, i, i, i))
	}
	return []byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[` + strings.Join(subs, ",") + `]` + more + `}`)
}

const materials = `,"predicate":{"materials":[{"uri":"git+https://x","digest":{"sha1":"ABCDEF","gitCommit":"0f"}},{"uri":"y"}]}`

// pki makes keys and the PEM that verifies them.
type pki struct {
	t testing.TB
}

func (p pki) pem(k crypto.Signer) []byte { return entrytest.PEM(p.t, k.Public()) }

func (p pki) cert(k crypto.Signer, san entrytest.SAN) []byte {
	return entrytest.CertPEM(entrytest.Cert(p.t, k, san, nil, nil))
}

func (p pki) one(payloadType string, payload []byte, k crypto.Signer) []byte {
	return entrytest.DSSE(p.t, entrytest.Envelope(p.t, payloadType, payload, k), p.pem(k))
}

func TestAccepted(t *testing.T) {
	p := pki{t}
	a, b, ed := entrytest.P256(t), entrytest.ECDSA(t, elliptic.P384()), entrytest.Ed25519(t)
	rsa := entrytest.RSA(t, 2048)
	three := entrytest.Envelope(t, inToto, statement(2, materials), a, b, ed)
	one := entrytest.Envelope(t, "text/plain", []byte("hello"), a)
	san := entrytest.SAN{Emails: []string{"Dev@Example.com"}, URI: "https://X/y", OtherName: ""}
	for name, proposed := range map[string][]byte{
		"P-256":                           p.one(inToto, statement(1, ""), a),
		"P-384":                           p.one(inToto, statement(1, ""), b),
		"P-521":                           p.one(inToto, statement(1, ""), entrytest.ECDSA(t, elliptic.P521())),
		"Ed25519 pure":                    p.one(inToto, statement(1, ""), ed),
		"RSA":                             p.one(inToto, statement(1, ""), rsa),
		"materials":                       p.one(inToto, statement(3, materials), a),
		"40 subjects":                     p.one(inToto, statement(40, ""), a),
		"predicate is no object":          p.one(inToto, statement(1, `,"predicate":[1,2]`), a),
		"material of wrong type":          p.one(inToto, statement(1, `,"predicate":{"materials":[{"digest":{"sha1":"aa"}},{"digest":7}]}`), a),
		"predicate null":                  p.one(inToto, statement(1, `,"predicate":null`), a),
		"subject digest of wrong type":    p.one(inToto, []byte(`{"subject":[{"digest":{"sha256":"aa"}},{"digest":{"sha256":7}}]}`), a),
		"subject digest is no object":     p.one(inToto, []byte(`{"subject":[{"digest":{"sha256":"aa"}},{"digest":"bb"}]}`), a),
		"a subject is no object":          p.one(inToto, []byte(`{"subject":[{"digest":{"sha256":"aa"}},"bb"]}`), a),
		"subjects are no list":            p.one(inToto, []byte(`{"subject":{"digest":{"sha256":"aa"}}`+materials+`}`), a),
		"subject null, digest null":       p.one(inToto, []byte(`{"subject":[null,{"digest":null},{"digest":{"sha1":null}}]}`), a),
		"subject digest odd and empty":    p.one(inToto, []byte(`{"subject":[{"digest":{"sha256":"abc","":""}},{"digest":{}}]}`), a),
		"subject digest too long":         p.one(inToto, []byte(`{"subject":[{"digest":{"sha256":"`+strings.Repeat("a", 600)+`"}}]}`), a),
		"payload is no JSON":              p.one(inToto, []byte("{"), a),
		"payload nests deep":              p.one(inToto, bytes.Repeat([]byte("["), 20_000), a),
		"payload empty":                   p.one(inToto, nil, a),
		"other payload type":              p.one("text/plain", statement(1, ""), a),
		"payload type empty":              p.one("", []byte("x"), a),
		"payload type with NUL, no ASCII": p.one("t\u00e9\x00xt", []byte("x"), a),
		"certificate":                     entrytest.DSSE(t, one, p.cert(a, san)),
		"chain":                           entrytest.DSSE(t, one, entrytest.CertPEM(entrytest.Chain(t, a, san)...)),
		"chain to a foreign root":         entrytest.DSSE(t, one, entrytest.CertPEM(entrytest.Cert(t, a, san, nil, nil), entrytest.Cert(t, b, san, nil, nil))),
		"three signatures":                entrytest.DSSE(t, three, p.pem(a), p.pem(b), p.pem(ed)),
		"three, verifiers reversed":       entrytest.DSSE(t, three, p.pem(ed), p.pem(b), p.pem(a)),
		"key, then its certificate":       entrytest.DSSE(t, three, p.pem(a), p.cert(a, san), p.pem(b), p.pem(ed)),
		"certificate, then its key":       entrytest.DSSE(t, three, p.cert(a, san), p.pem(a), p.pem(b), p.pem(ed)),
		"a verifier too many, garbage":    entrytest.DSSE(t, one, p.pem(a), []byte("garbage")),
		"same signature twice":            entrytest.DSSE(t, twice(t, one), p.pem(a)),
		"unknown fields":                  entrytest.DSSE(t, replace(t, one, `{"payloadType"`, `{"_type":"x","payloadType"`), p.pem(a)),
		"members in other case":           entrytest.DSSE(t, replace(t, one, `"payloadType"`, `"PayloadType"`), p.pem(a)),
		"key id":                          entrytest.DSSE(t, replace(t, one, `"keyid":""`, `"keyid":"any"`), p.pem(a)),
		"signature in URL-safe base64":    urlSafe(t),
		"signature with a line break":     entrytest.DSSE(t, replace(t, one, `"sig":"`, `"sig":"\n`), p.pem(a)),
		"blanks around the envelope":      entrytest.DSSE(t, append([]byte(" \n"), one...), p.pem(a)),
		"canonical":                       canonicalForm(t, entrytest.DSSE(t, three, p.pem(a), p.pem(b), p.pem(ed))),
		"canonical, not in order":         unordered(t, canonicalForm(t, entrytest.DSSE(t, three, p.pem(a), p.pem(b), p.pem(ed)))),
		"canonical, odd hash values":      replace(t, canonicalForm(t, p.one("", []byte("x"), a)), `"sha256","value":"`, `"sha256","value":"<\u00e9\"\\\u0001`),
		"canonical, an item is null":      replace(t, canonicalForm(t, p.one("", []byte("x"), a)), `"signatures":[`, `"signatures":[null,`),
	} {
		t.Run(name, func(t *testing.T) { same(t, proposed, true) })
	}
}

func TestRefused(t *testing.T) {
	p := pki{t}
	a, b := entrytest.P256(t), entrytest.P256(t)
	one := entrytest.Envelope(t, inToto, statement(1, ""), a)
	two := entrytest.Envelope(t, inToto, statement(1, ""), a, b)
	bySame := entrytest.Envelope(t, inToto, statement(1, ""), a, a)
	good := entrytest.DSSE(t, one, p.pem(a))
	canonical := canonicalForm(t, good)
	spec := func(s string) []byte { return []byte(`{"apiVersion":"0.0.1","kind":"dsse","spec":` + s + `}`) }
	for name, proposed := range map[string][]byte{
		"empty spec":                    spec(`{}`),
		"spec is a list":                spec(`[]`),
		"no envelope":                   spec(`{"proposedContent":{"verifiers":["eA=="]}}`),
		"envelope is an object":         spec(`{"proposedContent":{"envelope":{},"verifiers":["eA=="]}}`),
		"envelope empty":                entrytest.DSSE(t, nil, p.pem(a)),
		"envelope is no JSON":           entrytest.DSSE(t, []byte("{"), p.pem(a)),
		"data after the envelope":       entrytest.DSSE(t, append(slices.Clone(one), "{}"...), p.pem(a)),
		"no verifiers":                  entrytest.DSSE(t, one),
		"no signatures":                 entrytest.DSSE(t, []byte(`{"payloadType":"t","payload":"eA==","signatures":[]}`), p.pem(a)),
		"signature empty":               entrytest.DSSE(t, []byte(`{"payloadType":"t","payload":"eA==","signatures":[{"sig":""}]}`), p.pem(a)),
		"signature null":                entrytest.DSSE(t, []byte(`{"payloadType":"t","payload":"eA==","signatures":[null]}`), p.pem(a)),
		"key id of wrong type":          entrytest.DSSE(t, replace(t, one, `"keyid":""`, `"keyid":7`), p.pem(a)),
		"payload not base64":            entrytest.DSSE(t, replace(t, one, `"payload":"`, `"payload":"!`), p.pem(a)),
		"signature not base64":          entrytest.DSSE(t, replace(t, one, `"sig":"`, `"sig":"!`), p.pem(a)),
		"other payload type":            entrytest.DSSE(t, replace(t, one, "in-toto", "in-tot0"), p.pem(a)),
		"verifier of another key":       entrytest.DSSE(t, one, p.pem(b)),
		"one verifier for two":          entrytest.DSSE(t, two, p.pem(a)),
		"a verifier that verifies none": entrytest.DSSE(t, two, p.pem(entrytest.P256(t)), p.pem(a), p.pem(b)),
		"two signatures by one key":     entrytest.DSSE(t, bySame, p.pem(a), p.pem(a)),
		"verifier is garbage":           entrytest.DSSE(t, one, []byte("garbage")),
		"verifier not base64":           replace(t, good, `"verifiers":["`, `"verifiers":["!`),
		"both forms":                    replace(t, good, `"spec":{`, `"spec":{"payloadHash":{"algorithm":"sha256","value":"00"},`),
		"empty list of signatures":      replace(t, good, `"spec":{`, `"spec":{"signatures":[],`),
		"canonical, all items null":     replace(t, canonical, canonicalItems(canonical), `[null]`),
		"canonical without signatures":  replace(t, canonical, `"signatures":[`, `"Signatures":[`),
		"canonical without a hash":      replace(t, canonical, `"envelopeHash"`, `"envelopehash"`),
		"canonical with sha1":           replace(t, canonical, `"sha256"`, `"sha1"`),
		"canonical, bad signature":      replace(t, canonical, `"signature":"`, `"signature":"!`),
		"canonical, bad verifier":       replace(t, canonical, `"verifier":"`, `"verifier":"!`),
		"canonical without verifier":    replace(t, canonical, `"verifier":"`, `"Verifier":"`),
	} {
		t.Run(name, func(t *testing.T) { same(t, proposed, false) })
	}
}

// TestStricter lists where we refuse what upstream takes.
func TestStricter(t *testing.T) {
	p := pki{t}
	a := entrytest.Ed25519(t)
	one := entrytest.Envelope(t, "text/plain", []byte("hello"), a)
	good := entrytest.DSSE(t, one, p.pem(a))
	var keys []crypto.Signer
	var pems [][]byte
	for range 101 {
		k := entrytest.Ed25519(t)
		keys, pems = append(keys, k), append(pems, p.pem(k))
	}
	reversed := slices.Clone(pems[:100])
	slices.Reverse(reversed)
	var many strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&many, `{"digest":{"a":"%d"}},`, i)
	}
	for name, row := range map[string]struct {
		proposed []byte
		want     string
	}{
		"payload twice":     {entrytest.DSSE(t, replace(t, one, `{"payloadType"`, `{"payload":"eA==","payloadType"`), p.pem(a)), "duplicate field"},
		"payload, Payload":  {entrytest.DSSE(t, replace(t, one, `{"payloadType"`, `{"Payload":"eA==","payloadType"`), p.pem(a)), "duplicate field"},
		"null verifier":     {replace(t, good, `"verifiers":[`, `"verifiers":[null,`), "null, empty or no string"},
		"empty verifier":    {replace(t, good, `"verifiers":[`, `"verifiers":["",`), "null, empty or no string"},
		"101 signatures":    {entrytest.DSSE(t, entrytest.Envelope(t, "t", []byte("x"), keys...), pems[:100]...), "1 to 100 signatures"},
		"101 verifiers":     {entrytest.DSSE(t, one, append([][]byte{p.pem(a)}, pems[:100]...)...), "more than 100 items"},
		"100 in bad order":  {entrytest.DSSE(t, entrytest.Envelope(t, "t", []byte("x"), keys[:100]...), reversed...), "in the order of the signatures"},
		"10,001 digests":    {p.one(inToto, []byte(`{"subject":[`+strings.TrimSuffix(many.String(), ",")+`]}`), a), "more than 10000 digests"},
		"url":               {replace(t, good, `"spec":{`, `"spec":{"url":"http://localhost/",`), "spec.url: fetching by URL is not supported"},
		"url beside":        {replace(t, good, `"proposedContent":{`, `"proposedContent":{"url":"http://localhost/",`), "proposedContent.url: fetching by URL is not supported"},
		"envelope too deep": {entrytest.DSSE(t, replace(t, one, `{"payloadType"`, `{"x":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`,"payloadType"`), p.pem(a)), "nesting"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(name, "10") { // upstream takes seconds over these
				if _, err := upstream(row.proposed); err != nil {
					t.Fatalf("no longer stricter than upstream: %v", err)
				}
			}
			if _, err := ours(entrytest.Spec(t, row.proposed)); !errors.Is(err, entry.ErrInvalid) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error = %v, want %q", err, row.want)
			}
		})
	}
}

// TestKeysAreCapped: of many digests the first become search keys, after those of the signers.
func TestKeysAreCapped(t *testing.T) {
	p := pki{t}
	a := entrytest.P256(t)
	got, err := ours(entrytest.Spec(t, p.one(inToto, statement(200, ""), a)))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.keys) != 100 || got.keys[4] != fmt.Sprintf("sha1:%040x", 0) || got.keys[5] != fmt.Sprintf("sha256:%064x", 0) {
		t.Errorf("%d keys: %q", len(got.keys), got.keys[:min(6, len(got.keys))])
	}
}

func FuzzAgainstUpstream(f *testing.F) {
	p := pki{f}
	a, b := entrytest.P256(f), entrytest.Ed25519(f)
	for _, proposed := range [][]byte{
		p.one(inToto, statement(2, materials), a),
		entrytest.DSSE(f, entrytest.Envelope(f, "t", []byte("x"), a, b), p.pem(b), p.pem(a)),
		canonicalForm(f, p.one("t", []byte("x"), b)),
	} {
		f.Add(proposed)
	}
	stricter := []string{"duplicate field", "null, empty", "more than 100", "1 to 100", "nesting", "digests", "in the order", "fetching by URL"}
	f.Fuzz(func(t *testing.T, proposed []byte) {
		var v struct {
			Kind       string `json:"kind"`
			APIVersion string `json:"apiVersion"`
			Spec       any    `json:"spec"`
		}
		dec := json.NewDecoder(bytes.NewReader(proposed))
		dec.UseNumber()
		if dec.Decode(&v) != nil || v.Kind != "dsse" || v.APIVersion != "0.0.1" {
			return
		}
		got, err := ours(v.Spec)
		want, wantErr := upstream(proposed)
		switch {
		case err == nil && wantErr != nil:
			t.Fatalf("accepted, upstream says %v", wantErr)
		case err != nil && wantErr == nil && !slices.ContainsFunc(stricter, func(s string) bool { return strings.Contains(err.Error(), s) }):
			t.Fatalf("refused with %v, upstream accepts", err)
		case err == nil:
			compare(t, got, want)
		}
	})
}

// FuzzStatement signs whatever payload the fuzzer makes, so that the fuzzer reaches what lies
// behind the signature: payload hash, payload type and search keys.
func FuzzStatement(f *testing.F) {
	key := entrytest.Ed25519(f)
	pub := entrytest.PEM(f, key.Public())
	f.Add(inToto, statement(2, materials))
	f.Add(inToto, []byte(`{"Subject":[{"digest":{"A":"b"}}],"predicate":{"Materials":null}}`))
	f.Add("text/plain", []byte{0xff, 0})
	f.Fuzz(func(t *testing.T, payloadType string, payload []byte) {
		payloadType = strings.ToValidUTF8(payloadType, "?")
		proposed := entrytest.DSSE(t, entrytest.Envelope(t, payloadType, payload, key), pub)
		want, wantErr := upstream(proposed)
		got, err := ours(entrytest.Spec(t, proposed))
		if err != nil || wantErr != nil {
			t.Fatalf("error = %v, upstream says %v", err, wantErr)
		}
		compare(t, got, want)
	})
}

func BenchmarkParse(b *testing.B) {
	p := pki{b}
	spec := entrytest.Spec(b, p.one(inToto, statement(1, materials), entrytest.P256(b)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dsse.Parse(spec); err != nil {
			b.Fatal(err)
		}
	}
}

func replace(t testing.TB, s []byte, old, with string) []byte {
	t.Helper()
	if !bytes.Contains(s, []byte(old)) {
		t.Fatalf("%s holds no %s", s, old)
	}
	return bytes.Replace(s, []byte(old), []byte(with), 1)
}

// twice repeats the first signature of an envelope.
func twice(t testing.TB, envelope []byte) []byte {
	t.Helper()
	i := bytes.Index(envelope, []byte(`"signatures":[`)) + len(`"signatures":[`)
	j := i + bytes.IndexByte(envelope[i:], '}') + 1
	return replace(t, envelope, `"signatures":[`, `"signatures":[`+string(envelope[i:j])+",")
}

// canonicalForm is the body that upstream stores for an entry.
func canonicalForm(t testing.TB, proposed []byte) []byte {
	t.Helper()
	r, err := upstream(proposed)
	if err != nil {
		t.Fatal(err)
	}
	return r.body
}

func unordered(t testing.TB, canonical []byte) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(canonical, &v); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(v["spec"].(map[string]any)["signatures"].([]any))
	return entrytest.JSON(t, v)
}

// urlSafe returns an entry whose signature the two alphabets of base64 write differently.
func urlSafe(t testing.TB) []byte {
	key := entrytest.P256(t)
	for {
		env := entrytest.Envelope(t, "t", []byte("x"), key)
		std := strings.Split(strings.Split(string(env), `"sig":"`)[1], `"`)[0]
		raw, err := base64.StdEncoding.DecodeString(std)
		if err != nil {
			t.Fatal(err)
		}
		if safe := base64.URLEncoding.EncodeToString(raw); safe != std {
			return entrytest.DSSE(t, replace(t, env, std, safe), entrytest.PEM(t, key.Public()))
		}
	}
}

func canonicalItems(canonical []byte) string {
	_, rest, _ := strings.Cut(string(canonical), `"signatures":`)
	return strings.TrimSuffix(rest, "}}")
}
