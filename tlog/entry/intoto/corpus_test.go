package intoto_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/intoto"
)

const inToto = "application/vnd.in-toto+json"

func statement(subjects int, more string) []byte {
	var subs []string
	for i := range subjects {
		subs = append(subs, fmt.Sprintf(`{"name":"n%d","digest":{"sha256":"%064X","sha1":"%040x"}}`, i, i, i))
	}
	return []byte(`{"_type":"https://in-toto.io/Statement/v0.1","subject":[` + strings.Join(subs, ",") + `]` + more + `}`)
}

// materials is a SLSA 0.2 predicate with all that upstream reads.
const materials = `,"predicateType":"https://slsa.dev/provenance/v0.2","predicate":{"builder":{"id":"b"},"buildType":"t",` +
	`"invocation":{"configSource":{"uri":"u","digest":{"sha1":"aa"},"entryPoint":"e"},"parameters":{},"environment":[]},"buildConfig":7,` +
	`"metadata":{"buildInvocationID":"i","buildStartedOn":"2024-01-02T03:04:05Z","buildFinishedOn":"2024-01-02T03:04:05Z",` +
	`"completeness":{"parameters":true,"environment":false,"materials":true},"reproducible":true},` +
	`"materials":[{"uri":"git+https://x","digest":{"sha1":"ABCDEF","gitCommit":"0f"}},{"uri":"y"}]}`

// spoilt are values in materials with another type: with each, upstream takes no materials.
var spoilt = map[string][2]string{
	"statement type": {`"_type":"https://in-toto.io/Statement/v0.1"`, `"_type":1`},
	"predicate type": {`"predicateType":"https://slsa.dev/provenance/v0.2"`, `"predicateType":1`}, "subject name": {`"name":"n0"`, `"name":1`},
	"builder": {`{"id":"b"}`, `1`}, "builder id": {`"id":"b"`, `"id":1`}, "build type": {`"buildType":"t"`, `"buildType":1`},
	"source uri": {`"uri":"u"`, `"uri":1`}, "source digest": {`{"sha1":"aa"}`, `{"sha1":1}`}, "entry point": {`"entryPoint":"e"`, `"entryPoint":1`},
	"invocation id": {`"buildInvocationID":"i"`, `"buildInvocationID":1`}, "start": {`"buildStartedOn":"2024`, `"buildStartedOn":"x2024`},
	"finish": {`"buildFinishedOn":"2024`, `"buildFinishedOn":"x2024`}, "complete parameters": {`"parameters":true`, `"parameters":1`},
	"complete environment": {`"environment":false`, `"environment":1`}, "complete materials": {`"materials":true`, `"materials":1`},
	"reproducible": {`"reproducible":true`, `"reproducible":1`}, "material uri": {`"uri":"y"`, `"uri":1`}, "material digest": {`"gitCommit":"0f"`, `"gitCommit":1`},
}

// proposal makes proposed entries; keyID is for version 0.0.2 only.
type proposal struct {
	payloadType string
	payload     []byte
	keyID       string
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func v001JSON(t testing.TB, envelope, pem []byte) []byte {
	return entrytest.JSON(t, map[string]any{"apiVersion": "0.0.1", "kind": "intoto", "spec": map[string]any{
		"content": map[string]any{"envelope": string(envelope)}, "publicKey": b64(pem),
	}})
}

func (p proposal) envelope(t testing.TB, keys ...crypto.Signer) []byte {
	return entrytest.Envelope(t, p.payloadType, p.payload, keys...)
}

func (p proposal) v001(t testing.TB, key crypto.Signer) []byte {
	return v001JSON(t, p.envelope(t, key), entrytest.PEM(t, key.Public()))
}

// signed is an item of the signatures of a 0.0.2.
type signed struct {
	KeyID     string `json:"keyid,omitempty"`
	PublicKey []byte `json:"publicKey"`
	Sig       []byte `json:"sig"`
}

func (p proposal) v002(t testing.TB, keys ...crypto.Signer) []byte {
	var list []signed
	for _, k := range keys {
		list = append(list, p.sign(t, k))
	}
	return p.v002With(t, list...)
}

func (p proposal) sign(t testing.TB, k crypto.Signer) signed {
	sig := b64(entrytest.SignMessage(t, k, entrytest.PAE(p.payloadType, p.payload)))
	return signed{KeyID: p.keyID, PublicKey: entrytest.PEM(t, k.Public()), Sig: []byte(sig)}
}

func (p proposal) v002With(t testing.TB, list ...signed) []byte {
	return entrytest.JSON(t, map[string]any{"apiVersion": "0.0.2", "kind": "intoto", "spec": map[string]any{"content": map[string]any{
		"envelope": map[string]any{"payloadType": p.payloadType, "payload": []byte(b64(p.payload)), "signatures": list},
		"hash":     map[string]any{"algorithm": "sha256", "value": strings.Repeat("ab", 32)},
	}}})
}

func accepted(t testing.TB) map[string][]byte {
	a, b, ed := entrytest.P256(t), entrytest.ECDSA(t, elliptic.P384()), entrytest.Ed25519(t)
	rsa, p521, p224 := entrytest.RSA(t, 2048), entrytest.ECDSA(t, elliptic.P521()), entrytest.ECDSA(t, elliptic.P224())
	st := proposal{payloadType: inToto, payload: statement(2, materials)}
	san := entrytest.SAN{Emails: []string{"Dev@Example.com"}, URI: "https://X/y"}
	cert := entrytest.CertPEM(entrytest.Cert(t, a, san, nil, nil))
	chain := entrytest.CertPEM(entrytest.Chain(t, a, san)...)
	foreign := entrytest.CertPEM(entrytest.Cert(t, a, san, nil, nil), entrytest.Cert(t, b, san, nil, nil))
	pem := entrytest.PEM(t, a.Public())
	one, two := st.envelope(t, a), st.envelope(t, b, a)
	out := map[string][]byte{}
	for name, k := range map[string]crypto.Signer{"P-256": a, "P-384": b, "P-521": p521, "P-224": p224, "Ed25519": ed, "RSA": rsa} {
		out["0.0.1: "+name], out["0.0.2: "+name] = st.v001(t, k), st.v002(t, k)
	}
	for name, p := range payloads() {
		out["0.0.1: "+name], out["0.0.2: "+name] = p.v001(t, a), p.v002(t, a)
	}
	for name, c := range map[string][]byte{"certificate": cert, "chain": chain, "chain to a foreign root": foreign, "blanks": []byte("  " + string(pem) + "\n\n")} {
		s := st.sign(t, a)
		s.PublicKey = c
		out["0.0.1: "+name], out["0.0.2: "+name] = v001JSON(t, one, c), st.v002With(t, s)
	}
	for name, row := range map[string][2]string{
		"unknown field":        {`{"payloadType"`, `{"_type":"x","payloadType"`},
		"member in other case": {`"payloadType"`, `"PayloadType"`},
		"key id is its own":    {`"keyid":""`, `"keyid":"` + fingerprint(t, a) + `"`},
		"line break in base64": {`"sig":"`, `"sig":"\n`},
	} {
		out["0.0.1: "+name] = v001JSON(t, replace(t, one, row[0], row[1]), pem)
	}
	out["0.0.1: key id where SSH has no name"] = v001JSON(t, replace(t, st.envelope(t, p224), `"keyid":""`, `"keyid":"x"`), entrytest.PEM(t, p224.Public()))
	out["0.0.1: second of two signatures"] = v001JSON(t, two, pem)
	out["0.0.1: hashes of the client"] = replace(t, st.v001(t, a), `"content":{`, `"content":{"hash":{"algorithm":"sha256","value":"no"},"payloadHash":{"algorithm":"sha256","value":"no"},`)
	out["0.0.1: hash is a string"] = replace(t, st.v001(t, a), `"content":{`, `"content":{"hash":"no",`)
	more(t, st, out, a, b, ed)
	return out
}

// more adds what only version 0.0.2 has.
func more(t testing.TB, st proposal, out map[string][]byte, a, b, ed crypto.Signer) {
	x, y := st.sign(t, a), st.sign(t, b)
	out["0.0.2: three"] = st.v002(t, a, b, ed)
	out["0.0.2: same signature twice"] = st.v002With(t, x, x)
	named := x
	named.KeyID = "<any & \u2028\"\\\u0001>"
	out["0.0.2: key id"] = st.v002With(t, named)
	swapped, swapped2 := x, y
	swapped.PublicKey, swapped2.PublicKey = y.PublicKey, x.PublicKey
	out["0.0.2: keys swapped"] = st.v002With(t, swapped, swapped2)
	out["0.0.2: URL-safe signature"] = urlSafe(t)
	good := st.v002With(t, x)
	out["0.0.2: payloadHash of the client"] = replace(t, good, `"hash":`, `"payloadHash":{"algorithm":"sha256","value":"no"},"hash":`)
	out["0.0.2: hash is no hash"] = replace(t, good, strings.Repeat("ab", 32), `<no\"\\\u0001`)
	out["0.0.2: hash empty"] = replace(t, good, strings.Repeat("ab", 32), "")
	out["0.0.2: unknown fields"] = replace(t, good, `"content":{`, `"content":{"x":1,`)
	out["0.0.2: key id of wrong type"] = replace(t, good, `"publicKey":`, `"keyid":7,"publicKey":`)
}

func payloads() map[string]proposal {
	out := map[string]proposal{
		"40 subjects":           {payloadType: inToto, payload: statement(40, "")},
		"predicate null":        {payloadType: inToto, payload: statement(1, `,"predicate":null`)},
		"predicate is a list":   {payloadType: inToto, payload: statement(1, `,"predicate":[1]`)},
		"payload is no JSON":    {payloadType: inToto, payload: []byte("{")},
		"subject of wrong type": {payloadType: inToto, payload: []byte(`{"subject":[{"digest":{"a":"b"}},{"digest":7}]}`)},
		"digest odd and empty":  {payloadType: inToto, payload: []byte(`{"subject":[{"digest":{"sha256":"abc","":""}},{"digest":{}}]}`)},
		"digest too long":       {payloadType: inToto, payload: []byte(`{"subject":[{"digest":{"sha256":"` + strings.Repeat("a", 600) + `"}}]}`)},
		"payload nests deep":    {payloadType: inToto, payload: bytes.Repeat([]byte("["), 20_000)},
		"other payload type":    {payloadType: "text/plain", payload: statement(1, "")},
		"payload type with NUL": {payloadType: "t\u00e9\x00xt<&>", payload: []byte("x")},
		"largest attestation":   {payloadType: "t", payload: make([]byte, intoto.MaxAttestation-1)}, // a third of a multiple of 4
		"attestation and pad":   {payloadType: "t", payload: make([]byte, intoto.MaxAttestation)},
		"attestation too large": {payloadType: "t", payload: make([]byte, intoto.MaxAttestation+2)},
	}
	good := string(statement(1, materials))
	for name, r := range spoilt {
		out["spoilt "+name] = proposal{payloadType: inToto, payload: []byte(strings.Replace(good, r[0], r[1], 1))}
	}
	return out
}

func lookups(t testing.TB) map[string][]byte {
	a := entrytest.P256(t)
	st := proposal{payloadType: inToto, payload: statement(2, materials)}
	body := func(proposed []byte) []byte {
		r, err := upstream(proposed)
		if err != nil {
			t.Fatal(err)
		}
		return r.body
	}
	v1, v2 := body(st.v001(t, a)), body(st.v002(t, a, entrytest.Ed25519(t)))
	return map[string][]byte{
		"0.0.1": v1, "0.0.2": v2,
		"0.0.1 without payloadHash":     replace(t, v1, `"payloadHash"`, `"x"`),
		"0.0.1 with an odd hash":        replace(t, v1, `"value":"`, `"value":"<\u00e9\"\\\u0001`),
		"0.0.1 with a certificate":      body(v001JSON(t, st.envelope(t, a), entrytest.CertPEM(entrytest.Cert(t, a, entrytest.SAN{}, nil, nil)))),
		"0.0.2 with empty payload":      replace(t, v2, `"payloadType"`, `"payload":"","payloadType"`),
		"0.0.2 with blank payload":      replace(t, v2, `"payloadType"`, `"payload":"\n","payloadType"`),
		"0.0.2 with empty payload type": replace(t, v2, `"payloadType":"`+inToto+`"`, `"payloadType":""`),
		"0.0.2 with a key that is none": replace(t, v2, `"publicKey":"`, `"publicKey":"AAAA`),
		"0.0.2 with an empty signature": emptySig(t, v2),
	}
}

func refused(t testing.TB) map[string][]byte {
	a, b := entrytest.P256(t), entrytest.P256(t)
	st := proposal{payloadType: inToto, payload: statement(1, "")}
	pem := entrytest.PEM(t, a.Public())
	one, v1, v2 := st.envelope(t, a), st.v001(t, a), st.v002(t, a)
	urlPayload := proposal{payloadType: "t", payload: []byte{0xff, 0xef, 0xfe}}
	out := map[string][]byte{
		"0.0.1: verifier of another key":    v001JSON(t, one, entrytest.PEM(t, b.Public())),
		"0.0.1: key id of another key":      v001JSON(t, replace(t, one, `"keyid":""`, `"keyid":"`+fingerprint(t, b)+`"`), pem),
		"0.0.1: envelope is no JSON":        v001JSON(t, []byte("{"), pem),
		"0.0.1: data after the envelope":    v001JSON(t, append(slices.Clone(one), "{}"...), pem),
		"0.0.1: no signatures":              v001JSON(t, []byte(`{"payloadType":"t","payload":"eA==","signatures":[]}`), pem),
		"0.0.1: signature null":             v001JSON(t, []byte(`{"payloadType":"t","payload":"eA==","signatures":[null]}`), pem),
		"0.0.1: payload empty":              proposal{payloadType: inToto}.v001(t, a),
		"0.0.1: payload type empty":         proposal{payload: []byte("x")}.v001(t, a),
		"0.0.1: payload is URL-safe base64": v001JSON(t, replace(t, urlPayload.envelope(t, a), `"/+/+"`, `"_-_-"`), pem),
		"0.0.1: other payload type":         v001JSON(t, replace(t, one, "in-toto", "in-tot0"), pem),
		"0.0.1: second signature no base64": v001JSON(t, replace(t, one, `}]`, `},{"sig":"!"}]`), pem),
		"0.0.1: garbage for a key":          v001JSON(t, one, []byte("garbage")),
		"0.0.1: no key":                     replace(t, v1, `"publicKey":"`, `"PublicKey":"`),
		"0.0.1: key empty":                  v001JSON(t, one, nil),
		"0.0.1: key null":                   replace(t, v1, `"publicKey":"`+b64(pem)+`"`, `"publicKey":null`),
		"0.0.1: key no base64":              replace(t, v1, `"publicKey":"`, `"publicKey":"!`),
		"0.0.1: no envelope":                replace(t, v1, `"envelope"`, `"Envelope"`),
		"0.0.1: no content":                 replace(t, v1, `"content"`, `"Content"`),
		"0.0.1: content null":               []byte(`{"apiVersion":"0.0.1","kind":"intoto","spec":{"content":null,"publicKey":"` + b64(pem) + `"}}`),
		"0.0.1: envelope is an object":      []byte(`{"apiVersion":"0.0.1","kind":"intoto","spec":{"content":{"envelope":{}},"publicKey":"` + b64(pem) + `"}}`),
		"0.0.1: hash is empty":              replace(t, v1, `"content":{`, `"content":{"hash":{},`),
		"0.0.1: hash is sha512":             replace(t, v1, `"content":{`, `"content":{"hash":{"algorithm":"sha512","value":"x"},`),
		"0.0.1: payload hash lacks value":   replace(t, v1, `"content":{`, `"content":{"payloadHash":{"algorithm":"sha256","value":null},`),
	}
	for name, row := range map[string][2]string{
		"no content": {`"content"`, `"Content"`}, "no envelope": {`"envelope"`, `"Envelope"`}, "no hash": {`"hash"`, `"Hash"`}, "no signatures": {`"signatures"`, `"Signatures"`},
		"hash null": {`"hash":{`, `"hash":null,"x":{`}, "hash without algorithm": {`"algorithm"`, `"Algorithm"`}, "hash without value": {`"value"`, `"Value"`}, "hash is sha1": {`"sha256"`, `"sha1"`},
		"no payload": {`"payload"`, `"Payload"`}, "payload no base64": {`"payload":"`, `"payload":"!`}, "inner payload no base64": {`"payload":"`, `"payload":"ISEh`},
		"payload type null": {`"payloadType":"` + inToto + `"`, `"payloadType":null`}, "no payload type": {`"payloadType"`, `"Payloadtype"`}, "other payload type": {"in-toto", "in-tot0"},
		"no sig": {`"sig"`, `"Sig"`}, "no key": {`"publicKey"`, `"PublicKey"`}, "sig no base64": {`"sig":"`, `"sig":"!`}, "inner sig no base64": {`"sig":"`, `"sig":"ISEh`},
		"key no base64": {`"publicKey":"`, `"publicKey":"!`}, "key is none": {`"publicKey":"`, `"publicKey":"AAAA`}, "signatures null": {`"signatures":[`, `"signatures":null,"x":[`},
		"signatures is an object": {`"signatures":[`, `"signatures":{},"x":[`}, "key of wrong type": {`"publicKey":"`, `"publicKey":7,"x":"`}, "payload hash is empty": {`"hash":`, `"payloadHash":{},"hash":`},
	} {
		out["0.0.2: "+name] = replace(t, v2, row[0], row[1])
	}
	x, y := st.sign(t, a), st.sign(t, b)
	wrong, none, nokey := x, x, x
	wrong.PublicKey, none.Sig, nokey.PublicKey = y.PublicKey, []byte{}, []byte{}
	out["0.0.2: key of another"] = st.v002With(t, wrong)
	out["0.0.2: sig empty"] = st.v002With(t, none)
	out["0.0.2: key empty"] = st.v002With(t, nokey)
	out["0.0.2: two signatures, one key"] = st.v002With(t, x, signed{Sig: y.Sig, PublicKey: x.PublicKey})
	out["0.0.2: empty list"] = st.v002With(t, []signed{}...)
	out["0.0.2: signature null only"] = bytes.Replace(out["0.0.2: empty list"], []byte(`"signatures":null`), []byte(`"signatures":[null]`), 1)
	out["0.0.2: payload type empty"] = proposal{payload: []byte("x")}.v002(t, a)
	out["0.0.2: payload is URL-safe base64"] = replace(t, urlPayload.v002(t, a), b64([]byte("/+/+")), b64([]byte("_-_-")))
	return out
}

type strictRow struct {
	proposed []byte
	want     string
	slow     bool // upstream takes seconds
}

func stricter(t testing.TB) map[string]strictRow {
	a := entrytest.Ed25519(t)
	st := proposal{payloadType: "text/plain", payload: []byte("hello")}
	pem := entrytest.PEM(t, a.Public())
	one, v2 := st.envelope(t, a), st.v002(t, a)
	var keys []crypto.Signer
	var list []signed
	for range 101 {
		k := entrytest.Ed25519(t)
		keys, list = append(keys, k), append(list, st.sign(t, k))
	}
	reversed := slices.Clone(list[:100])
	for i, s := range list[:100] {
		reversed[99-i].PublicKey = s.PublicKey
	}
	var many strings.Builder
	for i := range 10_001 {
		fmt.Fprintf(&many, `{"digest":{"a":"%d"}},`, i)
	}
	digests := proposal{payloadType: inToto, payload: []byte(`{"subject":[` + strings.TrimSuffix(many.String(), ",") + `]}`)}
	return map[string]strictRow{
		"0.0.1: payload twice":     {v001JSON(t, replace(t, one, `{"payloadType"`, `{"payload":"eA==","payloadType"`), pem), "duplicate field", false},
		"0.0.1: payload, Payload":  {v001JSON(t, replace(t, one, `{"payloadType"`, `{"Payload":"eA==","payloadType"`), pem), "duplicate field", false},
		"0.0.1: 101 signatures":    {v001JSON(t, st.envelope(t, keys...), entrytest.PEM(t, keys[0].Public())), "1 to 100 signatures", true},
		"0.0.1: envelope too deep": {v001JSON(t, replace(t, one, `{"payloadType"`, `{"x":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`,"payloadType"`), pem), "nesting", false},
		"0.0.1: 10,001 digests":    {digests.v001(t, a), "more than 10000 digests", true},
		"0.0.2: 10,001 digests":    {digests.v002(t, a), "more than 10000 digests", true},
		"0.0.2: 101 signatures":    {st.v002With(t, list...), "1 to 100 items", true},
		"0.0.2: bad order":         {st.v002With(t, reversed...), "in the order of the signatures", true},
		"0.0.1: url":               {replace(t, st.v001(t, a), `"content":{`, `"content":{"url":"http://localhost/",`), "content.url: fetching by URL is not supported", false},
		"0.0.2: url":               {replace(t, v2, `"publicKey":`, `"url":"http://localhost/","publicKey":`), "content.envelope.signatures.url: fetching by URL is not supported", false},
		"0.0.2: signature null":    {replace(t, v2, `"signatures":[`, `"signatures":[null,`), "no object", false},
		"0.0.2: signature a text":  {replace(t, v2, `"signatures":[`, `"signatures":["",`), "no object", false},
	}
}

func replace(t testing.TB, s []byte, old, with string) []byte {
	t.Helper()
	if !bytes.Contains(s, []byte(old)) {
		t.Fatalf("%s holds no %s", s, old)
	}
	return bytes.Replace(s, []byte(old), []byte(with), 1)
}

func fingerprint(t testing.TB, k crypto.Signer) string {
	pub, err := ssh.NewPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(pub)
}

// emptySig empties the first signature of a 0.0.2 body.
func emptySig(t testing.TB, body []byte) []byte {
	var v struct {
		Spec struct {
			Content struct {
				Envelope struct{ Signatures []struct{ Sig string } }
			}
		}
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	return replace(t, body, v.Spec.Content.Envelope.Signatures[0].Sig, "")
}

// urlSafe returns an entry whose signature the two alphabets of base64 write differently.
func urlSafe(t testing.TB) []byte {
	key := entrytest.P256(t)
	p := proposal{payloadType: "t", payload: []byte("x")}
	for {
		s := p.sign(t, key)
		safe := strings.NewReplacer("+", "-", "/", "_").Replace(string(s.Sig))
		if safe != string(s.Sig) {
			s.Sig = []byte(safe)
			return p.v002With(t, s)
		}
	}
}
