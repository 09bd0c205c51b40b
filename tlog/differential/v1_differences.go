package differential

// Parts of answers of ours, as JSON.
const (
	anything  = `.*`
	none      = `` // the field is not there
	plainText = `"text/plain; charset=utf-8"`
	allPaths  = `(/api/v1/log.*|/api/v1/index/retrieve)` // of the API

	notFoundText   = `"404 page not found\\n"`
	notAllowedText = `"Method Not Allowed\\n"`
)

// RekorV1Differences are the ways in which our Rekor v1 answers otherwise than upstream's.
func RekorV1Differences() []Difference {
	return append(append(v1Protocol(), v1BodyDifferences()...), v1EntryDifferences()...)
}

// v1Protocol are those of methods, paths and headers.
func v1Protocol() []Difference {
	return []Difference{
		{".*", map[string]string{"header X-Content-Type-Options": `"nosniff"`}, "`X-Content-Type-Options`", 1580},
		{".*", map[string]string{
			"header Sigbox-Tree-Id": anything, "header Sigbox-Tree-Size": anything, "header Access-Control-Expose-Headers": anything,
		}, "how far a search has looked", 61},
		{`(methods|full log)/HEAD (/api/v1/log.*|info|key|entry.*)`, map[string]string{
			"status": `200|404|422`, "header Allow": none, "header Content-Type": `("application/x-pem-file")?`,
			"header Cache-Control": anything, "header Expires": anything, "header Pragma": anything, "header X-Accel-Expires": anything,
		}, "HEAD", 10},
		{`methods/FOO ` + allPaths, map[string]string{
			"code": none, "message": none, "body": notAllowedText, "header Allow": `"DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT,TRACE"`, "header Content-Type": plainText, "header Vary": none,
		}, "a method that HTTP does not have", 7},
		{`methods/[A-Z]+ /ping|paths/POST /ping`, map[string]string{
			"status": `405`, "code": `(405)?`, "message": `("method [A-Z]+ is not allowed, but \[GET\] are")?`, "header Allow": anything, "body": notAllowedText, "header Content-Type": plainText, "header Vary": none,
		}, "`/ping`", 8},
		{`paths/GET (//ping|/PING)`, map[string]string{
			"status": `200|404`, "code": none, "message": none, "body": `"\."|` + notFoundText, "header Content-Type": `"text/plain"|` + plainText, "header Vary": none,
		}, "`/ping`", 2},
		{`methods/[A-Z]+ (/nosuch|/api/v1|/api/v1/(nosuch|version|timestamp.*))|origin/not found|paths/(GET|POST) (/ping/|/api/v1/log;x=1|/API/V1/LOG|/api/v1/Log|/api/v1/index/?|/api/v1/log/entries/[a-f0-9]+/more)`, map[string]string{
			"code": none, "message": none, "body": notFoundText, "header Content-Type": plainText, "header Vary": none, "header Access-Control-Allow-Origin": none,
		}, "a path that is nobody's", 62},
		{`methods/[A-Z]+ /swagger.json`, map[string]string{"status": `404`, "body": notFoundText, "header Content-Type": plainText, "header Vary": none}, "`/swagger.json`", 9},
		{`paths/GET /api/v1/(\./log|x/\.\./log|log/\.\.|log%2FpublicKey|log%00)`, map[string]string{
			"status": `404`, "code": `404`, "message": `"path Not Found"`, "body": none, "header Vary": none,
			"header Cache-Control": none, "header Expires": none, "header Pragma": none, "header X-Accel-Expires": none,
		}, "dot segments, escaped slashes, backslashes, NUL, paths that are not UTF-8", 5},
		{`paths/GET /api/v1/%6Cog`, map[string]string{
			"status": `200`, "code": none, "message": none, "body": `\{.*\}`,
			"header Cache-Control": anything, "header Expires": anything, "header Pragma": anything, "header X-Accel-Expires": anything,
		}, "a letter of the path escaped", 1},
		{`duplicate/(with a query|at a double slash|at a trailing slash)`, map[string]string{"header Location": `"/api/v1/log/entries/\{\{id:create/hashedrekord-p256\}\}"`}, "`Location`", 3},
		{`key/(another tree|beyond int64|zero|twice.*)`, map[string]string{"header Content-Type": `"application/json"`}, "the type of an error about a key", 5},
		{`(by index|key|proof)/.*twice.*`, map[string]string{
			"status": `422`, "code": `601|605`, "message": `"\w+ in query must be given once"`, "body": none,
		}, "a parameter in the query given twice", 4},
		{`search/key x509 of hashedrekord-rsa2048`, map[string]string{"body": `\["\{\{id:broken/hash value in capitals\}\}","\{\{id:create/dsse-rsa2048\}\}","\{\{id:create/hashedrekord-rsa2048\}\}"\]`},
			"a search for the key that signed an envelope", 1},
		{`by id/tree 0`, map[string]string{"status": `400`, "code": `400`, "message": `"validation error: 0000000000000000 is not a valid TreeID"`}, "an entry id of the tree 0", 1},
	}
}

// v1BodyDifferences are those of what is posted, as JSON.
func v1BodyDifferences() []Difference {
	return []Difference{
		{`body/\w+ field twice`, map[string]string{"status": `400`, "code": `400`, "message": `"duplicate field in JSON object"`, "body": none},
			"JSON with a key twice, letter case aside (Unicode folding, as `encoding/json` matches)", 3},
		{`body/\w+ (NUL|data after it)`, map[string]string{"status": `400`, "code": `400`, "message": `"trailing data after the JSON body"`, "body": none}, "data after the value", 6},
		{`body/\w+ (byte order mark|no UTF-8|half a pair)`, map[string]string{"status": `400`, "code": `400`, "message": `"body is not valid UTF-8 JSON"`, "body": none},
			"a byte order mark, bytes that are not UTF-8, half a surrogate pair", 9},
		{`body/\w+ deep`, map[string]string{"status": `400`, "code": `400`, "message": `"JSON nesting is deeper than 64"`, "body": none}, "nesting beyond 64", 3},
		{`body/create (broken off|comma at the end|list|list of an object|number|single quotes|text|true|word)|member/hashedrekord-p256 (apiVersion|kind) \w+`, map[string]string{
			"status": `400|422`, "code": `400|601`, "message": `"body is not valid JSON"|"(proposedEntry|kind|apiVersion) in body must be of type (object|string)"`,
		}, "malformed JSON, a body that is no object", 15},
		{`body/(search|retrieve) (broken off|comma at the end|single quotes|word)`, map[string]string{"message": `"body is not valid JSON"`}, "the text that says what in a body is wrong", 8},
		{`(body/)?(search|retrieve)[/ ].*`, map[string]string{"message": `"parsing (entry|query) body from \\"\\" failed, because \w+( in body)?(\.content)? (must be|is not) .*"`}, "the text that says what in a body is wrong", 25},
		{`encoding gzip/\w+`, map[string]string{"status": `415`, "code": `415`, "message": `"content encoding not supported: send the body as it is"`}, "`Content-Encoding` other than `identity`", 3},
		{`type "application/json; charset=utf-16"/\w+`, map[string]string{
			"status": `415`, "code": `415`, "message": `"unsupported media type .*"`, "body": none,
		}, "a charset other than UTF-8", 3},
		{`type "(application/json, application/json|garbage)"/\w+`, map[string]string{"message": `"parsing Content-Type header from \\".*\\" failed"`}, "the text that says what in a body is wrong", 6},
		{`(body/retrieve |retrieve/|paths/POST /api/v1/log/entries/+retrieve/*)(null|object|nothing|unknown key|\w+ null|no entries)?`, map[string]string{
			"status": `422`, "code": `602|612`, "message": `"(entry in body is required: one of entryUUIDs, logIndexes, entries|entries in body should have at least 1 items|logIndexes.0 in body is required)"`, "body": none,
		}, "a retrieval or a search for nothing (`{}`)", 12},
		{`(body/search |search/|paths/POST /api/v1/index/+retrieve/*)(null|object|nothing|unknown key|operator only|\w+ (null|empty))?`, map[string]string{
			"status": `422`, "code": `602`, "message": `"query in body is required: one of email, hash, publicKey, subject"`, "body": none,
		}, "a retrieval or a search for nothing (`{}`)", 14},
	}
}

// v1EntryDifferences are those of proposed entries.
func v1EntryDifferences() []Difference {
	return []Difference{
		{`(member|broken)/.*`, map[string]string{"message": `"error processing entry: .*"`}, "the text that says what in an entry is wrong", 753},
		{`retrieve/.*`, map[string]string{"message": `"(verifying signature: .*|rekord: .*|dsse implementation .*|missing .*)"`}, "the text that says what in an entry is wrong", 5},
		{`member/(intoto-002 spec.content.hash|tuf spec.(metadata|root).content) .*`, map[string]string{"status": `400`, "code": `400`}, "an entry that upstream cannot canonicalise", 9},
		{`broken/url in \w+|search/key and URL|search/key by URL`, map[string]string{
			"status": `400`, "code": `400`, "message": `".*fetching by URL is not supported"`, "header Location": none, "body": none,
		}, "a `url` field in any object of a spec", 5},
		{`broken/dsse payload twice`, map[string]string{
			"status": `400`, "code": `400`, "message": `".*duplicate field in JSON object"`, "body": none, "header Location": none, "header Etag": none,
		}, "dsse, intoto 0.0.1: a key twice in the envelope", 1},
	}
}
