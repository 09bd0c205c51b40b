package differential

import (
	"fmt"
	"strings"
)

// v1Reads are reads of single entries.
func v1Reads() []Request {
	const id, uuid = "{{id:create/hashedrekord-p256}}", "{{uuid:create/hashedrekord-p256}}"
	var out []Request
	for name, at := range map[string]string{
		"id": id, "UUID": uuid, "tree 0": strings.Repeat("0", 16) + uuid, "another tree": noTree + uuid, "tree beyond int64": "ffffffffffffffff" + uuid,
		"absent UUID": noUUID, "absent UUID of the tree": "{{treehex}}" + noUUID, "absent UUID in capitals": strings.ToUpper(noUUID), "63 digits": noUUID[1:], "65 digits": noUUID + "a", "79 digits": noUUID + noTree[1:], "81 digits": noUUID + noTree + "a",
		"no hex": "g" + noUUID[1:], "empty": "", "a blank before": "%20" + uuid, "a blank after": uuid + "%20", "prefix 0x": "0x" + uuid, "trailing slash": uuid + "/", "query": uuid + "?x=1", "escaped digit": "%61" + noUUID[1:], "retrieve": "retrieve",
		"star": "*", "index": "0",
	} {
		out = append(out, getRow("by id/"+name, v1Entries+"/"+at))
	}
	for name, query := range map[string]string{
		"first": "logIndex=0", "second": "logIndex=1", "its index": "logIndex={{index:create/hashedrekord-p256}}", "last kind": "logIndex={{index:create/tuf}}", "beyond": "logIndex=99999", "far beyond": "logIndex=9223372036854775807", "beyond int64": "logIndex=9223372036854775808", "negative": "logIndex=-1",
		"minus zero": "logIndex=-0", "plus": "logIndex=%2B1", "plus as blank": "logIndex=+1", "leading zeros": "logIndex=007", "hexadecimal": "logIndex=0x1", "fraction": "logIndex=1.0", "exponent": "logIndex=1e0", "word": "logIndex=abc", "empty": "logIndex=", "none": "", "other name": "logindex=0", "twice": "logIndex=0&logIndex=1",
		"list": "logIndex=0,1", "blank": "logIndex=%200", "quoted": "logIndex=%220%22", "another parameter": "logIndex=0&x=1", "semicolon": "logIndex=0;x=1", "underscore": "logIndex=1_0", "Arabic digit": "logIndex=%D9%A1",
	} {
		out = append(out, getRow("by index/"+name, v1Entries+"?"+query))
	}
	for _, kind := range []string{"dsse-p256", "intoto-002-two", "rekord-pgp-binary", "rekord-minisign", "rekord-ssh-rsa", "helm", "jar", "alpine", "rpm", "tuf", "rfc3161", "hashedrekord-chain"} {
		out = append(out, getRow("by id/kind "+kind, v1Entries+"/{{id:create/"+kind+"}}"))
	}
	for _, kind := range []string{"intoto-001", "intoto-002", "cose"} {
		r := getRow("attestation/"+kind, v1Entries+"/{{id:create/"+kind+"}}")
		r.Until = `"attestation"`
		out = append(out, r)
	}
	for what, path := range map[string]string{"info": v1Log, "key": v1Key, "entry": v1Entries + "?logIndex=0", "entry by id": v1Entries + "/" + id} {
		for _, method := range []string{"HEAD", "POST"} {
			if method == "POST" && what == "entry" {
				continue
			}
			out = append(out, Request{Name: "full log/" + method + " " + what, Method: method, Target: path})
		}
	}
	out = append(out, getRow("full log/info", v1Log))
	for name, query := range map[string]string{
		"none": "", "empty": "treeID=", "the tree": "treeID={{tree}}", "another tree": "treeID=7", "zero": "treeID=0", "leading zeros": "treeID=00{{tree}}", "beyond int64": "treeID=99999999999999999999", "word": "treeID=abc", "negative": "treeID=-1", "hexadecimal": "treeID={{treehex}}x",
		"path": "treeID=../", "twice": "treeID={{tree}}&treeID=7", "twice, the other way": "treeID=7&treeID={{tree}}", "plus": "treeID=%2B7", "other name": "treeid=7",
	} {
		out = append(out, getRow("key/"+name, v1Key+"?"+query))
	}
	return sorted(out)
}

// v1Proofs are consistency proofs. The log has more than 20 entries.
func v1Proofs() []Request {
	var out []Request
	for name, query := range map[string]string{
		"1 to 2": "firstSize=1&lastSize=2", "default first": "lastSize=5", "first empty": "firstSize=&lastSize=5", "equal": "firstSize=3&lastSize=3", "1 to 1": "firstSize=1&lastSize=1", "of the tree": "firstSize=3&lastSize=20&treeID={{tree}}", "of another tree": "firstSize=3&lastSize=20&treeID=7",
		"tree beyond int64": "lastSize=5&treeID=99999999999999999999", "tree word": "lastSize=5&treeID=x", "tree empty": "lastSize=5&treeID=", "tree zero": "lastSize=5&treeID=0", "no last": "firstSize=1", "last 0": "lastSize=0", "last negative": "lastSize=-3", "last word": "lastSize=x", "last empty": "lastSize=", "first 0": "firstSize=0&lastSize=5",
		"first negative": "firstSize=-1&lastSize=5", "first word": "firstSize=x&lastSize=5", "first after last": "firstSize=6&lastSize=5", "first after last, another tree": "firstSize=6&lastSize=5&treeID=7", "last beyond": "firstSize=1&lastSize=100000", "both beyond": "firstSize=100000&lastSize=100001", "equal beyond": "firstSize=100000&lastSize=100000",
		"last max": "firstSize=1&lastSize=9223372036854775807", "last beyond int64": "firstSize=1&lastSize=9223372036854775808", "fraction": "lastSize=5.5", "exponent": "lastSize=1e1", "plus": "lastSize=%2B5", "last twice": "lastSize=5&lastSize=6", "other names": "first=1&last=5", "none": "",
	} {
		out = append(out, getRow("proof/"+name, v1Proof+"?"+query))
	}
	return sorted(out)
}

// v1RetrieveRows are queries for several entries.
func v1RetrieveRows(corpus map[string]string) []Request {
	const id, uuid, index = `"{{id:create/hashedrekord-p256}}"`, `"{{uuid:create/dsse-p256}}"`, `{{index:create/tuf}}`
	list := func(name, item string, n int) string {
		return fmt.Sprintf(`{%q:[%s]}`, name, strings.TrimSuffix(strings.Repeat(item+",", n), ","))
	}
	absent := `"` + noUUID + `"`
	hashed, dsse := corpus["hashedrekord-p256"], corpus["dsse-p256"]
	var out []Request
	for name, body := range map[string]string{
		"an id": list("entryUUIDs", id, 1), "a UUID": list("entryUUIDs", uuid, 1), "an index": list("logIndexes", index, 1), "an entry": list("entries", hashed, 1), "a dsse entry": list("entries", dsse, 1), "an intoto entry": list("entries", corpus["intoto-002"], 1), "a rekord entry": list("entries", corpus["rekord-pgp-armoured"], 1),
		"an id of another tree": list("entryUUIDs", `"`+noTree+noUUID+`"`, 1), "its UUID in another tree": list("entryUUIDs", `"`+noTree+`{{uuid:create/dsse-p256}}"`, 1), "tree 0": list("entryUUIDs", `"0000000000000000{{uuid:create/dsse-p256}}"`, 1), "absent id": list("entryUUIDs", `"{{treehex}}`+noUUID+`"`, 1), "absent UUID": list("entryUUIDs", absent, 1), "absent index": list("logIndexes", "99999", 1),
		"index max": list("logIndexes", "9223372036854775807", 1), "index beyond int64": list("logIndexes", "9223372036854775808", 1),
		"absent entry": list("entries", edit(hashed, "spec.signature.publicKey.content", get(corpus["hashedrekord-p384"], "spec.signature.publicKey.content")), 1), "entry not in the log": list("entries", corpus["hashedrekord-p224"], 1),
		"two ids": `{"entryUUIDs":[` + id + `,` + uuid + `]}`, "the same id twice": list("entryUUIDs", id, 2), "the same index twice": list("logIndexes", "0", 2), "some absent": `{"entryUUIDs":[` + absent + `,` + id + `]}`,
		"10 indexes": list("logIndexes", "0", 10), "11 indexes": list("logIndexes", "0", 11), "10 ids": list("entryUUIDs", absent, 10), "11 ids": list("entryUUIDs", absent, 11), "10 entries": list("entries", hashed, 10), "11 entries": list("entries", hashed, 11),
		"all keys": `{"entryUUIDs":[` + id + `],"logIndexes":[` + index + `],"entries":[` + dsse + `]}`, "10 of mixed keys": `{"entryUUIDs":[` + strings.Repeat(absent+",", 4) + id + `],"logIndexes":[0,1,2,3,4]}`, "11 of mixed keys": `{"entryUUIDs":[` + strings.Repeat(absent+",", 5) + id + `],"logIndexes":[0,1,2,3,4]}`,
		"no ids": `{"entryUUIDs":[]}`, "no indexes": `{"logIndexes":[]}`, "no entries": `{"entries":[]}`, "ids null": `{"entryUUIDs":null}`, "entries null": `{"entries":null}`, "indexes null": `{"logIndexes":null}`, "no ids beside an index": `{"entryUUIDs":[],"logIndexes":[0]}`, "nothing": `{}`, "unknown key": `{"x":[1]}`, "unknown key beside an index": `{"x":[1],"logIndexes":[0]}`,
		"key in capitals": `{"LogIndexes":[0]}`, "index negative": `{"logIndexes":[-1]}`, "index text": `{"logIndexes":["0"]}`, "index fraction": `{"logIndexes":[0.5]}`, "index null": `{"logIndexes":[null]}`, "index no list": `{"logIndexes":0}`, "id number": `{"entryUUIDs":[7]}`, "id null": `{"entryUUIDs":[null]}`, "id empty": `{"entryUUIDs":[""]}`, "id short": `{"entryUUIDs":["ab"]}`,
		"id no list": `{"entryUUIDs":` + id + `}`, "second id short": `{"entryUUIDs":[` + id + `,"ab"]}`, "entry null": `{"entries":[null]}`, "entry number": `{"entries":[7]}`, "entry empty": `{"entries":[{}]}`, "entry of no kind": `{"entries":[{"kind":"nosuch","apiVersion":"0.0.1","spec":{}}]}`, "entry without spec": `{"entries":[{"kind":"dsse","apiVersion":"0.0.1"}]}`, "entry of no version": `{"entries":[{"kind":"dsse","apiVersion":"9.9.9","spec":{}}]}`,
		"entry with empty spec": `{"entries":[{"kind":"hashedrekord","apiVersion":"0.0.1","spec":{}}]}`, "entry with a bad signature": list("entries", edit(hashed, "spec.data.hash.value", noUUID), 1), "entries no list": `{"entries":` + hashed + `}`, "entry that cannot be inserted": list("entries", edit(corpus["rekord-x509-key"], "spec.data", map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": noUUID}}), 1),
	} {
		out = append(out, postRow("retrieve/"+name, v1Retrieve, body))
	}
	out = append(out, postRow("retrieve/at a trailing slash", v1Retrieve+"/", list("logIndexes", "0", 1)))
	return sorted(out)
}
