package differential

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sorted orders rows that come from a map.
func sorted(rows []Request) []Request {
	slices.SortStableFunc(rows, func(a, b Request) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// v1Accepted creates every entry of the corpus; other rows name what it made as "create/" and the
// name of the sample.
func v1Accepted(corpus map[string]string) []Request {
	var out []Request
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		if !strings.HasPrefix(name, "v2-") {
			out = append(out, postRow("create/"+name, v1Entries, corpus[name]))
		}
	}
	return out
}

// v1Members are proposed entries with one member missing or of another type.
func v1Members(corpus map[string]string) []Request {
	var out []Request
	for _, sample := range []string{
		"hashedrekord-p256", "dsse-p256", "intoto-001", "intoto-002", "rekord-x509-key", "rekord-pgp-armoured", "helm", "jar", "alpine", "rpm", "cose", "tuf", "rfc3161",
	} {
		v, err := decodeJSON([]byte(corpus[sample]))
		if err != nil {
			panic(sample + ": " + err.Error())
		}
		for _, at := range members(v, "", 4) {
			if at != "spec" && !strings.HasPrefix(at, "spec.") && sample != "hashedrekord-p256" {
				continue // one kind is enough
			}
			for _, c := range []struct {
				name string
				with any
			}{
				{"removed", removed{}}, {"null", nil}, {"empty", ""}, {"number", 7}, {"list", []any{}}, {"object", map[string]any{}}, {"not base64", "!"}, {"other base64", "AAAA"},
			} {
				out = append(out, postRow(fmt.Sprintf("member/%s %s %s", sample, at, c.name), v1Entries, edit(corpus[sample], at, c.with)))
			}
		}
	}
	return out
}

// members are the paths of all members of an object, as far as depth. What is below a document of
// somebody else's, such as TUF metadata, is not ours.
func members(v any, at string, depth int) (out []string) {
	o, _ := v.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(o)) {
		p := strings.TrimPrefix(at+"."+name, ".")
		out = append(out, p)
		if inner, ok := o[name].(map[string]any); ok && depth > 1 && inner["signed"] == nil {
			out = append(out, members(inner, p, depth-1)...)
		}
	}
	return out
}

// v1Broken are entries that are wrong in another way than by a missing member.
func v1Broken(corpus map[string]string) []Request {
	var out []Request
	add := func(name, body string) { out = append(out, postRow("broken/"+name, v1Entries, body)) }
	hashed, dsse := corpus["hashedrekord-p256"], corpus["dsse-p256"]
	add("kind in capitals", edit(hashed, "kind", "HashedRekord"))
	add("kind unknown", edit(hashed, "kind", "nosuch"))
	for _, v := range []string{"0.0.2", "1.0.0", "0.0", "v0.0.1", "0.0.1-rc", "9999999999.0.0"} {
		add("version "+v, edit(hashed, "apiVersion", v))
	}
	add("intoto version 0.0.3", edit(corpus["intoto-002"], "apiVersion", "0.0.3"))
	add("intoto version of the other", edit(corpus["intoto-002"], "apiVersion", "0.0.1"))
	add("unknown field beside spec", edit(hashed, "x", 1))
	add("unknown field in spec", edit(corpus["hashedrekord-p384"], "spec.x", 1))
	add("field in capitals", replace(corpus["hashedrekord-p521"], `"spec"`, `"Spec"`))
	add("spec of another kind", edit(hashed, "kind", "dsse"))

	const sig, key, value, algorithm = "spec.signature.content", "spec.signature.publicKey.content", "spec.data.hash.value", "spec.data.hash.algorithm"
	add("hash value in capitals", edit(corpus["hashedrekord-rsa2048"], value, strings.ToUpper(get(corpus["hashedrekord-rsa2048"], value))))
	add("hash value of 63", edit(hashed, value, get(hashed, value)[1:]))
	add("hash value no hex", edit(hashed, value, strings.Repeat("g", 64)))
	add("hash value with a prefix", edit(hashed, value, "sha256:"+get(hashed, value)))
	add("hash of other data", edit(hashed, value, strings.Repeat("ab", 32)))
	add("algorithm sha1", edit(hashed, algorithm, "sha1"))
	add("algorithm in capitals", edit(hashed, algorithm, "SHA256"))
	add("algorithm of other length", edit(hashed, algorithm, "sha512"))
	add("signature by another key", edit(hashed, sig, get(corpus["hashedrekord-certificate"], sig)))
	add("signature of zeros", edit(hashed, sig, base64.StdEncoding.EncodeToString(make([]byte, 64))))
	add("signature without padding", edit(hashed, sig, strings.TrimRight(get(hashed, sig), "=")))
	add("key of another", edit(hashed, key, get(corpus["hashedrekord-p384"], key)))
	add("key is no PEM", edit(hashed, key, b64("ssh-ed25519 AAAA")))
	add("key is a private key", edit(hashed, key, b64("-----BEGIN PRIVATE KEY-----\nAQ==\n-----END PRIVATE KEY-----\n")))
	add("key of garbage DER", edit(hashed, key, b64("-----BEGIN PUBLIC KEY-----\nAQ==\n-----END PUBLIC KEY-----\n")))
	add("certificate of garbage DER", edit(hashed, key, b64("-----BEGIN CERTIFICATE-----\nAQ==\n-----END CERTIFICATE-----\n")))
	add("url in data", edit(hashed, "spec.data.url", "http://127.0.0.1:1/"))
	add("url in signature", edit(hashed, "spec.signature.url", "http://127.0.0.1:1/"))
	add("url in key", edit(hashed, "spec.signature.publicKey.url", "http://127.0.0.1:1/"))

	const envelope, verifiers = "spec.proposedContent.envelope", "spec.proposedContent.verifiers"
	other := []any{get(hashed, key)}
	add("dsse envelope no JSON", edit(dsse, envelope, "{"))
	add("dsse data after the envelope", edit(dsse, envelope, get(dsse, envelope)+"{}"))
	add("dsse no signatures", edit(dsse, envelope, `{"payloadType":"t","payload":"eA==","signatures":[]}`))
	add("dsse other payload type", edit(dsse, envelope, replace(get(dsse, envelope), "in-toto", "in-tot0")))
	add("dsse payload no base64", edit(dsse, envelope, replace(get(dsse, envelope), `"payload":"`, `"payload":"!`)))
	add("dsse payload twice", edit(dsse, envelope, replace(get(dsse, envelope), `{"payloadType"`, `{"payload":"eA==","payloadType"`)))
	add("dsse key of another", edit(dsse, verifiers, other))
	add("dsse key of garbage", edit(dsse, verifiers, []any{"AAAA"}))
	add("dsse one key for two", edit(corpus["dsse-two"], verifiers, other))
	add("dsse null verifier", edit(corpus["dsse-text"], verifiers, []any{nil}))
	add("dsse canonical form", edit(dsse, "spec", map[string]any{
		"envelopeHash": map[string]any{"algorithm": "sha256", "value": noUUID}, "payloadHash": map[string]any{"algorithm": "sha256", "value": noUUID},
		"signatures": []any{map[string]any{"signature": "AAAA", "verifier": get(hashed, key)}},
	}))
	const content = "spec.content.envelope"
	add("intoto envelope no JSON", edit(corpus["intoto-001"], content, "{"))
	add("intoto other payload type", edit(corpus["intoto-001"], content, replace(get(corpus["intoto-001"], content), "in-toto", "in-tot0")))
	add("intoto key of another", edit(corpus["intoto-001"], "spec.publicKey", get(hashed, key)))
	add("intoto 0.0.2 other payload type", edit(corpus["intoto-002"], content+".payloadType", "text/plain"))
	add("intoto 0.0.2 hash sha1", edit(corpus["intoto-002"], "spec.content.hash.algorithm", "sha1"))

	return append(out, v1BrokenPackages(corpus)...)
}

// v1BrokenPackages are entries of kinds that unpack something, spoilt in what they unpack.
func v1BrokenPackages(corpus map[string]string) []Request {
	var out []Request
	for _, c := range []struct{ sample, at string }{
		{"rekord-pgp-armoured", "spec.signature.content"}, {"rekord-pgp-armoured", "spec.signature.publicKey.content"}, {"rekord-pgp-binary", "spec.signature.content"}, {"rekord-pgp-binary", "spec.data.content"},
		{"rekord-minisign", "spec.signature.content"}, {"rekord-minisign", "spec.signature.publicKey.content"}, {"rekord-ssh-ed25519", "spec.signature.content"}, {"rekord-ssh-ed25519", "spec.signature.publicKey.content"},
		{"rekord-x509-key", "spec.signature.content"}, {"rekord-x509-certificate", "spec.signature.publicKey.content"},
		{"helm", "spec.chart.provenance.content"}, {"helm", "spec.publicKey.content"}, {"jar", "spec.archive.content"}, {"alpine", "spec.package.content"}, {"alpine", "spec.publicKey.content"},
		{"rpm", "spec.package.content"}, {"rpm", "spec.publicKey.content"}, {"cose", "spec.message"}, {"rfc3161", "spec.tsr.content"},
	} {
		raw, err := base64.StdEncoding.DecodeString(get(corpus[c.sample], c.at))
		if err != nil {
			panic(c.sample + ": " + err.Error())
		}
		half := slices.Clone(raw[:len(raw)/2])
		flipped := slices.Clone(raw)
		flipped[len(raw)/2] ^= 4
		for name, b := range map[string][]byte{"cut in half": half, "a bit flipped": flipped, "of zeros": make([]byte, 64)} {
			out = append(out, postRow(fmt.Sprintf("broken/%s %s %s", c.sample, c.at, name), v1Entries, edit(corpus[c.sample], c.at, base64.StdEncoding.EncodeToString(b))))
		}
	}
	for _, format := range []string{"minisign", "ssh", "x509", "tuf", "none", "PGP"} {
		out = append(out, postRow("broken/rekord-pgp-armoured as "+format, v1Entries, edit(corpus["rekord-pgp-armoured"], "spec.signature.format", format)))
	}
	hash := map[string]any{"algorithm": "sha256", "value": noUUID}
	for sample, at := range map[string]string{
		"rekord-x509-key": "spec.data", "alpine": "spec.package", "jar": "spec.archive", "rpm": "spec.package", "helm": "spec.chart",
	} {
		out = append(out, postRow("broken/"+sample+" wrong hash", v1Entries, edit(corpus[sample], at+".hash", hash)))
		out = append(out, postRow("broken/"+sample+" hash only", v1Entries, edit(corpus[sample], at, map[string]any{"hash": hash})))
		out = append(out, postRow("broken/"+sample+" by URL", v1Entries, edit(corpus[sample], at, map[string]any{"url": "http://127.0.0.1:1/", "hash": hash})))
	}
	return sorted(out)
}

// v1Duplicates post entries again that the log holds.
func v1Duplicates(corpus map[string]string) []Request {
	hashed := corpus["hashedrekord-p256"]
	out := []Request{
		postRow("duplicate/with blanks", v1Entries, " \n"+hashed+"\n"),
		postRow("duplicate/with a query", v1Entries+"?a=b&apiKey=x", hashed),
		postRow("duplicate/at a double slash", "/api/v1/log//entries", hashed),
		postRow("duplicate/at a trailing slash", v1Entries+"/", hashed),
		postRow("duplicate/unknown field", v1Entries, edit(hashed, "spec.data.x", 1)),
		postRow("duplicate/hash in capitals", v1Entries, edit(hashed, "spec.data.hash.value", strings.ToUpper(get(hashed, "spec.data.hash.value")))),
	}
	for _, t := range []string{"application/json; charset=utf-8", "application/json;charset=UTF-8", "APPLICATION/JSON", "application/json; x=y", "application/json;"} {
		r := postRow(fmt.Sprintf("duplicate/type %q", t), v1Entries, hashed)
		r.Header = map[string]string{"Content-Type": t}
		out = append(out, r)
	}
	for _, name := range slices.Sorted(maps.Keys(corpus)) {
		if !strings.HasPrefix(name, "v2-") {
			out = append(out, postRow("duplicate/"+name, v1Entries, corpus[name]))
		}
	}
	return out
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
