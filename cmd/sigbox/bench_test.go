package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/bench"
)

// between is a proxy to an instance that changes what comes back.
func between(t *testing.T, instance string, change func(n int64, status int, body []byte) (int, []byte)) string {
	t.Helper()
	target, err := url.Parse(instance)
	if err != nil {
		t.Fatal(err)
	}
	var answers atomic.Int64
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method != http.MethodPost || strings.HasSuffix(r.Request.URL.Path, "/mint") {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			r.StatusCode, body = change(answers.Add(1), r.StatusCode, body)
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return nil
		},
	}
	s := httptest.NewServer(proxy)
	t.Cleanup(s.Close)
	return s.URL
}

func readReport(t *testing.T, raw []byte) (r bench.Report) {
	t.Helper()
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	return r
}

func TestBench(t *testing.T) {
	up := start(t, "--listen", "127.0.0.1:0")
	defer up.stop(t, syscall.SIGTERM)
	targets := []string{"rekor-v1", "rekor-v2", "fulcio"}
	for _, target := range targets {
		t.Run(target, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.json")
			args := []string{"bench", target, "--url", up.url, "-n", "40", "-c", "4", "--warm", "3", "--seed", "7"}
			out, errs, code := run(t, append(args, "--json", file)...)
			if code != 0 || !strings.Contains(out, "PER SECOND") || !strings.Contains(errs, "prepare: 43 of 43 requests") {
				t.Fatalf("exit code %d\n%s%s", code, out, errs)
			}
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := readReport(t, raw)
			status := map[string]string{"fulcio": "200"}[target]
			if status == "" {
				status = "201"
			}
			if r.Requests != 40 || r.OK != 40 || r.Wrong != 0 || r.Failed != 0 || r.Statuses[status] != 40 || r.Seed != 7 || r.Clients != 4 ||
				r.PerSecond <= 0 || r.LatencyMS.P50 <= 0 || r.LatencyMS.P50 > r.LatencyMS.P99 || r.LatencyMS.P99 > r.LatencyMS.Max || r.Machine.CPUs == 0 {
				t.Errorf("report %s", raw)
			}
			if target == "fulcio" {
				return
			}
			// The same seed makes the same entries, which the log has by now.
			if out, errs, code := run(t, args...); target == "rekor-v1" && (code != 1 || !strings.Contains(errs, "status 409")) {
				t.Errorf("the same seed again: exit code %d\n%s%s", code, out, errs)
			}
		})
	}
	t.Run("replicas", func(t *testing.T) {
		urls := up.url + "," + strings.Replace(up.url, "127.0.0.1", "localhost", 1)
		out, errs, code := run(t, "bench", "rekor-v2", "--url", urls, "-n", "20", "-c", "2", "--json", "-")
		if r := readReport(t, []byte(out)); code != 0 || len(r.URLs) != 2 || r.OK != 20 {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
	})
	t.Run("duration", func(t *testing.T) {
		out, errs, code := run(t, "bench", "rekor-v1", "--url", up.url, "-n", "20000", "--duration", "200ms", "--json", "-")
		if r := readReport(t, []byte(out)); code != 0 || r.Requests >= 20000 || r.Requests != r.OK || r.Seconds < 0.2 {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
	})
}

// edit changes a JSON object at a path; "*" is its only member.
func edit(t *testing.T, body []byte, path string, change func(old any) any) []byte {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Errorf("%v in %s", err, body)
		return body
	}
	at := v
	steps := strings.Split(path, ".")
	for i, s := range steps {
		m, ok := at.(map[string]any)
		if s == "*" {
			for s = range m {
			}
		}
		if _, found := m[s]; !ok || !found {
			t.Errorf("no %s in %s", path, body)
			return body
		}
		if i == len(steps)-1 {
			m[s] = change(m[s])
		}
		at = m[s]
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return out
}

// TestBenchSeesLies sends the answers through a proxy that begins to lie once the clock runs.
func TestBenchSeesLies(t *testing.T) {
	up := start(t, "--listen", "127.0.0.1:0")
	defer up.stop(t, syscall.SIGTERM)
	flip := func(old any) any { // one character of a string, so that it still decodes
		s := []byte(old.(string))
		if i := len(s) / 2; s[i] == 'a' {
			s[i] = 'b'
		} else {
			s[i] = 'a'
		}
		return string(s)
	}
	plusOne := func(old any) any {
		if s, ok := old.(string); ok { // protobuf's JSON has 64 bits in strings
			var n int64
			fmt.Sscan(s, &n)
			return fmt.Sprint(n + 1)
		}
		return old.(float64) + 1
	}
	none := func(any) any { return "" }
	var first atomic.Pointer[[]byte]
	again := func(_ int64, status int, body []byte) (int, []byte) { // the answer to another request
		first.CompareAndSwap(nil, &body)
		return status, *first.Load()
	}
	at := func(path string, change func(any) any) func(int64, int, []byte) (int, []byte) {
		return func(_ int64, status int, body []byte) (int, []byte) { return status, edit(t, body, path, change) }
	}
	const proofV1, proofV2 = "*.verification.inclusionProof.", "inclusionProof."
	for _, row := range []struct {
		target, name string
		lie          func(n int64, status int, body []byte) (int, []byte)
		want         string // in the report's errors
		failed       bool   // counts as failed, not as wrong
	}{
		{"rekor-v1", "error", func(int64, int, []byte) (int, []byte) { return 503, []byte("busy") }, "status 503: busy", true},
		{"rekor-v1", "no JSON", func(_ int64, s int, _ []byte) (int, []byte) { return s, []byte("ok") }, "invalid character", false},
		{"rekor-v1", "no entry", func(_ int64, s int, _ []byte) (int, []byte) { return s, []byte("{}") }, "holds no entry", false},
		{"rekor-v1", "another's entry", again, "another entry than the one that was sent", false},
		{"rekor-v1", "body", at("*.body", flip), "", false},
		{"rekor-v1", "log id", at("*.logID", flip), "log id", false},
		{"rekor-v1", "time", at("*.integratedTime", plusOne), "signed entry timestamp", false},
		{"rekor-v1", "index", at("*.logIndex", plusOne), "signed entry timestamp", false},
		{"rekor-v1", "no promise", at("*.verification.signedEntryTimestamp", none), "no signed entry timestamp", false},
		{"rekor-v1", "index of the proof", at(proofV1+"logIndex", plusOne), "inclusion of", false},
		{"rekor-v1", "size", at(proofV1+"treeSize", plusOne), "the checkpoint says", false},
		{"rekor-v1", "root", at(proofV1+"rootHash", flip), "the checkpoint says", false},
		{"rekor-v1", "checkpoint", at(proofV1+"checkpoint", flip), "checkpoint", false},
		{"rekor-v1", "hashes", at(proofV1+"hashes", func(old any) any { return old.([]any)[1:] }), "inclusion of", false},
		{"rekor-v2", "no proof", func(_ int64, s int, _ []byte) (int, []byte) { return s, []byte("{}") }, "holds no entry", false},
		{"rekor-v2", "another's entry", again, "another entry than the one that was sent", false},
		{"rekor-v2", "index", at("logIndex", plusOne), "its inclusion proof is for", false},
		{"rekor-v2", "size", at(proofV2+"treeSize", plusOne), "the checkpoint says", false},
		{"rekor-v2", "root", at(proofV2+"rootHash", flip), "the checkpoint says", false},
		{"rekor-v2", "checkpoint", at(proofV2+"checkpoint.envelope", flip), "checkpoint", false},
		{"rekor-v2", "hashes", at(proofV2+"hashes", func(old any) any { return old.([]any)[1:] }), "inclusion of", false},
		{"fulcio", "another's certificate", again, "for another key", false},
		{"fulcio", "no chain", func(_ int64, s int, _ []byte) (int, []byte) { return s, []byte("{}") }, "no certificates", false},
		{"fulcio", "no intermediate", at("signedCertificateEmbeddedSct.chain.certificates", func(old any) any { return old.([]any)[:1] }), "unknown authority", false},
	} {
		t.Run(row.target+" "+row.name, func(t *testing.T) {
			first.Store(nil)
			proxy := between(t, up.url, func(n int64, status int, body []byte) (int, []byte) {
				if n <= 2 { // before the clock starts
					return status, body
				}
				return row.lie(n, status, body)
			})
			out, errs, code := run(t, "bench", row.target, "--url", proxy, "-n", "6", "-c", "2", "--warm", "2", "--json", "-")
			r := readReport(t, []byte(out))
			wrong, failed := r.Wrong, r.Failed
			if row.failed {
				wrong, failed = failed, wrong
			}
			least := 6
			if row.name == "another's entry" || row.name == "another's certificate" {
				least = 5 // one was its own
			}
			if code != 1 || wrong != least || failed != 0 || !strings.Contains(strings.Join(r.Errors, "\n"), row.want) {
				t.Errorf("exit code %d, %s\n%s", code, out, errs)
			}
		})
	}
}

func TestBenchRefuses(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("e30.eyJzdWIiOiJ4IiwiZXhwIjoxfQ.x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wrongKey := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(wrongKey, []byte("-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := start(t, "--listen", "127.0.0.1:0")
	defer up.stop(t, syscall.SIGTERM)
	nobody := "http://" + freeAddr(t)
	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		{"a server of others", []string{"rekor-v1", "--url", "https://rekor.example.com"}, "--yes-load-this-server"},
		{"a CA of others", []string{"fulcio", "--url", "http://192.0.2.1"}, "--yes-load-this-server"},
		{"no URL", []string{"rekor-v1", "--url", "localhost:3000"}, "not the URL of a service"},
		{"no requests", []string{"rekor-v1", "-n", "0"}, "want at least 1"},
		{"no clients", []string{"rekor-v1", "-c", "0"}, "want at least 1"},
		{"no first request", []string{"rekor-v1", "--warm", "0"}, "at least 1"},
		{"nobody there", []string{"rekor-v1", "--url", nobody}, "connection refused"},
		{"key that is none", []string{"rekor-v2", "--url", up.url, "--key", token}, "--key"},
		{"key of another log", []string{"rekor-v1", "--url", up.url, "--key", wrongKey}, "nothing was measured"},
		{"key of another v2 log", []string{"rekor-v2", "--url", up.url, "--key", wrongKey}, "nothing was measured"},
		{"key of another CT log", []string{"fulcio", "--url", up.url, "--ct-key", wrongKey}, "nothing was measured"},
		{"expired token", []string{"fulcio", "--url", up.url, "--token-file", token}, "expired"},
		{"token that is none", []string{"fulcio", "--url", up.url, "--token-command", "echo hello"}, "is no JWT"},
		{"token command fails", []string{"fulcio", "--url", up.url, "--token-command", "exit 3"}, "exit status 3"},
		{"no issuer", []string{"fulcio", "--url", up.url, "--issuer", nobody}, "--token-file"},
		{"JSON goes nowhere", []string{"rekor-v1", "--url", up.url, "--json", "/nosuch/file"}, "--json"},
	} {
		t.Run(row.name, func(t *testing.T) {
			out, errs, code := run(t, append([]string{"bench"}, row.args...)...)
			if code != 1 || out != "" || !strings.Contains(errs, row.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q", code, out, errs, row.want)
			}
		})
	}
}
