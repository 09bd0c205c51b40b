package rekorv1_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sigstore/rekor/pkg/generated/models"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/hashedrekord"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/tile"
)

// TestBadInput: every refusal has upstream's shape and leaves no trace. Rows name what they alone
// catch; what the schema refuses is in TestSchemaErrorsAreUpstreams, what the kinds refuse in
// their own packages.
func TestBadInput(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) { c.MaxBody = 64 << 10 })
	good := artifact(t, 0)
	id, _ := s.add(good)
	s.add(artifact(t, 1))
	broken := bytes.Replace(artifact(t, 2), []byte(`"value":"`), []byte(`"value":"00`), 1)
	other := artifact(t, 3) // its digest is replaced below
	hex64 := strings.Repeat("ab", 32)
	put := func(old, with string) string { return strings.Replace(string(good), old, with, 1) }
	for _, row := range []struct {
		name, method, target, body, contentType string
		status                                  int
		message                                 string // a part of it; "" for no body at all
	}{
		{"broken JSON", "POST", entriesPath, `{"kind":`, "", 400, "not valid JSON"},
		{"not an object", "POST", entriesPath, `[1]`, "", 422, "proposedEntry in body must be of type object"},
		{"kind is a list", "POST", entriesPath, put(`"hashedrekord"`, `["hashedrekord"]`), "", 422, "kind in body must be of type string"},
		{"apiVersion is a number", "POST", entriesPath, put(`"0.0.1"`, `1`), "", 422, "apiVersion in body must be of type string"},
		{"apiVersion not ours", "POST", entriesPath, put(`"0.0.1"`, `"0.0.9"`), "", 400, `error processing entry: hashedrekord implementation for version "0.0.9" not found`},
		{"kind not enabled", "POST", entriesPath, put(`"hashedrekord"`, `"helm"`), "", 400, `error processing entry: entry kind "helm" is not enabled`},
		{"spec is a list", "POST", entriesPath, `{"kind":"dsse","apiVersion":"0.0.1","spec":[]}`, "", 400, "error processing entry: missing proposedContent"},
		{"digest too long", "POST", entriesPath, string(broken), "", 400, "error processing entry: data.hash.value"},
		{"signature wrong", "POST", entriesPath, string(bytes.Replace(other, []byte(`"value":"`+digestOf(other)), []byte(`"value":"`+hex64), 1)), "", 400, "error processing entry: verifying signature"},
		{"algorithm not allowed", "POST", entriesPath, string(weakAlgorithm(t)), "", 400, "error processing entry: entry algorithms are not allowed"},
		{"canonical dsse", "POST", entriesPath, canonicalDSSE, "", 400, "error processing entry: entry not insertable into log"},
		{"url", "POST", entriesPath, put(`"data":{`, `"data":{"url":"http://169.254.169.254/",`), "", 400, "fetching by URL is not supported"},
		{"key twice", "POST", entriesPath, put(`{"apiVersion"`, `{"kind":"dsse","apiVersion"`), "", 400, "duplicate field"},
		{"key twice in two cases", "POST", entriesPath, put(`{"apiVersion"`, `{"Kind":"dsse","apiVersion"`), "", 400, "duplicate field"},
		{"data after the value", "POST", entriesPath, string(good) + "{}", "", 400, "trailing data"},
		{"no UTF-8", "POST", entriesPath, put(`"kind"`, "\"\xff\":1,\"kind\""), "", 400, "UTF-8"},
		{"byte order mark", "POST", entriesPath, "\xef\xbb\xbf" + string(good), "", 400, "UTF-8"},
		{"deep nesting", "POST", entriesPath, strings.Repeat(`{"a":`, 30_000/5), "", 400, "nesting is deeper"},
		{"body too large", "POST", entriesPath, `{"x":"` + strings.Repeat("x", 64<<10) + `"}`, "", 413, "Request Entity Too Large. Limit set to 65536 (tlog.limits.body)"},
		{"text/plain", "POST", entriesPath, string(good), "text/plain", 415, `unsupported media type "text/plain", only [application/json] are allowed`},
		{"UTF-7", "POST", entriesPath, string(good), "application/json; charset=utf-7", 415, "unsupported media type"},
		{"no type", "POST", entriesPath, string(good), "-", 415, "unsupported media type"},
		{"PUT", "PUT", entriesPath, string(good), "", 405, "method PUT is not allowed, but [GET,POST] are"},
		{"DELETE an entry", "DELETE", entriesPath + "/" + id, "", "", 405, "method DELETE is not allowed, but [GET] are"},
		{"POST an entry", "POST", entriesPath + "/" + id, "{}", "", 405, "method POST is not allowed, but [GET] are"},

		{"index beyond the log", "GET", entriesPath + "?logIndex=2", "", "", 404, ""},
		{"index 2^63-1", "GET", entriesPath + "?logIndex=9223372036854775807", "", "", 404, ""},
		{"index twice", "GET", entriesPath + "?logIndex=0&logIndex=1", "", "", 422, "logIndex in query must be given once"},
		{"UUID unknown", "GET", entriesPath + "/" + hex64, "", "", 404, ""},
		{"tree id 0", "GET", entriesPath + "/" + strings.Repeat("0", 16) + id[16:], "", "", 400, "validation error: 0000000000000000 is not a valid TreeID"},
		{"tree id of another log", "GET", entriesPath + "/" + fmt.Sprintf("%016x", treeID+1) + id[16:], "", "", 404, ""},
		{"tree id ffff", "GET", entriesPath + "/" + strings.Repeat("f", 16) + id[16:], "", "", 400, "validation error: ffffffffffffffff is not a valid TreeID"},
		{"UUID with a slash", "GET", entriesPath + "/" + id[:20] + "%2f" + id[21:], "", "", 404, "path Not Found"},

		{"retrieve nothing", "POST", entriesPath + "/retrieve", `{}`, "", 422, "entry in body is required"},
		{"retrieve nulls", "POST", entriesPath + "/retrieve", `{"entryUUIDs":null,"logIndexes":null,"entries":null}`, "", 422, "entry in body is required"},
		{"retrieve a list", "POST", entriesPath + "/retrieve", `[]`, "", 400, `parsing entry body from "" failed, because it must be an object`},
		{"retrieve index null", "POST", entriesPath + "/retrieve", `{"logIndexes":[null]}`, "", 422, "logIndexes.0 in body is required"},
		{"retrieve index 1.5", "POST", entriesPath + "/retrieve", `{"logIndexes":[1.5]}`, "", 400, "because logIndexes must be an integer of 64 bits"},
		{"retrieve index 2^63", "POST", entriesPath + "/retrieve", `{"logIndexes":[9223372036854775808]}`, "", 400, "because logIndexes must be an integer of 64 bits"},
		{"retrieve UUID a number", "POST", entriesPath + "/retrieve", `{"entryUUIDs":[1]}`, "", 400, "because entryUUIDs must be a string"},
		{"retrieve an entry of no kind", "POST", entriesPath + "/retrieve", `{"entries":[{}]}`, "", 400, `parsing entry body from "" failed, because kind in body is required`},
		{"retrieve of tree 0", "POST", entriesPath + "/retrieve", `{"entryUUIDs":["` + strings.Repeat("0", 16) + id[16:] + `"]}`, "", 400, "invalid entryID 0000000000000000"},
		{"get what is for posts", "GET", entriesPath + "/retrieve", "", "", 422, "entryUUID in path should match"},
		{"retrieve 11, mixed", "POST", entriesPath + "/retrieve", `{"logIndexes":[0,1,2,3,4,5,6,7,8,9],"entryUUIDs":["` + hex64 + `"]}`, "", 422, "more than max allowed 10 entries in request"},
		{"retrieve an unknown kind", "POST", entriesPath + "/retrieve", `{"entries":[{"kind":"nosuch","apiVersion":"0.0.1","spec":{}}]}`, "", 400, `invalid kind value: "nosuch"`},
		{"retrieve a bad entry", "POST", entriesPath + "/retrieve", `{"entries":[` + string(broken) + `]}`, "", 400, "data.hash.value"},
		{"retrieve an entry with url", "POST", entriesPath + "/retrieve", `{"entries":[` + put(`"data":{`, `"data":{"url":"http://localhost/",`) + `]}`, "", 400, "fetching by URL is not supported"},
		{"retrieve too large", "POST", entriesPath + "/retrieve/", `{"x":"` + strings.Repeat("x", 64<<10) + `"}`, "", 413, "Too Large"},

		{"proof backwards", "GET", "/api/v1/log/proof?firstSize=2&lastSize=1", "", "", 400, "firstSize(2) must be less than lastSize(1)"},
		{"proof beyond the log", "GET", "/api/v1/log/proof?lastSize=3", "", "", 400, "the tree size requested(3) was greater than what is currently observable(2)"},
		{"proof of another tree", "GET", "/api/v1/log/proof?lastSize=2&treeID=1", "", "", 400, "no log range found for tree ID 1"},
		{"proof of a tree beyond int64", "GET", "/api/v1/log/proof?lastSize=2&treeID=9223372036854775808", "", "", 400, "invalid tree ID specified: 9223372036854775808"},
		{"key of two trees", "GET", "/api/v1/log/publicKey?treeID=1&treeID=4711", "", "", 422, "treeID in query must be given once"},
		{"garbage for a type", "POST", entriesPath, string(good), "garbage", 400, `parsing Content-Type header from "garbage" failed`},
		{"proof of tree 2^64", "GET", "/api/v1/log/proof?lastSize=2&treeID=18446744073709551616", "", "", 400, "invalid tree ID"},
		{"key of another tree", "GET", "/api/v1/log/publicKey?treeID=1", "", "", 400, "Bad Request"},

		{"search for nothing", "POST", "/api/v1/index/retrieve", `{}`, "", 422, "query in body is required"},
		{"search by and only", "POST", "/api/v1/index/retrieve", `{"operator":"and"}`, "", 422, "query in body is required"},
		{"search by a number", "POST", "/api/v1/index/retrieve", `{"hash":7}`, "", 400, `parsing query body from "" failed, because hash must be a string`},
		{"search by a key that is a text", "POST", "/api/v1/index/retrieve", `{"publicKey":"x"}`, "", 400, "because publicKey must be an object"},
		{"search by a URL", "POST", "/api/v1/index/retrieve", `{"publicKey":{"format":"x509","url":"http://169.254.169.254/"}}`, "", 400, "fetching by URL is not supported"},
		{"search by a PGP key", "POST", "/api/v1/index/retrieve", `{"publicKey":{"format":"pgp","content":"eA=="}}`, "", 400, "the PKI format requested is not supported"},
		{"search by no key", "POST", "/api/v1/index/retrieve", `{"publicKey":{"format":"x509","content":"eA=="}}`, "", 400, "public key provided could not be parsed"},
		{"search by a key not base64", "POST", "/api/v1/index/retrieve", `{"publicKey":{"format":"x509","content":"!"}}`, "", 400, "because publicKey.content is not base64"},
		{"search with a broken body", "POST", "/api/v1/index/retrieve", `{`, "", 400, "not valid JSON"},
	} {
		t.Run(row.name, func(t *testing.T) {
			header := map[string]string{}
			if row.contentType != "" {
				header["Content-Type"] = strings.TrimPrefix(row.contentType, "-")
			}
			var body []byte
			if row.body != "" {
				body = []byte(row.body)
			}
			a := s.do(row.method, row.target, header, body)
			if a.StatusCode != row.status {
				t.Fatalf("%d %s, want %d", a.StatusCode, a.body, row.status)
			}
			if row.message == "" {
				if len(a.body) != 0 {
					t.Errorf("body %q, want none", a.body)
				}
				return
			}
			code, message := errorBody(t, a)
			if !strings.Contains(message, row.message) {
				t.Errorf("message %q, want %q", message, row.message)
			}
			if code != row.status && (row.status != 422 || code < 600) {
				t.Errorf("code %d with status %d", code, row.status)
			}
			if a.Header.Get("ETag") != "" || a.Header.Get("Location") != "" {
				t.Errorf("headers of an entry: %v", a.Header)
			}
		})
	}
	if s.size() != 2 {
		t.Errorf("%d entries: a refused request left a trace", s.size())
	}
}

// canonicalDSSE is a stored body: it can be looked up, never appended.
const canonicalDSSE = `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":"00"},` +
	`"payloadHash":{"algorithm":"sha256","value":"00"},"signatures":[{"signature":"eA==","verifier":"eA=="}]}}`

func digestOf(proposed []byte) string {
	return strings.Split(strings.Split(string(proposed), `"value":"`)[1], `"`)[0]
}

// TestMissesAreLeftOut: a retrieve answers what the log holds, in the order of the question, and
// an empty list where it holds nothing.
func TestMissesAreLeftOut(t *testing.T) {
	s := newServer(t)
	body := artifact(t, 0)
	id, _ := s.add(body)
	second, _ := s.add(artifact(t, 1))
	unknown := strings.Repeat("ab", 32)
	for name, row := range map[string]struct {
		query string
		want  []string
	}{
		"unknown UUID":           {`{"entryUUIDs":["` + unknown + `"]}`, nil},
		"UUID of another tree":   {`{"entryUUIDs":["` + strings.Repeat("0", 15) + "1" + id[16:] + `"]}`, nil},
		"index beyond":           {`{"logIndexes":[2,9223372036854775807]}`, nil},
		"entry that is not held": {`{"entries":[` + string(artifact(t, 5)) + `]}`, nil},
		"canonical dsse":         {`{"entries":[` + canonicalDSSE + `]}`, nil},
		"one of each":            {`{"logIndexes":[1,7],"entryUUIDs":["` + id[16:] + `","` + unknown + `"],"entries":[` + string(body) + `]}`, []string{id, id, second}},
		"the same index twice":   {`{"logIndexes":[0,0]}`, []string{id, id}},
	} {
		for _, path := range []string{entriesPath + "/retrieve", entriesPath + "/retrieve/"} {
			a := s.post(path, []byte(row.query))
			var found []models.LogEntry
			if err := json.Unmarshal(a.body, &found); err != nil || a.StatusCode != http.StatusOK || found == nil {
				t.Fatalf("%s: %d %s", name, a.StatusCode, a.body)
			}
			var ids []string
			for _, m := range found {
				for id, e := range m {
					ids = append(ids, id)
					s.verify(e)
				}
			}
			if !slices.Equal(ids, row.want) {
				t.Errorf("%s: found %q, want %q", name, ids, row.want)
			}
		}
	}
}

// TestSearchMatchesLiterally: what looks like a pattern or like SQL matches nothing but itself.
func TestSearchMatchesLiterally(t *testing.T) {
	s := newServer(t, func(c *rekorv1.Config, _ *tlog.Config) { c.MaxResults = 2 })
	key := entrytest.P256(t)
	pem := entrytest.CertPEM(entrytest.Cert(t, key, entrytest.SAN{Emails: []string{"a_b@example.com"}, OtherName: ""}, nil, nil))
	var ids []string
	for i := range 3 {
		digest := entrytest.Digest(h256, fmt.Append(nil, i))
		id, _ := s.add(entrytest.HashedRekord(pem, h256, digest, entrytest.SignDigest(t, key, h256, digest)))
		ids = append(ids, id)
	}
	for subject, want := range map[string][]string{
		"a_b@example.com": ids[1:], // the newest two
		"axb@example.com": {}, "%": {}, "a%": {}, "' or 1=1 --": {}, `\`: {}, "$1": {}, "a_b@example.com\x00": {},
	} {
		q, err := json.Marshal(map[string]string{"subject": subject})
		if err != nil {
			t.Fatal(err)
		}
		a := s.post("/api/v1/index/retrieve", q)
		var got []string
		if err := json.Unmarshal(a.body, &got); err != nil || a.StatusCode != http.StatusOK || got == nil || !slices.Equal(got, want) {
			t.Errorf("%q: %d %s, want %q", subject, a.StatusCode, a.body, want)
		}
	}
}

// badLog is a log with one fault.
type badLog struct {
	tlog.Log
	appendErr, readErr error
	leaf               func(*tlog.Leaf)
	head               func(*checkpoint.Signed)
}

func (l badLog) Append(ctx context.Context, e tlog.Entry) (tlog.Receipt, error) {
	if l.appendErr != nil {
		return tlog.Receipt{}, l.appendErr
	}
	r, err := l.Log.Append(ctx, e)
	if l.leaf != nil {
		l.leaf(&r.Leaf)
	}
	if l.head != nil {
		l.head(&r.Checkpoint)
	}
	return r, err
}

func (l badLog) Leaf(ctx context.Context, index int64) (tlog.Leaf, error) {
	if l.readErr != nil {
		return tlog.Leaf{}, l.readErr
	}
	leaf, err := l.Log.Leaf(ctx, index)
	if l.leaf != nil {
		l.leaf(&leaf)
	}
	return leaf, err
}

// TestFaults: what a client is told when the log fails, and that it never reads the cause.
func TestFaults(t *testing.T) {
	secret := errors.New("pq: password of db01.internal")
	wrap := func(err error) error { return fmt.Errorf("%w: %w", err, secret) }
	for name, row := range map[string]struct {
		log    badLog
		get    bool
		status int
		retry  bool
	}{
		"busy":                {badLog{appendErr: wrap(tlog.ErrBusy)}, false, 503, true},
		"unavailable":         {badLog{appendErr: wrap(tlog.ErrUnavailable)}, false, 503, true},
		"frozen":              {badLog{appendErr: wrap(tlog.ErrFrozen)}, false, 405, false},
		"too large":           {badLog{appendErr: wrap(tlog.ErrTooLarge)}, false, 413, false},
		"corrupt":             {badLog{appendErr: wrap(tlog.ErrCorrupt)}, false, 500, false},
		"any other":           {badLog{appendErr: secret}, false, 500, false},
		"deadline":            {badLog{appendErr: wrap(context.DeadlineExceeded)}, false, 504, false},
		"receipt of a lie":    {badLog{leaf: func(l *tlog.Leaf) { l.Data = append([]byte{}, l.Data...); l.Data[0] ^= 1 }}, false, 500, false},
		"head of another log": {badLog{head: func(c *checkpoint.Signed) { c.Origin = "127.0.0.1 - 4712" }}, false, 500, false},
		"read fails":          {badLog{readErr: wrap(tlog.ErrUnavailable)}, true, 503, true},
		"data was changed":    {badLog{leaf: func(l *tlog.Leaf) { l.Data = append([]byte{}, l.Data...); l.Data[9] ^= 1 }}, true, 500, false},
		"data and hash too":   {badLog{leaf: forge}, true, 500, false},
		"index was changed":   {badLog{leaf: func(l *tlog.Leaf) { l.Index++ }}, true, 500, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.add(artifact(t, 0))
			s.add(artifact(t, 1))
			row.log.Log = s.log
			c := rekorv1.Config{Log: row.log, TreeID: treeID, Signer: s.key, Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse}}
			s.serve(c)
			var a answer
			if row.get {
				a = s.get(entriesPath + "?logIndex=0")
			} else {
				a = s.post(entriesPath, artifact(t, 2))
			}
			code, message := errorBody(t, a)
			if a.StatusCode != row.status || code != row.status {
				t.Errorf("%d %s, want %d", a.StatusCode, a.body, row.status)
			}
			if strings.Contains(message, "db01") {
				t.Errorf("the client reads the cause: %q", message)
			}
			after, err := strconv.Atoi(a.Header.Get("Retry-After"))
			if (err == nil && after >= 1) != row.retry {
				t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
			}
			if a.Header.Get("Location") != "" || a.Header.Get("ETag") != "" {
				t.Errorf("headers of an entry: %v", a.Header)
			}
		})
	}
}

// forge changes a leaf and its hash, as a hand in the database would.
func forge(l *tlog.Leaf) {
	l.Data = bytes.Replace(l.Data, []byte("hashedrekord"), []byte("hashedrekorD"), 1)
	l.Hash = tile.LeafHash(l.Data)
}

const h256 = crypto.SHA256

// weakAlgorithm is an entry that verifies and whose algorithm Rekor does not log.
func weakAlgorithm(t *testing.T) []byte {
	key := entrytest.ECDSA(t, elliptic.P384())
	digest := entrytest.Digest(h256, []byte("x"))
	return entrytest.HashedRekord(entrytest.PEM(t, key.Public()), h256, digest, entrytest.SignDigest(t, key, h256, digest))
}

func TestConfig(t *testing.T) {
	s := newServer(t)
	good := rekorv1.Config{Log: s.log, TreeID: 1, Signer: s.key, Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse}}
	if _, err := rekorv1.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*rekorv1.Config){
		"no log":         func(c *rekorv1.Config) { c.Log = nil },
		"no signer":      func(c *rekorv1.Config) { c.Signer = nil },
		"no kinds":       func(c *rekorv1.Config) { c.Kinds = nil },
		"tree id 0":      func(c *rekorv1.Config) { c.TreeID = 0 },
		"P-384 signer":   func(c *rekorv1.Config) { c.Signer = entrytest.ECDSA(t, elliptic.P384()) },
		"Ed25519 signer": func(c *rekorv1.Config) { c.Signer = entrytest.Ed25519(t) },
	} {
		c := good
		change(&c)
		if _, err := rekorv1.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// brokenSigner makes signatures by another key, as a KMS that was pointed to the wrong key.
type brokenSigner struct{ pub, other crypto.Signer }

func (b brokenSigner) Public() crypto.PublicKey { return b.pub.Public() }

func (b brokenSigner) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return b.other.Sign(rand, digest, o)
}

func TestBrokenSignerIsNoticed(t *testing.T) {
	s := newServer(t)
	s.serve(rekorv1.Config{
		Log: s.log, TreeID: treeID, Signer: brokenSigner{s.key, entrytest.P256(t)}, Kinds: entry.Kinds{hashedrekord.Kind: hashedrekord.Parse},
	})
	if a := s.post(entriesPath, artifact(t, 0)); a.StatusCode != http.StatusInternalServerError {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// TestCrossOrigin: a page of any origin may read and post, without credentials.
func TestCrossOrigin(t *testing.T) {
	s := newServer(t)
	s.add(artifact(t, 0))
	pre := s.do("OPTIONS", entriesPath, map[string]string{"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}, nil)
	if pre.StatusCode != http.StatusNoContent || pre.Header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("preflight: %d %v", pre.StatusCode, pre.Header)
	}
	origin := map[string]string{"Origin": "https://evil.example"}
	for _, a := range []answer{pre, s.do("GET", entriesPath+"?logIndex=0", origin, nil), s.do("GET", "/ping", origin, nil)} {
		if a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("headers %v", a.Header)
		}
	}
	if a := s.get(entriesPath + "?logIndex=0"); !strings.Contains(a.Header.Get("Cache-Control"), "no-cache") {
		t.Errorf("Cache-Control %q", a.Header.Get("Cache-Control"))
	}
	if a := s.get("/ping"); a.StatusCode != http.StatusOK {
		t.Errorf("ping: %d", a.StatusCode)
	}
	if a := s.get("/"); a.StatusCode != http.StatusNotFound {
		t.Errorf("the root page is not ours: %d", a.StatusCode)
	}
}
