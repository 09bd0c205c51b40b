package differential

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const v2Entries = "/api/v2/log/entries"

// Paths of what the requests of RekorV2 read as tiles begin with one of these.
const (
	v2Tiles      = "/api/v2/tile"
	v2Checkpoint = "/api/v2/checkpoint"
)

// RekorV2 returns the requests to a Rekor v2 server whose log is empty, in the order in which they have
// to be sent: over HTTP, tiles included, and over gRPC.
func RekorV2(corpus map[string]string) []Request {
	var all []Request
	for _, part := range [][]Request{
		v2Accepted(corpus), v2TileRows(corpus), v2Surface(), v2Bodies(corpus), v2Members(corpus), v2Labels(corpus), v2Duplicates(corpus), v2RPC(corpus),
	} {
		all = append(all, part...)
	}
	return all
}

// v2Samples are the names of the entries that a Rekor v2 log takes.
func v2Samples(corpus map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(corpus)), func(n string) bool {
		return !strings.HasPrefix(n, "v2-") || n == "v2-p384-sha256"
	})
}

func v2Accepted(corpus map[string]string) []Request {
	var out []Request
	for _, name := range v2Samples(corpus) {
		out = append(out, postRow("create/"+name, v2Entries, corpus[name]))
	}
	return out
}

// v2TileRows read the log as files, while it holds the same entries in both servers.
func v2TileRows(corpus map[string]string) []Request {
	var out []Request
	n := len(v2Samples(corpus))
	for _, path := range []string{
		"/checkpoint", fmt.Sprintf("/tile/0/000.p/%d", n), fmt.Sprintf("/tile/entries/000.p/%d", n), fmt.Sprintf("/tile/0/000.p/%d", n+1), fmt.Sprintf("/tile/entries/000.p/%d", n+1),
		"/tile/0/000", "/tile/entries/000", "/tile/0/001", "/tile/0/x000/000", "/tile/1/000.p/1", "/tile/0/0", "/tile/entries/0", "/tile/0/000.p/0", "/tile/-1/000", "/tile/x/000", "/tile/0/000.p/256", "/tile/0/000.p/x",
	} {
		out = append(out, Request{Name: "tiles/GET " + path, Method: "GET", Target: "/api/v2" + path, Files: true})
	}
	return out
}

// v2Surface are methods, paths and headers.
func v2Surface() []Request {
	var out []Request
	for _, path := range []string{v2Entries, "/api/v2", "/api/v2/log", "/api/v2/nosuch", "/nosuch"} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"} {
			out = append(out, Request{Name: "methods/" + method + " " + path, Method: method, Target: path})
		}
	}
	for _, target := range []string{
		"//api/v2/log/entries", "/api/v2//log/entries", "/api/v2/log/entries/", "/api/v2/log/entries//", "/api/v2/log/./entries", "/api/v2/x/../log/entries", "/api/v2/log%2Fentries", "/api/v2/log/entrie%73", "/API/V2/log/entries", "/api/v2/log/entries?x=1", "/api/v2/log/entries:verb",
	} {
		out = append(out, postRow("paths/POST "+target, target, `{}`))
	}
	for _, accept := range []string{"", "*/*", "text/html", "application/x-protobuf", "garbage"} {
		r := postRow(fmt.Sprintf("accept %q", accept), v2Entries, `{}`)
		r.Header = map[string]string{"Accept": accept}
		out = append(out, r)
	}
	for _, h := range [][2]string{{"Origin", "https://example.com"}, {"X-HTTP-Method-Override", "GET"}, {"Grpc-Timeout", "1n"}, {"Content-Encoding", "gzip"}} {
		r := postRow("header/"+h[0], v2Entries, `{}`)
		r.Header = map[string]string{h[0]: h[1]}
		out = append(out, r)
	}
	return out
}

func v2Bodies(corpus map[string]string) []Request {
	good := corpus["v2-p256"]
	inner := good[len(`{"hashedRekordRequestV002":`) : len(good)-1]
	var out []Request
	for _, t := range []string{"-", "application/json; charset=utf-8", "text/json", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "application/x-protobuf", "application/grpc", "garbage"} {
		r := postRow(fmt.Sprintf("type %q", t), v2Entries, `{}`)
		r.Header = map[string]string{"Content-Type": t}
		out = append(out, r)
	}
	empty := postRow("body/none", v2Entries, "")
	empty.Header = map[string]string{"Content-Type": "application/json"}
	out = append(out, empty)
	for name, body := range map[string]string{
		"blank": " \n", "null": "null", "number": "7", "text": `"x"`, "list": "[]", "object": "{}", "broken off": `{"hashedRekordRequestV002":`, "word": "garbage", "byte order mark": "\xef\xbb\xbf{}", "no UTF-8": "{\"a\":\"\xff\"}", "deep": strings.Repeat(`{"hashedRekordRequestV002":`, 100) + "1" + strings.Repeat("}", 100),
		"data after it": good + "{}", "request null": `{"hashedRekordRequestV002":null}`, "request empty": `{"hashedRekordRequestV002":{}}`, "unknown field": edit(good, "x", 1), "unknown field inside": edit(good, "hashedRekordRequestV002.x", 1), "field in capitals": replace(good, `"hashedRekord`, `"HashedRekord`),
		"field twice": replace(good, `"digest"`, `"digest":"eA==","digest"`), "names of proto": `{"hashed_rekord_request_v002":` + inner + `}`, "both names": `{"hashed_rekord_request_v002":` + inner + `,` + good[1:], "dsse": `{"dsseRequestV002":{"envelope":{"payload":"eA=="},"verifiers":[]}}`, "dsse empty": `{"dsseRequestV002":{}}`, "both types": `{"dsseRequestV002":{},` + good[1:],
	} {
		out = append(out, postRow("body/"+name, v2Entries, body))
	}
	return sorted(out)
}

// v2Members are requests with one member missing or of another type.
func v2Members(corpus map[string]string) []Request {
	var out []Request
	for _, sample := range []string{"v2-p256", "v2-certificate"} {
		v, err := decodeJSON([]byte(corpus[sample]))
		if err != nil {
			panic(err)
		}
		for _, at := range members(v, "", 6) {
			for name, with := range map[string]any{"removed": removed{}, "null": nil, "empty": "", "number": 7, "list": []any{}, "object": map[string]any{}, "not base64": "!", "other base64": "AAAA"} {
				out = append(out, postRow(fmt.Sprintf("member/%s %s %s", sample, at, name), v2Entries, edit(corpus[sample], at, with)))
			}
		}
	}
	return sorted(out)
}

// v2Labels are algorithms: each label on each key, and each key with a digest of another hash.
func v2Labels(corpus map[string]string) []Request {
	const request = "hashedRekordRequestV002."
	var out []Request
	for _, sample := range append(v2Samples(corpus), "v2-p384-sha256") {
		if sample == "v2-certificate" {
			continue
		}
		own := get(corpus[sample], request+"signature.verifier.keyDetails")
		for _, label := range []string{
			"PKIX_RSA_PKCS1V15_2048_SHA256", "PKIX_RSA_PKCS1V15_3072_SHA256", "PKIX_RSA_PKCS1V15_4096_SHA256", "PKIX_RSA_PSS_2048_SHA256", "PKIX_RSA_PSS_4096_SHA256", "PKIX_RSA_PKCS1V5",
			"PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P256_HMAC_SHA_256", "PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P384_SHA_256", "PKIX_ECDSA_P521_SHA_512", "PKIX_ECDSA_P521_SHA_256", "PKIX_ED25519", "PKIX_ED25519_PH", "ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "LMS_SHA256", "LMOTS_SHA256", "PUBLIC_KEY_DETAILS_UNSPECIFIED",
			"PKIX_NOSUCH",
		} {
			if label == own && sample != "v2-p384-sha256" {
				continue
			}
			out = append(out, postRow(fmt.Sprintf("label/%s as %s", sample, label), v2Entries, edit(corpus[sample], request+"signature.verifier.keyDetails", label)))
		}
	}
	good := corpus["v2-p256"]
	other := func(name, at string, with any) {
		out = append(out, postRow("broken/"+name, v2Entries, edit(good, request+at, with)))
	}
	other("label as a number", "signature.verifier.keyDetails", 5)
	other("label as a number that is none", "signature.verifier.keyDetails", 9999)
	other("digest of other data", "digest", b64(strings.Repeat("x", 32)))
	other("digest of 31 bytes", "digest", b64(strings.Repeat("x", 31)))
	other("digest of 64 bytes", "digest", b64(strings.Repeat("x", 64)))
	other("digest in URL-safe base64 of other data", "digest", base64.URLEncoding.EncodeToString([]byte(strings.Repeat("\xff", 32))))
	other("digest without padding", "digest", base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", 32))))
	other("signature by another key", "signature.content", get(corpus["v2-certificate"], request+"signature.content"))
	other("key of another", "signature.verifier.publicKey.rawBytes", get(corpus["v2-p384"], request+"signature.verifier.publicKey.rawBytes"))
	other("key as a certificate", "signature.verifier", map[string]any{"keyDetails": "PKIX_ECDSA_P256_SHA_256", "x509Certificate": map[string]any{"rawBytes": get(good, request+"signature.verifier.publicKey.rawBytes")}})
	other("key and certificate", "signature.verifier.x509Certificate", map[string]any{"rawBytes": "AAAA"})
	other("key as PEM", "signature.verifier.publicKey.rawBytes", b64("-----BEGIN PUBLIC KEY-----\nAQ==\n-----END PUBLIC KEY-----\n"))
	return out
}

func v2Duplicates(corpus map[string]string) []Request {
	good := corpus["v2-p256"]
	out := []Request{
		postRow("duplicate/with blanks", v2Entries, " \n"+good),
		postRow("duplicate/names of proto", v2Entries, `{"hashed_rekord_request_v002":`+good[len(`{"hashedRekordRequestV002":`):]),
		postRow("duplicate/URL-safe base64", v2Entries, strings.NewReplacer("+", "-", `\/`, "_").Replace(good)),
		postRow("duplicate/with a query", v2Entries+"?x=1", good),
		postRow("duplicate/at a double slash", "/api/v2//log/entries", good),
	}
	for _, name := range v2Samples(corpus) {
		out = append(out, postRow("duplicate/"+name, v2Entries, corpus[name]))
	}
	return out
}

// v2RPC are calls over gRPC. What they create they have made of what is there already.
func v2RPC(corpus map[string]string) []Request {
	var out []Request
	call := func(name, method, body string) {
		out = append(out, Request{Name: "grpc/" + name, Method: "gRPC", Target: method, Body: body})
	}
	const request = "hashedRekordRequestV002."
	for _, name := range v2Samples(corpus) {
		call("duplicate "+name, "CreateEntry", corpus[name])
		call("other digest "+name, "CreateEntry", edit(corpus[name], request+"digest", b64(strings.Repeat("x", 31))))
	}
	call("nothing", "CreateEntry", `{}`)
	call("dsse", "CreateEntry", `{"dsseRequestV002":{}}`)
	call("empty request", "CreateEntry", `{"hashedRekordRequestV002":{}}`)
	for _, at := range []string{"digest", "signature", "signature.content", "signature.verifier", "signature.verifier.publicKey", "signature.verifier.publicKey.rawBytes", "signature.verifier.keyDetails"} {
		call("without "+at, "CreateEntry", edit(corpus["v2-p256"], request+at, removed{}))
	}
	call("label of another", "CreateEntry", edit(corpus["v2-p256"], request+"signature.verifier.keyDetails", "PKIX_RSA_PKCS1V15_2048_SHA256"))
	call("Ed25519 pure", "CreateEntry", edit(corpus["v2-ed25519ph"], request+"signature.verifier.keyDetails", "PKIX_ED25519"))
	call("tile", "GetTile", `{"N":"000.p/1"}`)
	call("bundle", "GetEntryBundle", `{"N":"000.p/1"}`)
	call("checkpoint", "GetCheckpoint", ``)
	call("tile that is none", "GetTile", `{"N":"zzz"}`)
	return out
}
