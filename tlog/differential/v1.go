package differential

import (
	"fmt"
	"strings"
)

const (
	v1Log      = "/api/v1/log"
	v1Key      = "/api/v1/log/publicKey"
	v1Proof    = "/api/v1/log/proof"
	v1Entries  = "/api/v1/log/entries"
	v1Retrieve = "/api/v1/log/entries/retrieve"
	v1Index    = "/api/v1/index/retrieve"
)

// Forms of what no log holds.
var (
	noUUID = strings.Repeat("ab", 32)
	noTree = "7fffffffffffffff"
)

// RekorV1 returns the requests to a Rekor v1 server whose log is empty, in the order in which they
// have to be sent.
func RekorV1(corpus map[string]string) []Request {
	var all []Request
	for _, part := range [][]Request{
		v1Empty(), v1Methods(), v1Paths(), v1Headers(), v1Bodies(),
		v1Accepted(corpus), v1Members(corpus), v1Broken(corpus), v1Duplicates(corpus),
		v1Reads(), v1Proofs(), v1RetrieveRows(corpus), v1SearchRows(corpus),
	} {
		all = append(all, part...)
	}
	return all
}

func getRow(name, target string) Request { return Request{Name: name, Method: "GET", Target: target} }

func postRow(name, target, body string) Request {
	return Request{Name: name, Method: "POST", Target: target, Body: body}
}

// v1Empty are answers of a log without entries.
func v1Empty() []Request {
	return []Request{
		getRow("empty log/info", v1Log),
		getRow("empty log/key", v1Key),
		getRow("empty log/entry 0", v1Entries+"?logIndex=0"),
		getRow("empty log/entry by UUID", v1Entries+"/"+noUUID),
		getRow("empty log/proof to 1", v1Proof+"?lastSize=1"),
		postRow("empty log/retrieve", v1Retrieve, `{"logIndexes":[0]}`),
		postRow("empty log/search", v1Index, `{"hash":"`+noUUID+`"}`),
	}
}

// v1Methods are all methods on all paths.
func v1Methods() []Request {
	var out []Request
	for _, path := range []string{
		"/ping", v1Log, v1Key, v1Proof, v1Entries, v1Entries + "/" + noUUID, v1Retrieve, v1Index,
		"/api/v1", "/api/v1/nosuch", "/nosuch", "/api/v1/timestamp", "/api/v1/timestamp/certchain", "/api/v1/version", "/swagger.json",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"} {
			out = append(out, Request{Name: "methods/" + method + " " + path, Method: method, Target: path})
		}
	}
	return out
}

// v1Paths are paths that are nearly right.
func v1Paths() []Request {
	var out []Request
	for _, target := range []string{
		"//api/v1/log", "/api//v1/log", "/api/v1//log", "/api/v1/log/", "/api/v1/log//", "/api/v1/log/publicKey/", "/api/v1//log/publicKey",
		"/api/v1/log/proof/?lastSize=9999", "/api/v1/log/entries/", "/api/v1/log/entries/?logIndex=9999", "/api/v1/log//entries?logIndex=9999",
		"/api/v1/log/entries/" + noUUID + "/", "/api/v1/log/entries//" + noUUID, "/api/v1/log/entries/" + noUUID + "/more",
		"/api/v1/./log", "/api/v1/x/../log", "/api/v1/log/..", "/api/v1/log%2FpublicKey", "/api/v1/%6Cog", "/api/v1/log%00", "/api/v1/log;x=1", "/API/V1/LOG", "/api/v1/Log",
		"/api/v1/log?", "/api/v1/log?stable=true", "/api/v1/log?stable=false", "/api/v1/log?stable=x", "/api/v1/log?x=1", "/api/v1/log?x=%zz", "/api/v1/log?x;y", "/ping/", "//ping", "/PING",
	} {
		out = append(out, getRow("paths/GET "+target, target))
	}
	for _, target := range []string{
		"//api/v1/log/entries", "/api/v1/log/entries/", "/api/v1/log//entries", "/api/v1/log/entries//", "/api/v1/log/entries/retrieve/", "/api/v1/log/entries//retrieve", "/api/v1/log/entries/retrieve//",
		"/api/v1/index/retrieve/", "/api/v1/index//retrieve", "/api/v1/index", "/api/v1/index/", "/ping",
	} {
		out = append(out, postRow("paths/POST "+target, target, `{}`))
	}
	return out
}

// v1Headers are what is asked for, and how a body is declared.
func v1Headers() []Request {
	var out []Request
	for _, accept := range []string{
		"", "*/*", "application/*", "application/json", "application/json;q=0.5", "text/html, application/json;q=0.9", "text/html", "application/xml", "application/x-pem-file", "text/plain", "garbage",
		"application/json; charset=utf-8", "application/json;q=0", "-",
	} {
		for what, path := range map[string]string{"info": v1Log, "key": v1Key, "entry": v1Entries + "?logIndex=9999"} {
			r := getRow(fmt.Sprintf("accept %q/%s", accept, what), path)
			if accept != "-" {
				r.Header = map[string]string{"Accept": accept}
			}
			out = append(out, r)
		}
	}
	out = append(out, []Request{
		{Name: "origin/GET", Method: "GET", Target: v1Log, Header: map[string]string{"Origin": "https://example.com"}},
		{Name: "origin/POST", Method: "POST", Target: v1Index, Body: `{"hash":"` + noUUID + `"}`, Header: map[string]string{"Origin": "https://example.com"}},
		{Name: "origin/preflight", Method: "OPTIONS", Target: v1Entries, Header: map[string]string{"Origin": "https://example.com", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}},
		{Name: "origin/preflight of DELETE", Method: "OPTIONS", Target: v1Entries, Header: map[string]string{"Origin": "https://example.com", "Access-Control-Request-Method": "DELETE"}},
		{Name: "origin/preflight with another header", Method: "OPTIONS", Target: v1Entries, Header: map[string]string{"Origin": "https://example.com", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}},
		{Name: "origin/not found", Method: "GET", Target: "/nosuch", Header: map[string]string{"Origin": "https://example.com"}},
	}...)
	return sorted(out)
}

// v1Bodies are bodies and their declarations, at each path that takes one.
func v1Bodies() []Request {
	var out []Request
	good := map[string]string{v1Entries: `{"kind":"nosuch"}`, v1Retrieve: `{"logIndexes":[9999]}`, v1Index: `{"hash":"` + noUUID + `"}`}
	for path, what := range map[string]string{v1Entries: "create", v1Retrieve: "retrieve", v1Index: "search"} {
		for _, t := range []string{
			"-", "application/json; charset=utf-8", "application/json;charset=UTF-8", "application/json; charset=utf-16", "APPLICATION/JSON", "application/json; x=y", "text/json", "text/plain", "application/x-www-form-urlencoded",
			"application/octet-stream", "application/yaml", "application/json, application/json", "garbage", "application/json;", "application/vnd.x+json",
		} {
			r := postRow(fmt.Sprintf("type %q/%s", t, what), path, good[path])
			r.Header = map[string]string{"Content-Type": t}
			out = append(out, r)
		}
		for name, body := range map[string]string{
			"blank": " \n", "null": "null", "number": "7", "text": `"x"`, "true": "true", "list": "[]", "object": "{}", "list of an object": "[{}]", "broken off": `{"kind":`, "word": "garbage", "single quotes": "{'a':1}", "comma at the end": `{"a":1,}`,
			"byte order mark": "\xef\xbb\xbf{}", "no UTF-8": "{\"a\":\"\xff\"}", "half a pair": `{"a":"\ud800"}`, "NUL": "{}\x00", "data after it": "{}{}", "field twice": `{"kind":"dsse","kind":"dsse"}`, "deep": strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100),
		} {
			out = append(out, postRow("body/"+what+" "+name, path, body))
		}
		empty := postRow("body/"+what+" none", path, "")
		empty.Header = map[string]string{"Content-Type": "application/json"}
		out = append(out, empty, Request{
			Name: "encoding gzip/" + what, Method: "POST", Target: path, Body: "\x1f\x8b\x08\x00garbage", Header: map[string]string{"Content-Encoding": "gzip"},
		})
	}
	return sorted(out)
}
