package differential

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/tlog/differential"
)

// Config returns the config.yaml that both servers read: an issuer of each type, all at one address.
func Config(issuer string) string {
	return strings.ReplaceAll(`oidc-issuers:
  ISSUER/email: {issuer-url: ISSUER/email, client-id: sigstore, type: email}
  ISSUER/dex: {issuer-url: ISSUER/dex, client-id: sigstore, type: email, issuer-claim: $.federated_claims.connector_id}
  ISSUER/github: {issuer-url: ISSUER/github, client-id: sigstore, type: github-workflow}
  ISSUER/gitlab: {issuer-url: ISSUER/gitlab, client-id: sigstore, type: gitlab-pipeline}
  ISSUER/buildkite: {issuer-url: ISSUER/buildkite, client-id: sigstore, type: buildkite-job}
  ISSUER/codefresh: {issuer-url: ISSUER/codefresh, client-id: sigstore, type: codefresh-workflow}
  ISSUER/k8s: {issuer-url: ISSUER/k8s, client-id: sigstore, type: kubernetes}
  ISSUER/chainguard: {issuer-url: ISSUER/chainguard, client-id: sigstore, type: chainguard-identity}
  ISSUER/spiffe: {issuer-url: ISSUER/spiffe, client-id: sigstore, type: spiffe, spiffe-trust-domain: example.com}
  ISSUER/uri: {issuer-url: ISSUER/uri, client-id: sigstore, type: uri, subject-domain: "http://127.0.0.1"}
  ISSUER/username: {issuer-url: ISSUER/username, client-id: sigstore, type: username, subject-domain: 127.0.0.1}
  ISSUER/ci: {issuer-url: ISSUER/ci, client-id: sigstore, type: ci-provider, ci-provider: ci}
meta-issuers:
  ISSUER/people-*: {client-id: sigstore, type: email}
  ISSUER/clusters-*-eu: {client-id: sigstore, type: kubernetes}
ci-issuer-metadata:
  ci:
    default-template-values: {url: "https://ci.example.com"}
    extension-templates: {build-trigger: event, source-repository-uri: "{{ .url }}/{{ .project }}", run-invocation-uri: "{{ .url }}/{{ .project }}/runs/{{ .run }}"}
    subject-alternative-name-template: "{{ .url }}/{{ .project }}/{{ .file }}"
`, "ISSUER", issuer)
}

type claims = map[string]any

// Tokens are the claims of all tokens, by name, for issuers at an address. "stranger" has them signed by a
// key that no issuer has.
func Tokens(issuer string, now time.Time) map[string]claims {
	of := func(path string, more ...claims) claims {
		c := claims{"iss": issuer + "/" + path, "sub": "subject-1", "aud": "sigstore", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}
		for _, m := range more {
			maps.Copy(c, m)
		}
		maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
		return c
	}
	person := claims{"email": "dev@example.com", "email_verified": true}
	email := func(more claims) claims { return of("email", person, more) }
	github := claims{"sub": "repo:acme/app:ref:refs/heads/main", "job_workflow_ref": "acme/app/.github/workflows/r.yml@refs/heads/main", "workflow_ref": "acme/app/.github/workflows/r.yml@refs/heads/main",
		"sha": "1234", "event_name": "push", "repository": "acme/app", "workflow": "release", "ref": "refs/heads/main", "job_workflow_sha": "5678", "runner_environment": "github-hosted",
		"repository_id": "12345", "repository_owner": "acme", "repository_owner_id": "678", "repository_visibility": "private", "workflow_sha": "9abc", "run_id": "42", "run_attempt": "1"}
	gitlab := claims{"sub": "project_path:acme/app:ref_type:branch:ref:main", "project_path": "acme/app", "project_id": "7", "pipeline_source": "push", "pipeline_id": "8", "job_id": "9",
		"ci_config_ref_uri": "gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main", "ci_config_sha": "aaaa", "ref": "main", "ref_type": "branch", "sha": "bbbb", "runner_id": 1, "runner_environment": "gitlab-hosted",
		"namespace_path": "acme", "namespace_id": "6", "project_visibility": "private", "user_login": "dev", "user_email": "dev@example.com"}
	k8s := claims{"sub": "system:serviceaccount:build:signer", "kubernetes.io": claims{"namespace": "build", "serviceaccount": claims{"name": "signer", "uid": "u"}, "pod": claims{"name": "p", "uid": "v"}}}
	ci := claims{"project": "acme/app", "file": "build.yml@main", "event": "push", "run": "17"}
	out := map[string]claims{
		"email": email(nil), "email: verified as text": email(claims{"email_verified": "true"}), "email: capitals": email(claims{"email": "Dev@Example.com"}),
		"email: unverified": email(claims{"email_verified": false}), "email: not said to be verified": email(claims{"email_verified": nil}), "email: none": email(claims{"email": nil}),
		"email: not one": email(claims{"email": "dev"}), "email: display name": email(claims{"email": "Dev <dev@example.com>"}),
		"dex": of("dex", person, claims{"federated_claims": claims{"connector_id": "https://github.com/login/oauth", "user_id": "1"}}), "dex: no connector": of("dex", person),
		"github": of("github", github), "gitlab": of("gitlab", gitlab), "k8s": of("k8s", k8s), "chainguard": of("chainguard", claims{"sub": "chainguard:1234"}), "chainguard: person": of("chainguard", person),
		"buildkite": of("buildkite", claims{"sub": "organization:acme:pipeline:app", "organization_slug": "acme", "pipeline_slug": "app", "build_number": 12, "build_commit": "cccc", "job_id": "j", "build_branch": "main", "step_key": "s", "agent_id": "a"}),
		"codefresh": of("codefresh", claims{"sub": "account:a:pipeline:p", "account_id": "a", "account_name": "acme", "pipeline_id": "p", "pipeline_name": "app/build", "workflow_id": "w", "initiator": "dev", "runner_environment": "hybrid",
			"scm_repo_url": "https://github.com/acme/app", "scm_ref": "main", "platform_url": "https://g.codefresh.io"}),
		"spiffe": of("spiffe", claims{"sub": "spiffe://example.com/signer"}), "spiffe: another domain": of("spiffe", claims{"sub": "spiffe://example.org/signer"}),
		"ci": of("ci", ci), "ci: claim missing": of("ci", ci, claims{"file": nil}), "ci: extension's claim missing": of("ci", ci, claims{"event": nil}),
		"k8s: no claim": of("k8s", claims{"sub": "x"}), "gitlab: no claim": of("gitlab"), "gitlab: runner_id as text": of("gitlab", gitlab, claims{"runner_id": "1"}),
		"another audience": email(claims{"aud": "other"}), "no audience": email(claims{"aud": nil}), "expired": email(claims{"exp": now.Add(-time.Minute).Unix()}),
		"not yet valid": email(claims{"nbf": now.Add(time.Hour).Unix()}), "no expiry": email(claims{"exp": nil}), "no subject": email(claims{"sub": nil}),
		"unknown issuer": email(claims{"iss": issuer + "/unknown"}), "no issuer": email(claims{"iss": nil}), "issuer with a slash": email(claims{"iss": issuer + "/email/"}),
		"signed by a stranger": email(claims{"stranger": true}), "two audiences": email(claims{"aud": []string{"sigstore", "other"}}), "a list of one audience": email(claims{"aud": []string{"sigstore"}}),
	}
	maps.Copy(out, named(of, person, k8s))
	for name := range github {
		if name != "sub" {
			out["github: no "+name] = of("github", github, claims{name: nil})
			out["github: "+name+" a number"] = of("github", github, claims{name: 7})
		}
	}
	return out
}

// named are tokens of people and machines with names of their issuer's own, and those of issuers that patterns
// name.
func named(of func(string, ...claims) claims, person, k8s claims) map[string]claims {
	sub := func(issuer, text string) claims { return of(issuer, claims{"sub": text}) }
	return map[string]claims{
		"uri": sub("uri", "http://127.0.0.1/signer"), "uri: a port and a query": sub("uri", "http://127.0.0.1:8080/signer?key=1#part"), "uri: another scheme": sub("uri", "https://127.0.0.1/signer"),
		"uri: another host": sub("uri", "http://127.0.0.2/signer"), "uri: a host below it": sub("uri", "http://a.127.0.0.1/signer"), "uri: none": sub("uri", "signer"), "uri: an address": sub("uri", "dev@example.com"),
		"uri: no such escape": sub("uri", "http://127.0.0.1/%zz"), "uri: user": sub("uri", "http://127.0.0.1@example.com/signer"), "uri: a space": sub("uri", "http://127.0.0.1/a signer"),
		"username": sub("username", "signer"), "username: an address": sub("username", "dev@example.com"), "username: an exclamation mark": sub("username", "sign!er"),
		"username: not ASCII": sub("username", "sîgner"), "username: a space": sub("username", "a signer"), "username: with its domain": sub("username", "signer@127.0.0.1"),
		"people": of("people-one", person), "people: signs and digits": of("people-a_B-9", person), "people: nothing for the star": of("people-", person), "people: a dot": of("people-a.b", person),
		"people: a slash": of("people-a/b", person), "people: the star": of("people-*", person), "people: unverified": of("people-one", person, claims{"email_verified": false}), "people: more in front": of("x/people-one", person),
		"clusters": of("clusters-1-eu", k8s), "clusters: no end": of("clusters-1", k8s), "clusters: another end": of("clusters-1-us", k8s),
	}
}

// challenge is what possession of a key is proven over, for a token.
func challenge(token string) string {
	kind, _, _ := strings.Cut(token, ":")
	switch kind {
	case "email", "dex", "people":
		return "dev@example.com"
	}
	if sub, ok := Tokens("", time.Time{})[token]["sub"].(string); ok && kind != "" && strings.Contains("github gitlab k8s buildkite codefresh spiffe chainguard ci uri username clusters", kind) {
		return sub
	}
	return "dev@example.com"
}

// Requests are all requests, in the order in which they are sent.
func Requests() []differential.Request {
	v1, v2 := "/api/v1/signingCert", "/api/v2/signingCert"
	post := func(name, target, body string, header ...string) differential.Request {
		r := differential.Request{Name: name, Method: "POST", Target: target, Body: body}
		for i := 0; i+1 < len(header); i += 2 {
			if r.Header == nil {
				r.Header = map[string]string{}
			}
			r.Header[header[i]] = header[i+1]
		}
		return r
	}
	key := func(token, key, over string) string {
		return `{"credentials":{"oidcIdentityToken":"{{token:` + token + `}}"},"publicKeyRequest":{"publicKey":{"algorithm":"ECDSA","content":"{{key:` + key + `}}"},"proofOfPossession":"{{proof:` + key + `:` + over + `}}"}}`
	}
	var list []differential.Request
	for _, name := range slices.Sorted(maps.Keys(Tokens("", time.Time{}))) {
		list = append(list, post("token/"+name, v2, key(name, "p256", challenge(name))))
	}
	for _, name := range []string{"p224", "p256", "p384", "p521", "rsa", "ed25519"} {
		list = append(list,
			post("key/"+name, v2, key("email", name, "dev@example.com")),
			post("key/"+name+" in a CSR", v2, `{"credentials":{"oidcIdentityToken":"{{token:email}}"},"certificateSigningRequest":"{{csr:`+name+`}}"}`),
			post("key/"+name+", v1", v1, `{"publicKey":{"content":"{{der:`+name+`}}"},"signedEmailAddress":"{{proof:`+name+`:dev@example.com}}"}`, "Authorization", "Bearer {{token:email}}"),
			post("key/"+name+" in a CSR, v1", v1, `{"certificateSigningRequest":"{{csr:`+name+`}}"}`, "Authorization", "Bearer {{token:email}}"))
	}
	good := key("email", "p256", "dev@example.com")
	bodyOnly := strings.Replace(good, `"credentials":{"oidcIdentityToken":"{{token:email}}"},`, "", 1)
	with := func(old, repl string) string { return strings.Replace(good, old, repl, 1) }
	list = append(list,
		post("proof/over the subject", v2, key("email", "p256", "subject-1")), post("proof/of another key", v2, with("{{proof:p256:", "{{proof:p384:")),
		post("proof/none", v2, with("{{proof:p256:dev@example.com}}", "")), post("proof/no base64", v2, with("{{proof:p256:dev@example.com}}", "!")),
		post("request/no key", v2, `{"credentials":{"oidcIdentityToken":"{{token:email}}"}}`), post("request/nothing", v2, `{}`), post("request/no body", v2, ""),
		post("request/no JSON", v2, "x"), post("request/a list", v2, "[]"), post("request/a number for the key", v2, with(`"{{key:p256}}"`, "7")),
		post("request/unknown field", v2, with(`{"credentials"`, `{"unknown":1,"credentials"`)), post("request/key that is none", v2, with("{{key:p256}}", "none")),
		post("request/algorithm as a number", v2, with(`"ECDSA"`, "2")), post("request/algorithm that is none", v2, with(`"ECDSA"`, `"NONE"`)),
		post("request/names of the .proto file", v2, strings.NewReplacer("oidcIdentityToken", "oidc_identity_token", "publicKeyRequest", "public_key_request", "publicKey", "public_key", "proofOfPossession", "proof_of_possession").Replace(good)),
		post("request/CSR that is none", v2, `{"credentials":{"oidcIdentityToken":"{{token:email}}"},"certificateSigningRequest":"bm9uZQ=="}`),
		post("request/token in the header", v2, bodyOnly, "Authorization", "Bearer {{token:email}}"), post("request/token in no place", v2, bodyOnly),
		post("request/Basic", v2, bodyOnly, "Authorization", "Basic Zm9vOmJhcg=="), post("request/token that is none", v2, with("{{token:email}}", "none")),
		post("request/three dots", v2, with("{{token:email}}", "...")), post("request/asks for PEM", v2, good, "Accept", "application/pem-certificate-chain"),
		post("v1/nothing", v1, `{}`, "Authorization", "Bearer {{token:email}}"), post("v1/no token", v1, `{"certificateSigningRequest":"{{csr:p256}}"}`),
		post("v1/token in the body", v1, `{"credentials":{"oidcIdentityToken":"{{token:email}}"},"certificateSigningRequest":"{{csr:p256}}"}`),
		post("v1/no JSON", v1, "x", "Authorization", "Bearer {{token:email}}"), post("v1/github", v1, `{"certificateSigningRequest":"{{csr:p256}}"}`, "Authorization", "Bearer {{token:github}}"))
	for _, path := range []string{"/api/v2/trustBundle", "/api/v2/configuration", "/api/v1/rootCert", v1, v2, "/api/v2/nothing"} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			list = append(list, differential.Request{Name: "methods/" + method + " " + path, Method: method, Target: path})
		}
	}
	return append(list, rpcRequests(list)...)
}
