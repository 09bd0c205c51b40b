package differential

import "github.com/sigbox/sigbox/tlog/differential"

// Differences are the ways in which our answers may differ from upstream's, each argued in
// docs/design/0005 or 0016.
func Differences() []differential.Difference {
	const refusal = `"There was an error processing the identity token"`
	return []differential.Difference{
		{Requests: `methods/(PUT|DELETE) /api/v(1/rootCert|2/(configuration|trustBundle))`, Row: "a method that a path of Fulcio does not have", Differ: 6, Ours: map[string]string{
			"status": "405", "body": `"Method Not Allowed\\n"`, "code": "", "details": "", "message": "", "header Allow": `"GET, HEAD, OPTIONS"`, "header Content-Type": `"text/plain; charset=utf-8"`,
		}},
		{Requests: `methods/(GET|PUT|DELETE) /api/v./signingCert`, Row: "a method that a path of Fulcio does not have", Differ: 6, Ours: map[string]string{
			"status": "405", "body": `"Method Not Allowed\\n"`, "code": "", "details": "", "message": "", "header Allow": `"OPTIONS, POST"`, "header Content-Type": `"text/plain; charset=utf-8"`,
		}},
		{Requests: `methods/(GET|PUT|DELETE) /api/v2/nothing`, Row: "a path that is nobody's", Differ: 3, Ours: map[string]string{
			"body": `"404 page not found\\n"`, "code": "", "details": "", "message": "", "header Content-Type": `"text/plain; charset=utf-8"`,
		}},
		{Requests: `.*`, Row: "ten minutes", Differ: 76, Ours: map[string]string{"header (validity in seconds)": `"599"`}},
		{Requests: `token/two audiences`, Row: "more than one audience", Differ: 1, Ours: refused(refusal)},
		{Requests: `token/uri: a port and a query`, Row: "a port, user information or a scheme in capitals in a URI subject", Differ: 1, Ours: refused(refusal)},
		{Requests: `token/uri: a space`, Row: "a space in a URI subject", Differ: 1, Ours: refused(refusal)},
		{Requests: `token/username: with its domain`, Row: "an `@` in a user name", Differ: 1, Ours: refused(refusal)},
		{Requests: `grpc/token/two audiences`, Row: "more than one audience", Differ: 1, Ours: refusedRPC(refusal)},
		{Requests: `grpc/token/uri: a port and a query`, Row: "a port, user information or a scheme in capitals in a URI subject", Differ: 1, Ours: refusedRPC(refusal)},
		{Requests: `grpc/token/uri: a space`, Row: "a space in a URI subject", Differ: 1, Ours: refusedRPC(refusal)},
		{Requests: `grpc/token/username: with its domain`, Row: "an `@` in a user name", Differ: 1, Ours: refusedRPC(refusal)},
		{Requests: `grpc/token/no subject`, Row: "a token without a subject", Differ: 1, Ours: refusedRPC(refusal)},
		{Requests: `grpc/token/k8s: no claim`, Row: "a Kubernetes token without its claim", Differ: 1, Ours: refusedRPC(refusal)},
		{Requests: `token/no subject`, Row: "a token without a subject", Differ: 1, Ours: refused(refusal)},
		{Requests: `token/k8s: no claim`, Row: "a Kubernetes token without its claim", Differ: 1, Ours: refused(refusal)},
		{Requests: `(grpc/)?token/ci: .*`, Row: "the text that says which claim is missing", Differ: 4, Ours: map[string]string{"message": refusal}},
		{Requests: `request/no body`, Row: "a body that is not declared as JSON", Differ: 1, Ours: map[string]string{"status": "415", "message": `"content type must be application/json"`}},
		{Requests: `(proof/no base64|request/(no JSON|a list|a number for the key)|v1/no JSON)`, Row: "the text that says what in a body is wrong", Differ: 5, Ours: map[string]string{
			"message": `"(body is not valid JSON|body has the wrong type: want an object|field .* (is not standard base64|has the wrong type: want string))"`,
		}},
		{Requests: `.*`, Row: "who may read from a browser", Differ: 165, Ours: map[string]string{"header Access-Control-Allow-Origin": `"\*"`, "header Vary": ""}},
		{Requests: `.*`, Row: "`Cache-Control` of Fulcio", Differ: 150, Ours: map[string]string{"header Cache-Control": `"no-store"`}},
		{Requests: `.*`, Row: "`Sigbox-Error`", Differ: 101, Ours: map[string]string{"header Sigbox-Error": `"[a-z_]+"`}},
		{Requests: `grpc/.*`, Row: "`Sigbox-Error`", Differ: 89, Ours: map[string]string{"header trailer sigbox-error": `"[a-z_]+"`}},
		{Requests: `.*`, Row: "`X-Content-Type-Options`", Differ: 165, Ours: map[string]string{"header X-Content-Type-Options": `"nosniff"`}},
	}
}

// refused is what a request differs in that upstream grants.
func refused(message string) map[string]string {
	return map[string]string{"status": "400", "code": "3", "details": `\[\]`, "message": message, "body": "null|", "header (validity in seconds)": ""}
}

// refusedRPC is the same over gRPC.
func refusedRPC(message string) map[string]string {
	return map[string]string{"status": "3", "code": "3", "details": "0", "message": message, "body": "null|", "header (validity in seconds)": ""}
}
