package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
)

// TestLogsInPostgreSQL is the life of an instance whose logs are in a PostgreSQL database: made,
// written to, restarted, and refused where the database is named wrong.
func TestLogsInPostgreSQL(t *testing.T) {
	server := pgtest.Shared(t)
	database := server.URL(server.Database(t))
	path := filepath.Join(t.TempDir(), "data")
	create := func(path string) error {
		return instance.Create(path, "127.0.0.1", instance.PostgreSQL, time.Now(), func(d *instance.Dir) error {
			return Create(t.Context(), d, "http://127.0.0.1:1", database, clock.System{}, slog.New(slog.DiscardHandler))
		})
	}
	if err := create(path); err != nil {
		t.Fatal(err)
	}
	var location, head string
	for run := range 2 {
		url, stop := serve(t, path, database)
		if run == 0 {
			location = post(t, url)
			head = fetch(t, url+"/api/v1/log")
		} else if got := fetch(t, url+"/api/v1/log"); got != head {
			t.Errorf("the head changed across a restart:\n%s\n%s", head, got)
		}
		if !strings.Contains(fetch(t, url+location), `"logIndex":2`) {
			t.Errorf("run %d: the entry is not at index 2", run)
		}
		stop()
	}
	for name, url := range map[string]string{"no database": "", "a database without the logs": server.URL(server.Database(t))} {
		if err := open(t, path, url); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if err := create(filepath.Join(t.TempDir(), "other")); err == nil || !strings.Contains(err.Error(), "another instance keeps its logs in this database") {
		t.Errorf("a second instance over one database: %v", err)
	}
}

func open(t *testing.T, path, database string) error {
	t.Helper()
	d, err := instance.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	s, err := Open(t.Context(), Options{Dir: d, URL: "http://127.0.0.1:1", Database: database, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return s.Close()
}

// serve runs an instance until stop is called.
func serve(t testing.TB, path, database string) (url string, stop func()) {
	t.Helper()
	d, err := instance.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ln, _, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url = "http://" + ln.Addr().String()
	s, err := Open(t.Context(), Options{Dir: d, URL: url, Database: database, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()
	return url, func() {
		cancel()
		for _, err := range []error{<-done, s.Close(), d.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// post appends a hashedrekord and returns its Location.
func post(t *testing.T, url string) string {
	t.Helper()
	key, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	digest, sig, err := sign(key, []byte("an artifact"))
	if err != nil {
		t.Fatal(err)
	}
	pub, err := keys.PublicPEM(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256([]byte("an artifact")); !bytes.Equal(digest, want[:]) {
		t.Fatal("not the artifact's digest")
	}
	body, err := json.Marshal(map[string]any{"kind": "hashedrekord", "apiVersion": "0.0.1", "spec": map[string]any{
		"data":      map[string]any{"hash": map[string]any{"algorithm": "sha256", "value": fmt.Sprintf("%x", digest)}},
		"signature": map[string]any{"content": sig, "publicKey": map[string]any{"content": pub}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(url+"/api/v1/log/entries", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %s", res.Status, text)
	}
	return res.Header.Get("Location")
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v %s", url, res.Status, err, text)
	}
	return string(text)
}
