package differential

const (
	refusedKind = `"invalid hashedrekord request: .*"`
	answered    = `\{"canonicalizedBody":.*\}`
)

// RekorV2Differences are the ways in which our Rekor v2 answers otherwise than upstream's.
func RekorV2Differences() []Difference {
	return append(v2Protocol(), v2EntryDifferences()...)
}

// v2Protocol are those of methods, paths, headers and JSON.
func v2Protocol() []Difference {
	return []Difference{
		{`(create|methods|paths|accept|header|type|body|member|label|broken|duplicate).*`, map[string]string{"header X-Content-Type-Options": `"nosniff"`}, "`X-Content-Type-Options`", 420},
		{`methods/(GET|HEAD|PUT|PATCH|DELETE|OPTIONS|TRACE|FOO) /api/v2/log/entries`, map[string]string{
			"status": `405`, "header Allow": `"POST"|"DELETE,GET,HEAD,OPTIONS,PATCH,POST,PUT"`, "code": none, "message": none, "details": none, "body": notAllowedText, "header Content-Type": plainText,
		}, "a wrong method for an entry", 8},
		{`methods/[A-Z]+ (/api/v2|/api/v2/log|/api/v2/nosuch|/nosuch)|paths/POST (/api/v2/log/entries//?|/API/V2/log/entries|/api/v2/log/entries:verb)`, map[string]string{
			"code": none, "message": none, "details": none, "body": notFoundText, "header Content-Type": plainText,
		}, "a path that is nobody's", 40},
		{`paths/POST (//api/v2/log/entries|/api/v2//log/entries)|duplicate/at a double slash`, map[string]string{
			"status": `400|201`, "code": `(3)?`, "message": `("invalid type, must be hashedrekord")?`, "details": none, "body": answered,
		}, "double slashes in a path", 3},
		{`paths/POST /api/v2/(log/\./entries|x/\.\./log/entries|log%2Fentries)`, map[string]string{
			"status": `404`, "code": `404`, "message": `"path Not Found"`, "details": none,
		}, "dot segments, escaped slashes, backslashes, NUL, paths that are not UTF-8", 3},
		{`header/Grpc-Timeout`, map[string]string{"status": `400`, "code": `3`, "message": `"invalid type, must be hashedrekord"`}, "`Grpc-Timeout` over HTTP", 1},
		{`header/Content-Encoding`, map[string]string{"status": `415`, "message": `"content encoding not supported: send the body as it is"`}, "`Content-Encoding` other than `identity`", 1},
		{`type "(-|application/(grpc|octet-stream|x-protobuf|x-www-form-urlencoded)|garbage|text/json|text/plain)"`, map[string]string{
			"status": `415`, "message": `"content type must be application/json"`,
		}, "a body that is not declared as JSON", 8},
		{`body/(broken off|word)`, map[string]string{"message": `"body is not valid JSON"`}, "the text that says what in a body is wrong", 2},
		{`body/data after it`, map[string]string{"status": `400`, "code": `3`, "message": `"trailing data after the JSON body"`, "header X-Log-Index": none}, "data after the value", 1},
		{`body/(byte order mark|no UTF-8)`, map[string]string{"message": `"body is not valid UTF-8 JSON"`}, "a byte order mark, bytes that are not UTF-8, half a surrogate pair", 2},
		{`body/deep`, map[string]string{"message": `"JSON nesting is deeper than 64"`}, "nesting beyond 64", 1},
		{`body/field twice`, map[string]string{"message": `"duplicate field in JSON object"`}, "JSON with a key twice, letter case aside (Unicode folding, as `encoding/json` matches)", 1},
		{`grpc/(tile|bundle|checkpoint|tile that is none)`, map[string]string{
			"status": `0|5`, "code": `(5)?`, "message": `("no such tile")?`, "body": `\{"contentType":.*\}`,
		}, "tiles, bundles and the checkpoint over gRPC", 4},
	}
}

// v2EntryDifferences are those of entries.
func v2EntryDifferences() []Difference {
	return []Difference{
		{`(label|member|broken|body|grpc)/.*`, map[string]string{"message": refusedKind}, "the text that says what in a request is wrong", 232},
		{`label/.*|grpc/label of another`, map[string]string{
			"status": `400|3`, "code": `3`, "details": `\[\]`, "body": none, "header x-log-index": none,
		}, "`keyDetails` that does not fit the key", 32},
		{`(label/v2-ed25519ph as PKIX_ED25519|grpc/Ed25519 pure)`, map[string]string{"status": `400|3`, "code": `3`}, "pure Ed25519 on an Ed25519 key", 2},
		{`(duplicate/.*|body/names of proto|broken/label as a number|grpc/duplicate .*)`, map[string]string{
			"status": `201|0`, "code": none, "message": none, "details": none, "body": answered, "header X-Log-Index": none, "header x-log-index": none,
		}, "a duplicate", 22},
	}
}
