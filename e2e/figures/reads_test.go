package figures

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/filler"
)

// read gets n entries of the Rekor v1 log at random places with their inclusion proofs, and searches
// for each by its hash, one request at a time. It returns the latencies of both.
func (i *testInstance) read(t *testing.T, n int) (search, proof Latency) {
	t.Helper()
	size := i.size(t, filler.RekorV1)
	client := &http.Client{Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	var searches, proofs []time.Duration
	for range n {
		index := rand.Int64N(size)
		body, took := request(t, client, http.MethodGet, fmt.Sprintf("%s/api/v1/log/entries?logIndex=%d", i.running.URL, index), nil)
		proofs = append(proofs, took)
		uuid, hash := entryOf(t, body)
		query, _ := json.Marshal(map[string]string{"hash": hash}) // a string
		body, took = request(t, client, http.MethodPost, i.running.URL+"/api/v1/index/retrieve", query)
		searches = append(searches, took)
		var found []string
		if err := json.Unmarshal(body, &found); err != nil || len(found) != 1 || found[0] != uuid {
			t.Fatalf("search for %s found %s, want %s (%v)", hash, body, uuid, err)
		}
	}
	return newLatency(searches), newLatency(proofs)
}

func request(t *testing.T, c *http.Client, method, url string, body []byte) ([]byte, time.Duration) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	started := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	took := time.Since(started)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: status %d, %v: %s", method, url, resp.StatusCode, err, answer)
	}
	return answer, took
}

// entryOf returns the UUID of an entry and the hash of its artifact, as searches name it.
func entryOf(t *testing.T, answer []byte) (uuid, hash string) {
	t.Helper()
	var got map[string]struct {
		Body []byte `json:"body"`
	}
	if err := json.Unmarshal(answer, &got); err != nil || len(got) != 1 {
		t.Fatalf("want one entry, have %s (%v)", answer, err)
	}
	for id, e := range got {
		var body struct {
			Spec struct {
				Data struct {
					Hash struct{ Algorithm, Value string }
				}
			}
		}
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatal(err)
		}
		h := body.Spec.Data.Hash
		uuid, hash = id, h.Algorithm+":"+h.Value
	}
	return uuid, hash
}
