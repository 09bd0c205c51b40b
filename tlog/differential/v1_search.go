package differential

import (
	"fmt"
	"strings"
)

// v1SearchRows are searches of the index. The first ones wait until upstream has written what they
// look for.
func v1SearchRows(corpus map[string]string) []Request {
	var out []Request
	hash := func(name string) string { return get(corpus[name], "spec.data.hash.value") }
	key := func(name string) string { return get(corpus[name], "spec.signature.publicKey.content") }
	search := func(name, body string) { out = append(out, postRow("search/"+name, v1Index, body)) }
	object := func(v any) string { return encode(v) }
	found := func(name, sample, body string) {
		r := postRow("search/"+name, v1Index, body)
		r.Until = "{{id:create/" + sample + "}}"
		out = append(out, r)
	}
	public := func(format, content string) string {
		return object(map[string]any{"publicKey": map[string]any{"format": format, "content": content}})
	}
	artifact := hash("hashedrekord-p256")
	for _, sample := range []string{"hashedrekord-certificate", "hashedrekord-chain", "rekord-x509-certificate", "rekord-x509-key", "hashedrekord-rsa2048"} {
		found("key x509 of "+sample, sample, public("x509", key(sample)))
	}
	for _, sample := range []string{"rekord-pgp-armoured", "rekord-pgp-binary", "rekord-minisign", "rekord-minisign-legacy", "rekord-ssh-ed25519", "rekord-ssh-ecdsa", "rekord-ssh-rsa"} {
		found("key of "+sample, sample, public(get(corpus[sample], "spec.signature.format"), key(sample)))
	}
	found("key pgp of helm", "helm", public("pgp", get(corpus["helm"], "spec.publicKey.content")))
	found("key pgp of rpm", "rpm", public("pgp", get(corpus["rpm"], "spec.publicKey.content")))
	found("key x509 of alpine", "alpine", public("x509", get(corpus["alpine"], "spec.publicKey.content")))
	found("key x509 of cose", "cose", public("x509", get(corpus["cose"], "spec.publicKey")))
	found("hash bare", "hashedrekord-p256", `{"hash":"`+artifact+`"}`)
	found("hash sha256", "hashedrekord-rsa4096", `{"hash":"sha256:`+artifact+`"}`)
	found("hash in capitals", "hashedrekord-p256", `{"hash":"`+strings.ToUpper(artifact)+`"}`)
	found("hash sha512", "hashedrekord-p521", `{"hash":"sha512:`+hash("hashedrekord-p521")+`"}`)
	found("hash sha512 bare", "hashedrekord-p521", `{"hash":"`+hash("hashedrekord-p521")+`"}`)
	found("email", "hashedrekord-certificate", `{"email":"dev@example.com"}`)
	found("email in capitals", "rekord-x509-certificate", `{"email":"DEV@Example.COM"}`)
	found("email of a chain", "hashedrekord-chain", `{"email":"chain@example.com"}`)
	found("subject URI", "hashedrekord-certificate", `{"subject":"https://example.com/builder"}`)
	found("subject other name", "hashedrekord-certificate-many", `{"subject":"user!domain"}`)
	search("key of dsse", public("x509", key("hashedrekord-p384")))
	search("subject DNS", `{"subject":"a.example"}`)
	search("subject IP", `{"subject":"192.0.2.1"}`)
	search("subject email", `{"subject":"dev@example.com"}`)

	for name, body := range map[string]string{
		"hash sha384": `{"hash":"sha384:` + hash("hashedrekord-p384") + `"}`, "hash sha384 bare": `{"hash":"` + hash("hashedrekord-p384") + `"}`, "hash sha1": `{"hash":"sha1:` + strings.Repeat("a", 40) + `"}`, "hash sha1 bare": `{"hash":"` + strings.Repeat("a", 40) + `"}`,
		"hash of nothing": `{"hash":"` + noUUID + `"}`, "hash short": `{"hash":"ab"}`, "hash empty": `{"hash":""}`, "hash prefix in capitals": `{"hash":"SHA256:` + artifact + `"}`, "hash of another length": `{"hash":"sha512:` + artifact + `"}`, "hash md5": `{"hash":"md5:` + strings.Repeat("a", 32) + `"}`, "hash no hex": `{"hash":"` + strings.Repeat("g", 64) + `"}`, "hash number": `{"hash":7}`, "hash null": `{"hash":null}`,
		"email none": `{"email":"nobody@example.com"}`, "email empty": `{"email":""}`, "email no address": `{"email":"x"}`, "email with a name": `{"email":"Dev <dev@example.com>"}`, "email number": `{"email":7}`, "email null": `{"email":null}`, "email long": `{"email":"` + strings.Repeat("a", 600) + `@example.com"}`, "email with blanks": `{"email":" dev@example.com "}`, "email of no ASCII": `{"email":"d\u00e9v@example.com"}`,
		"subject none": `{"subject":"nobody"}`, "subject empty": `{"subject":""}`, "subject 512": `{"subject":"` + strings.Repeat("a", 512) + `"}`, "subject 513": `{"subject":"` + strings.Repeat("a", 513) + `"}`, "subject number": `{"subject":7}`, "subject null": `{"subject":null}`,
		"nothing": `{}`, "unknown key": `{"x":1}`, "operator only": `{"operator":"and"}`, "operator unknown": `{"hash":"` + artifact + `","operator":"xor"}`, "operator in capitals": `{"hash":"` + artifact + `","operator":"AND"}`, "operator empty": `{"hash":"` + noUUID + `","operator":""}`, "operator number": `{"hash":"` + artifact + `","operator":7}`,
		"and of two": `{"operator":"and","hash":"` + artifact + `","email":"chain@example.com"}`, "and of none": `{"operator":"and","hash":"` + noUUID + `","email":"dev@example.com"}`, "and of one": `{"operator":"and","email":"chain@example.com"}`, "or of two": `{"operator":"or","hash":"` + hash("hashedrekord-p521") + `","email":"chain@example.com"}`, "or of none and one": `{"operator":"or","hash":"` + noUUID + `","email":"chain@example.com"}`, "two without operator": `{"hash":"` + noUUID + `","email":"chain@example.com"}`,
		"and of three": object(map[string]any{"operator": "and", "hash": artifact, "email": "chain@example.com", "publicKey": map[string]any{"format": "x509", "content": key("hashedrekord-chain")}}), "and of three, one off": object(map[string]any{"operator": "and", "hash": artifact, "email": "nobody@example.com", "publicKey": map[string]any{"format": "x509", "content": key("hashedrekord-chain")}}),
		"and of subject and email": `{"operator":"and","subject":"https://example.com/Builder","email":"dev@example.com"}`,
		"key null":                 `{"publicKey":null}`, "key empty": `{"publicKey":{}}`, "key text": `{"publicKey":"x"}`, "key list": `{"publicKey":[]}`, "key without content": `{"publicKey":{"format":"x509"}}`, "key without format": `{"publicKey":{"content":"eA=="}}`, "key of no format": public("raw", "eA=="), "key format in capitals": public("X509", key("hashedrekord-p256")), "key no base64": public("x509", "!"), "key format null": `{"publicKey":{"format":null,"content":"eA=="}}`,
		"key by URL": `{"publicKey":{"format":"x509","url":"http://127.0.0.1:1/"}}`, "key and URL": object(map[string]any{"publicKey": map[string]any{"format": "x509", "content": key("hashedrekord-p256"), "url": "http://127.0.0.1:1/"}}), "key tuf": public("tuf", b64(encode(root(corpus)))),
	} {
		search(name, body)
	}
	for _, format := range []string{"pgp", "x509", "minisign", "ssh", "tuf"} {
		search("garbage as "+format, public(format, b64("garbage")))
		search("nothing as "+format, public(format, ""))
		search("x509 key as "+format, public(format, key("hashedrekord-p256")))
	}
	for i, fragment := range []string{`"operator":"and"`, `"operator":"or"`} {
		search(fmt.Sprintf("same value twice %d", i), `{`+fragment+`,"email":"dev@example.com","subject":"dev@example.com"}`)
	}
	tail := len(out)
	for i, r := range out {
		if r.Until == "" {
			tail = i
			break
		}
	}
	sorted(out[tail:]) // those that wait come first
	return out
}

// root is the root metadata of the kept TUF entry.
func root(corpus map[string]string) any {
	v, err := decodeJSON([]byte(corpus["tuf"]))
	if err != nil {
		panic(err)
	}
	return v.(map[string]any)["spec"].(map[string]any)["root"].(map[string]any)["content"]
}
