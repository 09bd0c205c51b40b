package rekorv1_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"testing"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/dsse"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
	"github.com/sigbox/sigbox/tlog/rekorv1"
)

const inToto = "application/vnd.in-toto+json"

// largeStatement is an in-toto statement with an SBOM of that size, in which names repeat as they do in one.
func largeStatement(size int) []byte {
	b := bytes.NewBufferString(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"app","digest":{"sha256":"` + fmt.Sprintf("%064x", size) + `"}}],"predicateType":"https://spdx.dev/Document","predicate":{"packages":[`)
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `{"SPDXID":"SPDXRef-%d","name":"package \"%d\"","checksums":[{"algorithm":"SHA256","checksumValue":"%064x"}]}`, i, i, i)
	}
	b.WriteString("]}}")
	return b.Bytes()
}

// asV001 proposes an envelope as intoto 0.0.1.
func asV001(t *testing.T, env, pem []byte) []byte {
	return entrytest.JSON(t, map[string]any{"apiVersion": "0.0.1", "kind": "intoto", "spec": map[string]any{
		"content": map[string]any{"envelope": string(env)}, "publicKey": base64.StdEncoding.EncodeToString(pem),
	}})
}

// asV002 proposes a payload as intoto 0.0.2, in which all is base64 twice.
func asV002(t *testing.T, payload []byte, key crypto.Signer) []byte {
	twice := func(b []byte) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString(b)))
	}
	sig := entrytest.SignMessage(t, key, entrytest.PAE(inToto, payload))
	return entrytest.JSON(t, map[string]any{"apiVersion": "0.0.2", "kind": "intoto", "spec": map[string]any{"content": map[string]any{
		"hash": map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%064x", 1)},
		"envelope": map[string]any{"payloadType": inToto, "payload": twice(payload), "signatures": []any{map[string]any{
			"publicKey": base64.StdEncoding.EncodeToString(entrytest.PEM(t, key.Public())), "sig": twice(sig),
		}}},
	}}})
}

// TestLargeBody: of a large body the log makes little more than one copy from the first byte to the answer: what it
// was read into, with what that grew out of, and the payload. All that was ever allocated is counted, so that no
// garbage collection makes it less.
func TestLargeBody(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) {
		c.MaxBody = 32 << 20
		c.Kinds = entry.Kinds{hashedrekord.Kind: hashedrekord.Parse, dsse.Kind: dsse.Parse, intoto.KindV001: intoto.ParseV001, intoto.KindV002: intoto.ParseV002}
		maps.Copy(c.Kinds, upstream.Kinds())
	})
	statement := largeStatement(8 << 20)
	p256, ed := entrytest.P256(t), entrytest.Ed25519(t)
	pem, edPEM := entrytest.PEM(t, p256.Public()), entrytest.PEM(t, ed.Public())
	env, edEnv := entrytest.Envelope(t, inToto, statement, p256), entrytest.Envelope(t, inToto, statement, ed)
	for _, tc := range []struct {
		name     string
		body     []byte
		path     string
		status   int
		multiple float64
	}{
		{"dsse", entrytest.DSSE(t, env, pem), entriesPath, 201, 2.05},
		{"dsse, Ed25519, which signs the message and no digest", entrytest.DSSE(t, edEnv, edPEM), entriesPath, 201, 2.05},
		{"intoto 0.0.1", asV001(t, env, pem), entriesPath, 201, 2.05},
		{"intoto 0.0.2, base64 of base64", asV002(t, statement, p256), entriesPath, 201, 2.6},
		{"a signature that does not hold", entrytest.DSSE(t, env, edPEM), entriesPath, 400, 2.05},
		{"broken at its end", append(slices.Clip(entrytest.DSSE(t, env, pem)), '}'), entriesPath, 400, 1.3},
		{"hashedrekord, a key that large", entrytest.HashedRekord(largeKey(6<<20), crypto.SHA256, make([]byte, 32), []byte("x")), entriesPath, 400, 2.05},
		{"dsse, a verifier that large", entrytest.DSSE(t, entrytest.Envelope(t, inToto, []byte("{}"), p256), largeKey(6<<20)), entriesPath, 400, 2.05},
		{"rekord", asRekord(t, statement, p256), entriesPath, 201, 2.1},
		{"retrieve", []byte(`{"entries":[` + string(entrytest.DSSE(t, env, pem)) + `]}`), entriesPath + "/retrieve", 200, 3.1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := s.post(tc.path, tc.body)
			runtime.ReadMemStats(&after)
			multiple := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(tc.body))
			t.Logf("%d bytes, %.2f times that allocated", len(tc.body), multiple)
			if a.StatusCode != tc.status || multiple > tc.multiple {
				t.Errorf("%d %.100s, want %d; %.2f times the body, want at most %.2f", a.StatusCode, a.body, tc.status, multiple, tc.multiple)
			}
		})
	}
}

// largeKey is a certificate of that size, as far as its PEM goes.
func largeKey(size int) []byte { return entrytest.CertPEM(make([]byte, size)) }

// asRekord proposes an artifact as rekord, a kind that upstream's code reads.
func asRekord(t *testing.T, artifact []byte, key crypto.Signer) []byte {
	in64 := base64.StdEncoding.EncodeToString
	return entrytest.JSON(t, map[string]any{"apiVersion": "0.0.1", "kind": "rekord", "spec": map[string]any{
		"data": map[string]any{"content": in64(artifact)},
		"signature": map[string]any{
			"format": "x509", "content": in64(entrytest.SignMessage(t, key, artifact)), "publicKey": map[string]any{"content": in64(entrytest.PEM(t, key.Public()))},
		},
	}})
}

// TestEntryKeepsLittle: an entry that waits to be appended, or is never let go, keeps nothing large of its body, of
// which every string was a part.
func TestEntryKeepsLittle(t *testing.T) {
	kinds := entry.Kinds{dsse.Kind: dsse.Parse, intoto.KindV001: intoto.ParseV001, intoto.KindV002: intoto.ParseV002}
	maps.Copy(kinds, upstream.Kinds())
	key := entrytest.P256(t)
	pem := entrytest.PEM(t, key.Public())
	const size = 8 << 20
	for name, propose := range map[string]func() []byte{
		"dsse":         func() []byte { return entrytest.DSSE(t, entrytest.Envelope(t, inToto, largeStatement(size), key), pem) },
		"intoto 0.0.1": func() []byte { return asV001(t, entrytest.Envelope(t, inToto, largeStatement(size), key), pem) },
		"intoto 0.0.2": func() []byte { return asV002(t, largeStatement(size), key) },
		"rekord":       func() []byte { return asRekord(t, make([]byte, size), key) },
	} {
		t.Run(name, func(t *testing.T) {
			before := inUse()
			e, err := rekorv1.Parse(kinds, propose())
			if err != nil {
				t.Fatal(err)
			}
			if kept := inUse() - before; kept > 1<<20 {
				t.Errorf("%d bytes are kept", kept)
			}
			if _, err := e.(entry.Signed).Verifiers(); err != nil {
				t.Error(err)
			}
		})
	}
}

// inUse are the bytes of the heap that something refers to.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held is gone by now
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestManyValues: what is made of JSON is bounded, whatever its size. Two bytes of it are a value of a hundred.
func TestManyValues(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) { c.MaxBody = 32 << 20 })
	pem := entrytest.PEM(t, entrytest.P256(t).Public())
	zeros := bytes.Repeat([]byte("0,"), 1<<20)
	list := append(append([]byte("["), zeros...), "0]"...)
	key := entrytest.P256(t)
	subjects := bytes.Replace(list, []byte("0,"), []byte("{},"), -1)
	odd := []byte(`{"a":1,"a":2,"subject":` + string(bytes.TrimSuffix(subjects, []byte(",0]"))) + `]}`)
	materials := []byte(`{"predicate":{"materials":` + string(bytes.TrimSuffix(subjects, []byte(",0]"))) + `]}}`)
	for name, tc := range map[string]struct {
		path, body string
		status     int
		multiple   float64
	}{
		"in a spec":              {entriesPath, `{"apiVersion":"0.0.1","kind":"dsse","spec":` + string(list) + `}`, 400, 12},
		"beside a spec":          {entriesPath, `{"apiVersion":"0.0.1","kind":"dsse","more":` + string(list) + `}`, 400, 12},
		"indexes of a query":     {entriesPath + "/retrieve", `{"logIndexes":` + string(list) + `}`, 400, 3},
		"in an envelope":         {entriesPath, string(entrytest.DSSE(t, []byte(`{"payload":"","signatures":`+string(list)+`}`), pem)), 400, 12},
		"beside an envelope's":   {entriesPath, string(entrytest.DSSE(t, []byte(`{"payload":"","more":`+string(list)+`}`), pem)), 400, 3},
		"subjects, a name twice": {entriesPath, string(entrytest.DSSE(t, entrytest.Envelope(t, inToto, odd, key), entrytest.PEM(t, key.Public()))), 400, 6},
		"materials":              {entriesPath, string(entrytest.DSSE(t, entrytest.Envelope(t, inToto, materials, key), entrytest.PEM(t, key.Public()))), 400, 12},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			a := s.post(tc.path, []byte(tc.body))
			runtime.ReadMemStats(&after)
			multiple := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(tc.body))
			t.Logf("%d bytes, %.2f times that allocated; %.120s", len(tc.body), multiple, a.body)
			if a.StatusCode != tc.status || multiple > tc.multiple {
				t.Errorf("%d %.200s; %.1f times the body", a.StatusCode, a.body, multiple)
			}
		})
	}
	if a := s.post(entriesPath, artifact(t, 0)); a.StatusCode != http.StatusCreated {
		t.Errorf("afterwards %d %s", a.StatusCode, a.body)
	}
}
