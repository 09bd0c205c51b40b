package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/oidc/presets"
)

// base is a configuration with nothing wrong and every section, for edits.
const base = `public_url: https://sigstore.example.com
listen: 127.0.0.1:8080
tls: {certificate: cert.pem, key: key.pem}
operations: {listen: 127.0.0.1:9090}
logging: {level: info, format: json}
ca: {database: "host=ca", key: ca.pem, chain: chain.pem, issuers: issuers.yaml, issuer_keys: [{issuer: "https://gitlab.example.com", keys: jwks.json}], tsa: {key: tsa.pem, chain: tsachain.pem}}
tuf: {database: "host=tuf", snapshot_key: snapshot.pem, timestamp_key: timestamp.pem}
instance: 00112233445566778899aabbccddeeff
issuer: {key: issuer.pem}
tlog:
  database:
    url: postgres://sigbox@db/sigbox
    password: ${env:PASSWORD}
    lock_timeout: 5s
  guard: {file: guard}
  poll: 200ms
  limits: {body: 4MiB, batch: 100}
  rekor_v1:
    duplicates: return
    shards:
      - name: rekor-v1
        tree_id: 7
        key: v1.pem
  rekor_v2: {key: v2.pem}
  ct: {key: ct.pem, roots: roots.pem}
`

// together is what ties the services of base to each other, for edits.
var together = strings.NewReplacer(
	"issuers: issuers.yaml,", `issuers: issuers.yaml, peers: {listen: "127.0.0.1:9441", certificate: peer.crt, key: peer.key, authorities: peers.pem},
  ct: {address: ["tlog1:9443", "tlog2:9443"], log: ct, key: ct.pub}, statements: statements/ca,`,
	"tuf: {", `trusted_proxies: [10.0.0.0/8, 192.0.2.7, "2001:db8::/32"]
tuf: {sources: ["ca:9443", "tlog:9443", /var/lib/statements], mirror: mirror,
  peers: {certificate: peer.crt, key: peer.key, authorities: peers.pem}, `,
	"  poll: 200ms\n", `  poll: 200ms
  peers: {listen: "127.0.0.1:9443", certificate: peer.crt, key: peer.key, authorities: peers.pem}
  statements: statements/tlog
`).Replace(base)

// mistake is what a person does to a configuration: a text of base replaced, or a whole file.
type mistake struct{ old, new, in string }

func file(text string) mistake       { return mistake{"", text, base} }
func change(old, new string) mistake { return mistake{old, new, base} }
func value(key, new string) mistake  { return mistake{"\x00" + key, new, base} }

// among is a change of what ties the services together.
func among(old, new string) mistake { return mistake{old, new, together} }

// writing is a change of who may write.
func writing(section string) mistake {
	return change("duplicates: return", "duplicates: return\n    writers: "+section)
}

// v2Shards is a list of shards of Rekor v2.
func v2Shards(list string) mistake {
	return change("key: v2.pem}", "key: v2.pem, shards: ["+list+"]}")
}

// nextCTs is a list of CT logs that came after the first one.
func nextCTs(list string) mistake {
	return change("roots: roots.pem}", "roots: roots.pem, next: ["+list+"]}")
}

func quotas(section string) mistake { return change("  poll: 200ms", "  quotas: "+section) }

// then makes another change before this one, which is the one that is shown.
func (m mistake) then(old, new string) mistake {
	m.in = mistake{old, new, ""}.on(m.in)
	return m
}

func (m mistake) apply() (out string) { return m.on(m.in) }

func (m mistake) on(text string) string {
	key, isKey := strings.CutPrefix(m.old, "\x00")
	switch {
	case m.old == "":
		return m.new
	case isKey:
		// The value of a key that base has on a line of its own, or in a flow section.
		re := regexp.MustCompile(`(?m)(^|[ {])(` + regexp.QuoteMeta(key) + `: )("[^"]*"|\$\{[^}]*\}|[^,}{\n]+)`)
		if !re.MatchString(text) {
			panic("base has no key " + key)
		}
		done := false
		return re.ReplaceAllStringFunc(text, func(s string) string {
			if done {
				return s
			}
			done = true
			return re.ReplaceAllString(s, "${1}${2}"+strings.ReplaceAll(m.new, "$", "$$"))
		})
	case !strings.Contains(text, m.old):
		panic("base has no " + m.old)
	}
	return strings.Replace(text, m.old, m.new, 1)
}

// mistakes are what people do, by what they do it to. testdata/problems.txt has what they are told.
var mistakes = []struct {
	about string
	list  []mistake
}{
	{"the file", []mistake{
		file(""), file("# nothing yet\n"), file("- a\n- b\n"), file("hello\n"), file("public_url: [\n"), file("tlog:\n\tpoll: 1s\n"),
		file("a: b: c\n"), file("\xff\xfe\n"), file("listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2\n"), file("{}\n"),
		file("public_url: https://sigstore.example.com\n"),
	}},
	{"keys", []mistake{
		change("listen: 127.0.0.1:8080", "Listen: 127.0.0.1:8080"), change("listen: 127.0.0.1:8080", "public-url: x"),
		change("  poll:", "  pol:"), change("  poll:", "  poll_interval:"), change("listen: 127.0.0.1:8080", "poll: 1s"),
		change("listen: 127.0.0.1:8080", "database: host=x"), change("listen: 127.0.0.1:8080", "rekor: {}"),
		change("listen: 127.0.0.1:8080", "listen: 127.0.0.1:8080\nlisten: 127.0.0.1:8081"),
		change("        tree_id: 7", "        treeid: 7"), change("        tree_id: 7", "        tree_id: 7\n        tree_id: 8"),
		change("rekor_v2: {key: v2.pem}", "rekor_v2: {key: v2.pem, origin: x}"), change("listen: 127.0.0.1:8080", "<<: {}"),
		change("listen: 127.0.0.1:8080", "1: 2"), change("listen: 127.0.0.1:8080", "? [a]\n: b"), change("listen: 127.0.0.1:8080", "\"\": x"),
	}},
	{"anchors and tags", []mistake{
		change("rekor_v2: {key: v2.pem}", "rekor_v2: &x {key: v2.pem}"), change("rekor_v2: {key: v2.pem}", "rekor_v2: {key: &k v2.pem}"),
		change("ct: {key: ct.pem", "ct: {key: !secret ct.pem"),
	}},
	{"what is missing", []mistake{
		change("public_url: https://sigstore.example.com\n", ""), change("  database:\n    url: postgres://sigbox@db/sigbox\n    password: ${env:PASSWORD}\n    lock_timeout: 5s\n", ""),
		change("    url: postgres://sigbox@db/sigbox\n", ""), change("  guard: {file: guard}\n", ""), change("      - name: rekor-v1\n        tree_id: 7\n        key: v1.pem\n", "      - {}\n"),
		change("    shards:\n      - name: rekor-v1\n        tree_id: 7\n        key: v1.pem\n", ""), change("ct: {key: ct.pem, roots: roots.pem}", "ct: {}"),
		change("tls: {certificate: cert.pem, key: key.pem}", "tls: {}"), change("operations: {listen: 127.0.0.1:9090}", "operations: {}"),
		change("issuer: {key: issuer.pem}", "issuer: {}"), change("tuf: {database: \"host=tuf\", snapshot_key: snapshot.pem, timestamp_key: timestamp.pem}", "tuf: {}"),
		change("tsa: {key: tsa.pem, chain: tsachain.pem}", "tsa: {}"), change("listen: 127.0.0.1:8080", "listen:"), change("  poll: 200ms", "  poll: ~"),
		change("issuer: {key: issuer.pem}", "issuer:"), change("rekor_v2: {key: v2.pem}", "rekor_v2:"),
	}},
	{"public_url", []mistake{
		value("public_url", "sigstore.example.com"), value("public_url", "https://sigstore.example.com/"), value("public_url", "https://example.com/sigstore"),
		value("public_url", "https://sigstore.example.com?x"), value("public_url", "https://sigstore.example.com#x"), value("public_url", "https://me:pw@sigstore.example.com"),
		value("public_url", "https://Sigstore.Example.com"), value("public_url", "https://sigstore.example.com:443"), value("public_url", "http://sigstore.example.com:80"),
		value("public_url", "https://sigstore.example.com:0"), value("public_url", "https://sigstore.example.com:99999"), value("public_url", "https://sigstore.example.com:"),
		value("public_url", "ftp://sigstore.example.com"), value("public_url", "https://"), value("public_url", "https:///x"), value("public_url", "https://sig store"),
		value("public_url", "https://bücher.example"), value("public_url", "https://-x.example"), value("public_url", "\"\""), value("public_url", "[https://a, https://b]"),
		value("public_url", "{url: https://a}"), value("public_url", "https://*.example.com"),
	}},
	{"addresses", []mistake{
		value("listen", "8080"), value("listen", "127.0.0.1"), value("listen", "localhost:http"), value("listen", "127.0.0.1:65536"), value("listen", "127.0.0.1:-1"),
		value("listen", "127.0.0.1:08080"), value("listen", "::1:8080"), value("listen", "::1"), value("listen", "http://127.0.0.1:8080"), value("listen", "\"a b:1\""), value("listen", "tcp:127.0.0.1:80"),
	}},
	{"durations", []mistake{
		value("poll", "200"), value("poll", "0"), value("poll", "1e9d"), value("poll", "1 s"), value("poll", "5 minutes"), value("poll", "1d"), value("poll", "-1s"), value("poll", "0s"), value("poll", "1h"),
		value("poll", "999999999999h"), value("poll", "+1s"), value("poll", "true"), value("poll", "[1s]"), value("lock_timeout", "5m"), value("lock_timeout", "1ns"),
	}},
	{"numbers and sizes", []mistake{
		value("tree_id", "0"), value("tree_id", "-7"), value("tree_id", "0x7"), value("tree_id", "1_000"), value("tree_id", "7.0"), value("tree_id", "1e3"), value("tree_id", "seven"),
		value("tree_id", "9223372036854775808"), value("tree_id", "99999999999999999999999"), value("tree_id", "+7"), value("batch", "0"), value("batch", "100000"), value("batch", "10k"),
		value("body", "4MB"), value("body", "4M"), value("body", "4 mib"), value("body", "-1"), value("body", "1.5MiB"), value("body", "1"), value("body", "1GiB"), value("body", "99999999999999GiB"),
	}},
	{"names, hosts and choices", []mistake{
		value("name", "Rekor"), value("name", "\"rekor v1\""), value("name", "rekor/v1"), value("name", strings.Repeat("x", 64)), value("name", "-x"),
		value("level", "verbose"), value("level", "INFO"), value("format", "logfmt"), value("duplicates", "409"),
		change("duplicates: return", "duplicates: return\n    kinds: [dsse, HashedRekord]"), change("duplicates: return", "duplicates: return\n    kinds: dsse"),
		change("rekor_v2: {key", "rekor_v2: {host: \"https://rekor.example.com\", key"), change("rekor_v2: {key", "rekor_v2: {host: \"rekor.example.com:443\", key"),
		change("rekor_v2: {key", "rekor_v2: {host: Rekor.example.com, key"), change("rekor_v2: {key", "rekor_v2: {host: \"a b\", key"), change("rekor_v2: {key", "rekor_v2: {host: \"rekor.example.com - 7\", key"),
		v2Shards("{name: next}"), v2Shards("{host: log2.example.com}"), v2Shards("{name: Next, host: \"https://log2.example.com\"}"), v2Shards("{name: next, host: log2.example.com, tree_id: 7}"),
		change("{key: v2.pem}", "{key: v2.pem, shards: log2.example.com}"),
	}},
	{"paths", []mistake{
		value("roots", "~/ca.pem"), value("roots", "\"\""), value("roots", "file:///etc/ca.pem"), value("roots", "$HOME/ca.pem"), value("roots", "\"a\\nb\""), value("roots", "\"${env:ROOTS}\""),
		change("{key: v2.pem}", "{key: \"${env:KEY}\"}"), change("{key: v2.pem}", "{key: \"${credential:}\"}"), change("{key: v2.pem}", "{key: \"${credential:../x}\"}"),
		change("rekor_v2: {key: v2.pem}", "rekor_v2:\n    key: |\n      -----BEGIN PRIVATE KEY-----\n      MIG..."), change("{key: v2.pem}", "{key: [a.pem, b.pem]}"),
	}},
	{"secrets", []mistake{
		value("password", "hunter2"), value("password", "$PASSWORD"), value("password", "${PASSWORD}"), value("password", "${env:}"), value("password", "${env:MY-PASSWORD}"), value("password", "${vault:x}"),
		value("password", "${file:}"), value("password", "${file:~/pw}"), value("password", "${credential:a/b}"), value("password", "x${env:PASSWORD}"), value("password", "12345"),
		value("url", "postgres://sigbox:hunter2@db/sigbox"), value("url", "postgres://db/sigbox?password=hunter2"), value("url", "host=db password=hunter2"), value("url", "postgres://sigbox:${env:PASSWORD}@db/sigbox"),
		value("url", "postgres://sigbox:50%@db/sigbox"), value("url", "mysql://db/sigbox"), value("url", "db.example.com"), value("url", "${env:a b}"), value("url", "${file:}"), value("url", "\"\""),
		value("url", "postgres://db/x?sslpassword=hunter2"),
	}},
	{"the guard", []mistake{
		change("guard: {file: guard}", "guard:"), change("guard: {file: guard}", "guard: {}"), change("guard: {file: guard}", "guard: off"), change("guard: {file: guard}", "guard: false"),
		change("guard: {file: guard}", "guard: {none: true}"), change("guard: {file: guard}", "guard: {file: guard, database: host=g}"), change("guard: {file: guard}", "guard: /var/lib/guard"),
		change("guard: {file: guard}", "guard: {database: postgres://sigbox@db/sigbox}"), change("guard: {file: guard}", "guard: {database: \"postgres://a:b@g/x\"}"),
		change("guard: {file: guard}", "guard: {database: {}}"), change("guard: {file: guard}", "guard: {database: {url: \"host=g\", lock_timeout: 30s}}"),
	}},
	{"values that do not go together", []mistake{
		change("operations: {listen: 127.0.0.1:9090}", "operations: {listen: \"127.0.0.1:8080\"}"), change("listen: 127.0.0.1:8080", "listen: 0.0.0.0:8080"),
		change("issuer: {key: issuer.pem}", "issuer: {key: issuer.pem, listen: \"10.0.0.1:80\"}"), change("    lock_timeout: 5s", "    lock_timeout: 30s"),
		change("    lock_timeout: 5s", "    statement_timeout: 1s"), change("ct: {key", "ct: {name: rekor-v1, key"), change("ct: {key", "ct: {name: rekor-v2, key"),
		change("        key: v1.pem\n", "        key: v1.pem\n      - {name: second, tree_id: 7, key: v1.pem}\n"), change("        key: v1.pem\n", "        key: v1.pem\n      - {name: rekor-v1, tree_id: 8, key: v1.pem}\n"),
		change("  rekor_v1:\n    duplicates: return\n    shards:\n      - name: rekor-v1\n        tree_id: 7\n        key: v1.pem\n  rekor_v2: {key: v2.pem}\n  ct: {key: ct.pem, roots: roots.pem}\n", ""),
	}},
	{"shards with hosts of their own", []mistake{
		v2Shards("{name: rekor-v2, host: log2.example.com}"), v2Shards("{name: next, host: sigstore.example.com}"),
		v2Shards("{name: next, host: log2.example.com}, {name: next, host: log3.example.com}"), v2Shards("{name: next, host: log2.example.com}, {name: third, host: log2.example.com}"),
		v2Shards("{name: next, host: old.example.com}, {name: rekor-v1, host: old.example.com}").then("rekor_v2: {", "rekor_v2: {host: old.example.com, "),
	}},
	{"CT logs that came after another one", []mistake{
		nextCTs("{name: later, key: ct2.pem}"), nextCTs("{name: ct-2, key: ct2.pem}, {name: ct-2, key: ct3.pem}"), nextCTs("{name: ct-2, key: ct2.pem, roots: roots.pem}"),
		nextCTs("{name: ct-2, key: ct2.pem}").then("issuers: issuers.yaml,", "issuers: issuers.yaml, ct: {log: ct-3, key: ct3.pub},"),
	}},
	{"the instance", []mistake{
		change("instance: 00112233445566778899aabbccddeeff\n", ""), value("instance", "00112233445566778899AABBCCDDEEFF"), value("instance", "prod"),
		value("instance", "00112233-4455-6677-8899-aabbccddeeff"), value("instance", "\"\""), value("instance", "00112233445566778899aabbccddeef"),
	}},
	{"proxies", []mistake{
		among("10.0.0.0/8", "10.0.0.1/8"), among("10.0.0.0/8", "0.0.0.0/0"), among("2001:db8::/32", "::/0"), among("10.0.0.0/8", "proxy.example.com"),
		among("10.0.0.0/8", "10.0.0.0/33"), among("10.0.0.0/8", "10.0.0.0/255.0.0.0"), among("10.0.0.0/8", "10.0.0.*"), among("10.0.0.0/8", "fe80::1%eth0"),
		among("10.0.0.0/8", "127.0.0.1:8080"), among("10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\"", ""), among("[10.0.0.0/8, 192.0.2.7, \"2001:db8::/32\"]", "10.0.0.0/8"),
		among("10.0.0.0/8", "[10.0.0.0/8]"), among("10.0.0.0/8", "\"\""), among("10.0.0.0/8", "{cidr: 10.0.0.0/8}"),
	}},
	{"peers", []mistake{
		among("peers: {listen: \"127.0.0.1:9443\", certificate: peer.crt, key: peer.key, authorities: peers.pem}", "peers: {}"),
		among("peers: {listen: \"127.0.0.1:9443\", certificate: peer.crt, key: peer.key, authorities: peers.pem}", "peers: 127.0.0.1:9443"),
		among("peers: {listen: \"127.0.0.1:9443\", certificate: peer.crt, key: peer.key, authorities: peers.pem}", "peers:"),
		among("{listen: \"127.0.0.1:9443\", certificate", "{certificate"), among("127.0.0.1:9443", "127.0.0.1:8080"), among("127.0.0.1:9443", "127.0.0.1:9090"),
		among("127.0.0.1:9441", "127.0.0.1:8080"), among("127.0.0.1:9443", "9443"), among("127.0.0.1:9443", "https://tlog:9443"),
		among("  peers: {certificate: peer.crt", "  peers: {listen: \"127.0.0.1:9442\", certificate: peer.crt"),
		among("9443\", certificate: peer.crt", "9443\", certificates: peer.crt"), among("9443\", certificate: peer.crt, key: peer.key, authorities: peers.pem", "9443\", certificate: peer.crt, key: peer.key, ca: peers.pem"),
		among("9443\", certificate: peer.crt, key: peer.key, authorities: peers.pem", "9443\", certificate: peer.crt, key: \"${env:PEER_KEY}\", authorities: [peers.pem]"),
	}},
	{"the CT log of the authority", []mistake{
		among("log: ct, key: ct.pub", "log: ct"), among("log: ct, key: ct.pub", "log: Ct, key: ct.pub"), among("log: ct, key: ct.pub", "log: ct2, key: ct.pub"),
		among("[\"tlog1:9443\", \"tlog2:9443\"]", "tlog"), among("[\"tlog1:9443\", \"tlog2:9443\"]", "\":9443\""), among("[\"tlog1:9443\", \"tlog2:9443\"]", "\"tlog:0\""),
		among("[\"tlog1:9443\", \"tlog2:9443\"]", "\"0.0.0.0:9443\""), among("[\"tlog1:9443\", \"tlog2:9443\"]", "https://tlog:9443"), among("[\"tlog1:9443\", \"tlog2:9443\"]", "[]"),
		among("[\"tlog1:9443\", \"tlog2:9443\"]", "[\"tlog1:9443\", tlog2]"), among("[\"tlog1:9443\", \"tlog2:9443\"]", "{host: tlog}"), among("[\"tlog1:9443\", \"tlog2:9443\"]", "\"tlog1:9443,tlog2:9443\""),
		among("ct: {address: [\"tlog1:9443\", \"tlog2:9443\"], log: ct, key: ct.pub}", "ct: {addresses: [\"tlog1:9443\"], key: ct.pub}"),
		among("peers: {listen: \"127.0.0.1:9441\", certificate: peer.crt, key: peer.key, authorities: peers.pem},", ""),
		change("  ct: {key: ct.pem, roots: roots.pem}\n", ""),
		change("issuers: issuers.yaml,", "issuers: issuers.yaml, ct: {key: ct.pub},").then("  ct: {key: ct.pem, roots: roots.pem}\n", ""),
	}},
	{"where statements come from and go to", []mistake{
		among("\"ca:9443\"", "\"ca:\""), among("\"ca:9443\"", "https://ca:9443"), among("\"ca:9443\"", "\":9443\""), among("\"ca:9443\"", "~/statements"), among("\"ca:9443\"", "\"\""),
		among("\"ca:9443\"", "\"tlog:9443\""), among("\"ca:9443\"", "[\"ca:9443\"]"), among("[\"ca:9443\", \"tlog:9443\", /var/lib/statements]", "\"ca:9443\""),
		among("[\"ca:9443\", \"tlog:9443\", /var/lib/statements]", "[]"), among("\"ca:9443\"", "$HOME/statements"),
		among("\n  peers: {certificate: peer.crt, key: peer.key, authorities: peers.pem}, ", ""),
		among("statements: statements/tlog", "statements: ~/statements"), among("statements: statements/ca", "statements: \"${env:DIR}\""),
		among("mirror: mirror", "mirror: file:///srv/www"), among("mirror: mirror", "mirror: s3://bucket"),
		among("statements: statements/tlog", "statements: [a, b]"),
	}},
	{"pinned keys of issuers", []mistake{
		change("\"https://gitlab.example.com\"", "gitlab.example.com"), change("\"https://gitlab.example.com\"", "\"https://me:hunter2@gitlab.example.com\""),
		change("issuer: \"https://gitlab.example.com\", ", ""), change(", keys: jwks.json", ""), change("keys: jwks.json", "keys: https://gitlab.example.com/oauth/discovery/keys"),
		change("[{issuer: \"https://gitlab.example.com\", keys: jwks.json}]", "{\"https://gitlab.example.com\": jwks.json}"), change("[{issuer: \"https://gitlab.example.com\", keys: jwks.json}]", "jwks.json"),
		change("keys: jwks.json}]", "keys: jwks.json}, {issuer: \"https://gitlab.example.com\", keys: more.json}]"),
	}},
	{"issuers by name", []mistake{
		named("github"), named("[github]"), named("[]"), named("[{name: gitea}]"), named("[{name: GitHub}]"), named("[{url: \"https://gitlab.example.com\"}]"),
		named("[{name: gitlab-self-managed}]"), named("[{name: gitlab-self-managed, url: gitlab.example.com}]"), named("[{name: gitlab-self-managed, url: \"https://gitlab.example.com/\"}]"),
		named("[{name: github, url: \"https://github.example.com\"}]"), named("[{name: github, audience: \"\"}]"), named("[{name: github, audience: \"a b\"}]"),
		named("[{name: entra-id, id: common/x, audience: 00001111}]"), named("[{name: spiffe, url: \"https://oidc.example.com\"}]"),
		named("[{name: spiffe, url: \"https://oidc.example.com\", trust_domain: \"spiffe://example.com\"}]"), named("[{name: github, tenant: x}]"), named("[{name: keycloak, url: \"https://sso.example.com\", certificates: ~/root.pem}]"),
	}},
	{"how the keys of issuers are fetched, and how long certificates are valid", []mistake{
		authority("fetch: {}, fetch: {}"), authority("fetch: http://proxy.example.com:3128"), authority("fetch: {proxy: \"proxy.example.com:3128\"}"), authority("fetch: {proxy: \"http://me:hunter2@proxy.example.com:3128\"}"),
		authority("fetch: {proxy: \"socks5://proxy.example.com:1080\"}"), authority("fetch: {direct: \"https://gitlab.example.com\"}"), authority("fetch: {direct: [\"https://gitlab.example.com\"]}"),
		authority("fetch: {private: [0.0.0.0/0]}"), authority("fetch: {private: [gitlab.example.com]}"), authority("fetch: {certificates: ~/roots.pem}"), authority("fetch: {no_proxy: [gitlab.example.com]}"),
		authority("validity: 10"), authority("validity: 59s"), authority("validity: 25h"), authority("validity: 0s"), authority("validity: -10m"), authority("validity: forever"),
	}},
	{"who may write", []mistake{
		writing("{}"), writing(""), writing("open"), writing("{certificates: false}"), writing("{certificates: yes}"), writing("{issuers: []}"), writing("{keys: release.pub}"),
		writing("{certificates: true, issuers: [\"https://gitlab.example.com\"]}"), writing("{issuers: [gitlab.example.com]}"), writing("{issuer: \"https://gitlab.example.com\"}"),
		writing("{keys: [~/release.pub]}"), writing("{certificates: true}").then("  ct: {key: ct.pem, roots: roots.pem}\n", ""),
		change("rekor_v2: {key", "rekor_v2: {writers: {issuers: [\"https://gitlab.example.com\"]}, key").then("  ct: {key: ct.pem, roots: roots.pem}\n", ""),
		change("  poll: 200ms", "  authorities: [ca.pem]"),
	}},
	{"quotas", []mistake{
		quotas("{address: 600}"), quotas("{address: 600/m}"), quotas("{address: 600/1}"), quotas("{address: 0/1m}"), quotas("{address: 600 / 1m}"), quotas("{address: -1/1m}"), quotas("{address: 10000000/1m}"),
		quotas("{address: 600/1ms}"), quotas("{address: 600/25h}"), quotas("{address: 10/s}"), quotas("{address: \"\"}"), quotas("{identities: 600/1m}"), quotas("600/1m"), quotas("{address: {count: 600, per: 1m}}"),
		change("chain: tsachain.pem}", "chain: tsachain.pem, quotas: {identity: 600/1m}}"), change("issuers: issuers.yaml,", "issuers: issuers.yaml, quotas: {issuer: often},"),
	}},
	{"true or false", []mistake{
		change("format: json}", "format: json, requests: yes}"), change("format: json}", "format: json, requests: 1}"), change("format: json}", "format: json, requests: True}"),
		change("issuer: {key: issuer.pem}", "issuer: {key: issuer.pem, beyond_loopback: \"\"}"), change("issuer: {key: issuer.pem}", "issuer: {key: issuer.pem, beyond_loopback: [true]}"),
		change("issuer: {key: issuer.pem}", "issuer: {key: issuer.pem, listen: \"10.0.0.1:80\", beyond_loopback: false}"), change("issuer: {key: issuer.pem}", "issuer: {key: issuer.pem, listen: \"0.0.0.0:80\", beyond_loopback: on}"),
	}},
	{"shapes", []mistake{
		change("    shards:\n      - name: rekor-v1\n        tree_id: 7\n        key: v1.pem\n", "    shards: {name: rekor-v1, tree_id: 7, key: v1.pem}\n"),
		change("    shards:\n      - name: rekor-v1\n        tree_id: 7\n        key: v1.pem\n", "    shards: []\n"), change("    shards:\n      - name: rekor-v1\n        tree_id: 7\n        key: v1.pem\n", "    shards: [rekor-v1]\n"),
		change("rekor_v2: {key: v2.pem}", "rekor_v2: v2.pem"), change("rekor_v2: {key: v2.pem}", "rekor_v2: [{key: v2.pem}]"), change("tls: {certificate: cert.pem, key: key.pem}", "tls: true"),
		change("limits: {body: 4MiB, batch: 100}", "limits: 4MiB"),
	}},
}

// TestProblems compares what people are told with a file that can be read from top to bottom.
func TestProblems(t *testing.T) {
	var b strings.Builder
	b.WriteString("What a configuration with mistakes is answered with. Made by TestProblems; see problems_test.go for the\n" +
		"file that the mistakes are made in. A line with > is what somebody wrote.\n")
	for _, group := range mistakes {
		fmt.Fprintf(&b, "\n\n== %s\n", group.about)
		for _, m := range group.list {
			_, err := Parse("sigbox.yaml", []byte(m.apply()))
			if err == nil {
				t.Errorf("%s: %q is taken", group.about, m.new)
				continue
			}
			shown := strings.TrimSpace(strings.ToValidUTF8(m.new, "�"))
			if key, ok := strings.CutPrefix(m.old, "\x00"); ok {
				shown = key + ": " + shown
			} else if shown == "" && m.old != "" {
				shown = "(without) " + strings.TrimSpace(m.old)
			}
			fmt.Fprintf(&b, "\n> %s\n%v\n", strings.ReplaceAll(shown, "\n", "\n> "), err)
		}
	}
	for _, secret := range []string{"hunter2", "MIG..."} {
		for line := range strings.Lines(b.String()) {
			if strings.Contains(line, secret) && !strings.HasPrefix(line, ">") {
				t.Errorf("a secret is quoted: %s", line)
			}
		}
	}
	golden(t, "testdata/problems.txt", b.String())
}

// TestBase: what the mistakes are made in has none.
func TestBase(t *testing.T) {
	for _, text := range []string{
		base, together,
		change("issuer: {key: issuer.pem}", "issuer: {key: issuer.pem, listen: \"0.0.0.0:80\", beyond_loopback: true}").apply(),
		among("[\"tlog1:9443\", \"tlog2:9443\"]", "tlog:9443").apply(),
		writing("{certificates: true, keys: [release.pub, old.asc]}").apply(), writing("{issuers: [\"https://gitlab.example.com\", \"http://sso:8080/realms/x\"]}").apply(),
		v2Shards("{name: next, host: log2.example.com}, {name: third, host: \"2001:db8::1\"}").apply(),
		quotas("{address: 600/1m, identity: 1/1s, issuer: 9999999/24h}").apply(),
		nextCTs("{name: ct-2, key: ct2.pem}, {name: ct-3, key: ct3.pem}").then("issuers: issuers.yaml,", "issuers: issuers.yaml, ct: {log: ct-2, key: ct2.pub},").apply(),
		authority("validity: 24h, fetch: {proxy: \"http://proxy.example.com:3128\", direct: [gitlab.example.com], certificates: roots.pem, private: [10.0.0.0/8]}").apply(),
		named(`[{name: github}, {name: gitlab-self-managed, url: "https://gitlab.example.com", certificates: root.pem}]`).apply(),
	} {
		c, err := Parse("sigbox.yaml", []byte(text))
		if err != nil {
			t.Error(err)
			continue
		}
		if again, err := Parse("sigbox.yaml", []byte(c.Show())); err != nil || again.Show() != c.Show() {
			t.Errorf("shown, it is another configuration: %v\n%s", err, c.Show())
		}
	}
}

// TestEveryKeyRefuses: whatever the key, nothing but a value of its kind is taken, and the message
// names the key and the place.
func TestEveryKeyRefuses(t *testing.T) {
	for _, k := range Keys() {
		for _, wrong := range []string{"", "&a x", "!tag x", "[[x]]", "{no_such_key: 1}"} {
			text := nested(k.Path, wrong)
			_, err := Parse("sigbox.yaml", []byte(text))
			if err == nil {
				t.Errorf("%s: %q is taken", k.Path, wrong)
				continue
			}
			line := regexp.MustCompile(`(?m)^sigbox\.yaml:[0-9]+:[0-9]+: ` + regexp.QuoteMeta(strings.NewReplacer("shards.", "shards[0].", "issuer_keys.", "issuer_keys[0].", "presets.", "presets[0].", "ct.next.", "ct.next[0].").Replace(k.Path)) + `[:.[]`)
			if !line.MatchString(err.Error()) {
				t.Errorf("%s: %q: no line is about it:\n%v", k.Path, wrong, err)
			}
		}
	}
}

// named has a list of presets in place of the file of issuers.
func named(presets string) mistake {
	return change("issuers: issuers.yaml, ", "presets: "+presets+", ").then(`issuer_keys: [{issuer: "https://gitlab.example.com", keys: jwks.json}], `, "")
}

// authority has more keys of the authority.
func authority(keys string) mistake {
	return change("issuers: issuers.yaml, ", "issuers: issuers.yaml, "+keys+", ")
}

// TestPresetNames: the configuration names the presets that there are.
func TestPresetNames(t *testing.T) {
	list, err := presets.All()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
		for _, par := range p.Parameters {
			if _, ok := (Preset{}).Values()[par.Name]; !ok {
				t.Errorf("parameter %s of %s cannot be configured", par.Name, p.Name)
			}
		}
	}
	f, _ := reflect.TypeFor[Preset]().FieldByName("Name")
	if got := f.Tag.Get("one"); got != strings.Join(names, "|") {
		t.Errorf("%s, want %s", got, strings.Join(names, "|"))
	}
}

// nested writes a key with a value, in the sections that it is in.
func nested(path, value string) string {
	parts := strings.Split(path, ".")
	text := parts[len(parts)-1] + ": " + value
	for i := len(parts) - 2; i >= 0; i-- {
		if parts[i] == "shards" || parts[i] == "issuer_keys" || parts[i] == "presets" || parts[i] == "next" {
			text = "- " + text
		}
		text = parts[i] + ":\n  " + strings.ReplaceAll(text, "\n", "\n  ")
	}
	return text + "\n"
}

func TestLoadLooksAtTheFile(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "open.yaml")
	if err := os.WriteFile(open, []byte(base), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(open); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o666); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# x\n", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "cannot be read: no such file", dir: "is a directory", open: "can be written by everybody", large: "is larger than",
	} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
}

func TestOnly(t *testing.T) {
	c, err := Parse("sigbox.yaml", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Services(); !reflect.DeepEqual(got, []string{"issuer", "tlog", "ca", "tuf"}) {
		t.Errorf("services: %v", got)
	}
	if err := c.Only([]string{"tlog", "ca"}); err != nil || !reflect.DeepEqual(c.Services(), []string{"tlog", "ca"}) {
		t.Errorf("only tlog and ca: %v %v", c.Services(), err)
	}
	inProcess := strings.NewReplacer("issuers: issuers.yaml, ", "").Replace(base)
	for _, tc := range []struct {
		name, text, only, want string
	}{
		{"the issuer stays", inProcess, "issuer tlog ca", ""},
		{"the issuer goes, and nobody is trusted", inProcess, "tlog ca", "ca.issuers: is missing"},
		{"a development issuer elsewhere", strings.Replace(inProcess, "keys: jwks.json", "keys: jwks.json, development: true", 1), "tlog ca", ""},
		{"the authority goes too", inProcess, "tlog", ""},
	} {
		c, err := Parse("sigbox.yaml", []byte(tc.text))
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if err := c.Only(strings.Fields(tc.only)); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	for names, want := range map[string]string{"tuf": "no section tuf", "rekor": "is no service", "": "is no service"} {
		if err := c.Only([]string{names}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("only %q: %v, want %q", names, err, want)
		}
	}
}
