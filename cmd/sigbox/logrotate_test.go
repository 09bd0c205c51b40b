//go:build postgres

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// load posts entries to replicas and reads them back elsewhere, until it is stopped. Whatever is not as
// it should be is an error: there are no tries.
type load struct {
	t    *testing.T
	urls []string
	n    atomic.Int64
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	acked map[string]int64 // virtual indexes by entry id
}

func startLoad(t *testing.T, urls ...string) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{t: t, urls: urls, stop: stop, acked: map[string]int64{}}
	for w := range 4 {
		l.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				l.once(ctx, fmt.Sprintf("%d of writer %d", i, w), urls[(w+i)%len(urls)], urls[(w+i+1)%len(urls)])
			}
		})
	}
	return l
}

// once posts an entry to one replica and reads it from the other.
func (l *load) once(ctx context.Context, text, to, from string) {
	status, body, _, err := answer(context.WithoutCancel(ctx), http.MethodPost, to+"/api/v1/log/entries", bytes.NewReader(entrytest.NewHashedRekord(l.t, []byte(text))))
	var entries map[string]struct{ LogIndex int64 }
	if err != nil || status != http.StatusCreated || json.Unmarshal([]byte(body), &entries) != nil || len(entries) != 1 {
		l.t.Errorf("post %s: %d %s, %v", text, status, body, err)
		return
	}
	for id, e := range entries {
		l.mu.Lock()
		l.acked[id] = e.LogIndex
		l.mu.Unlock()
		l.read(ctx, from, id, e.LogIndex)
	}
	l.n.Add(1)
}

// read reads an entry in each way.
func (l *load) read(ctx context.Context, from, id string, index int64) {
	for _, path := range []string{"/" + id, "/" + id[16:], fmt.Sprintf("?logIndex=%d", index)} {
		status, body, _, err := answer(context.WithoutCancel(ctx), http.MethodGet, from+"/api/v1/log/entries"+path, nil)
		if err != nil || status != http.StatusOK || !strings.Contains(body, id) || !strings.Contains(body, fmt.Sprintf(`"logIndex":%d,"verification"`, index)) {
			l.t.Errorf("read %s: %d %.300s, %v", path, status, body, err)
		}
	}
}

// more waits until some entries more were acknowledged.
func (l *load) more(entries int64) {
	l.t.Helper()
	want := l.n.Load() + entries
	await(l.t, "entries are acknowledged", time.Minute, func() bool { return l.n.Load() >= want })
}

// end stops the load and reads everything that it has appended, everywhere. The virtual indexes are all
// of them, less those of the log's own entries: two in each shard.
func (l *load) end(ctx context.Context, shards int) {
	l.t.Helper()
	l.stop()
	l.done.Wait()
	seen := map[int64]bool{}
	var last int64
	for id, index := range l.acked {
		if seen[index] {
			l.t.Errorf("virtual index %d was given twice", index)
		}
		seen[index], last = true, max(last, index)
		for _, url := range l.urls {
			l.read(ctx, url, id, index)
		}
	}
	if want := int64(len(l.acked) + 2*shards - 1); last != want {
		l.t.Errorf("%d entries in %d shards: the last one has virtual index %d, want %d", len(l.acked), shards, last, want)
	}
}

// TestRotateUnderLoad rotates a log that two replicas write to: by one command, then again by commands
// that are killed after each of their steps and go on. No request fails.
func TestRotateUnderLoad(t *testing.T) {
	s := runningSite(t)
	one, two := s.config(t), s.config(t)
	a, b := s.serve(t, one), s.serve(t, two)
	l := startLoad(t, a.url, b.url)
	l.more(40)
	if out, _ := logs(t, 0, "rotate", "rekor-v1", "--dry-run", "--config", one); !strings.Contains(out, "to do: make rekor-v1-2") {
		t.Errorf("--dry-run: %s", out)
	}
	if _, stderr := logs(t, 1, "rotate", "rekor-v1", "--config", one); !strings.Contains(stderr, "--yes") {
		t.Errorf("without --yes: %s", stderr)
	}
	if out, _ := logs(t, 0, "rotate", "rekor-v1", "--resume", "--yes", "--config", one); !strings.Contains(out, "no rotation of rekor-v1 is under way; rekor-v1 takes entries") {
		t.Errorf("--resume before: %s", out)
	}
	if out, _ := logs(t, 0, "rotate", "rekor-v1", "--yes", "--config", one); !strings.Contains(out, "; rekor-v1-2 takes entries now") {
		t.Errorf("rotate: %s", out)
	}
	l.more(40)
	for i, want := range []string{"made rekor-v1-3", "froze rekor-v1-2 with"} { // killed after either step
		cmd := sigbox(t, "log", "rotate", "rekor-v1", "--yes", "--config", one)
		if i == 1 {
			if _, stderr := logs(t, 1, "rotate", "rekor-v1", "--yes", "--config", one); !strings.Contains(stderr, "Go on with --resume") {
				t.Errorf("a second rotation while one is under way: %s", stderr)
			}
			cmd.Args = append(cmd.Args, "--resume")
		}
		cmd.Env = append(cmd.Env, "SIGBOX_TEST_DIE_AT=1")
		if out, stderr, code := finish(t, cmd); code != -1 || !strings.Contains(out, want) {
			t.Errorf("killed in step %d: %d %s%s", i+1, code, out, stderr)
		}
		l.more(40)
	}
	if out, _ := logs(t, 0, "rotate", "rekor-v1-2", "--resume", "--yes", "--config", one); !strings.Contains(out, "no rotation of rekor-v1-2 is under way; rekor-v1-3 takes entries") {
		t.Errorf("--resume after: %s", out)
	}
	if _, stderr := logs(t, 1, "freeze", "rekor-v1", "--yes", "--config", one); !strings.Contains(stderr, "rekor-v1 was frozen already, and rekor-v1-3 takes entries for it") {
		t.Errorf("freezing a shard of before: %s", stderr)
	}
	// A replica that starts now finds all shards by itself, with the configuration that it had.
	c := s.serve(t, s.config(t))
	l.urls = append(l.urls, c.url)
	l.end(t.Context(), 3)
	for _, url := range l.urls {
		var info struct{ InactiveShards []struct{ TreeSize int64 } }
		if err := json.Unmarshal([]byte(get(t, url+"/api/v1/log")), &info); err != nil || len(info.InactiveShards) != 2 {
			t.Errorf("loginfo: %+v, %v", info, err)
		}
		if _, body := readyz(t, url); body.Status != "ok" || body.Checks["log rekor-v1-2"] != "frozen" || body.Checks["log rekor-v1-3"] != "ok" {
			t.Errorf("readyz: %+v", body)
		}
	}
	if out, _ := logs(t, 0, "fsck", "--config", one); strings.Count(out, ": ok: ") != 5 {
		t.Errorf("fsck: %s", out)
	}
	list := listLogs(t, "--config", one)
	if list["rekor-v1-3"].KeyID != list["rekor-v1"].KeyID || list["rekor-v1-2"].State != "frozen" || list["rekor-v1-3"].State != "active" {
		t.Errorf("list: %+v", list)
	}
}

// TestRotateRace: two operators rotate at a time. The log gets one new shard, or one after the other, and
// never two that go on for the same.
func TestRotateRace(t *testing.T) {
	s := runningSite(t)
	file := s.config(t)
	var wg sync.WaitGroup
	var ok atomic.Int64
	for range 3 {
		wg.Go(func() {
			if _, _, code := finish(t, sigbox(t, "log", "rotate", "rekor-v1", "--yes", "--config", file)); code == 0 {
				ok.Add(1)
			}
		})
	}
	wg.Wait()
	active := 0
	for name, l := range listLogs(t, "--config", file) {
		if strings.HasPrefix(name, "rekor-v1") && l.State == "active" {
			active++
		}
	}
	if ok.Load() == 0 || active != 1 {
		t.Errorf("%d rotations went well, %d shards take entries", ok.Load(), active)
	}
}

// TestRotateUp rotates the logs of an instance that runs, which has the data directory and the guard: under
// load, over a kill and a restart.
func TestRotateUp(t *testing.T) {
	data := newData(t)
	listen := freeAddr(t)
	r := start(t, "--listen", listen, "--data", data)
	l := startLoad(t, r.url, r.url)
	l.more(20)
	if out, _ := logs(t, 0, "rotate", "rekor-v1", "--yes", "--data", data); !strings.Contains(out, "; rekor-v1-2 takes entries now") {
		t.Errorf("rotate: %s", out)
	}
	l.more(20)
	cmd := sigbox(t, "log", "rotate", "rekor-v1", "--yes", "--data", data)
	cmd.Env = append(cmd.Env, "SIGBOX_TEST_DIE_AT=1")
	if out, stderr, code := finish(t, cmd); code != -1 {
		t.Errorf("killed: %d %s%s", code, out, stderr)
	}
	l.more(20)
	l.end(t.Context(), 2)
	r.stop(t, syscall.SIGKILL)
	r = start(t, "--listen", listen, "--data", data)
	if out, _ := logs(t, 0, "rotate", "rekor-v1", "--resume", "--yes", "--data", data); !strings.Contains(out, "; rekor-v1-3 takes entries now") {
		t.Errorf("--resume: %s", out)
	}
	logs(t, 0, "rotate", "rekor-v2", "--yes", "--data", data)
	await(t, "the key of the new shard is published", 20*time.Second, func() bool {
		_, _, code := finish(t, sigbox(t, "log", "rotate", "rekor-v2", "--resume", "--yes", "--soak", "0s", "--data", data))
		return code == 0
	})
	added(t, r.url+"/api/v2/log/entries", v2Entry(t, "after"))
	added(t, r.url+"/api/v1/log/entries", entrytest.NewHashedRekord(t, []byte("after")))
	if code := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.stderr)
	}
	r = start(t, "--listen", listen, "--data", data)
	if note := get(t, r.url+"/api/v2/checkpoint"); !strings.HasPrefix(note, "127.0.0.1\n3\n") {
		t.Errorf("after a restart: %s", note)
	}
	for id, index := range l.acked {
		l.read(t.Context(), r.url, id, index)
	}
	if out, _ := logs(t, 0, "fsck", "--data", data); strings.Count(out, ": ok: ") != 6 {
		t.Errorf("fsck: %s", out)
	}
}
