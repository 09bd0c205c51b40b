package pgstore_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/logtest"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

type ent struct {
	id   [32]byte
	data []byte
}

func (e *ent) Identity() [32]byte                          { return e.id }
func (e *ent) Encode(int64, int64) ([]byte, []byte, error) { return e.data, e.data, nil }
func (e *ent) Keys() [][]byte                              { return [][]byte{e.id[:], e.data[:32], e.data[32:64]} }
func newEnt() *ent {
	e := &ent{data: make([]byte, 1024)}
	rand.Read(e.data)
	e.id = sha256.Sum256(e.data)
	return e
}
func TestPhases(t *testing.T) {
	for _, writers := range []int{1, 64, 256} {
		store := newStore(t)
		var mu sync.Mutex
		sum := map[string][]time.Duration{}
		last := time.Now()
		lastp := "start"
		hook := func(p string) error {
			mu.Lock()
			defer mu.Unlock()
			n := time.Now()
			k := lastp + " > " + p
			sum[k] = append(sum[k], n.Sub(last))
			last = n
			lastp = p
			return nil
		}
		cfg := logtest.Config(t, func(c *tlog.Config) { c.Hook = hook })
		if err := tlog.Create(t.Context(), store, cfg, nil); err != nil {
			t.Fatal(err)
		}
		store.UseHook(hook)
		log := logtest.Open(t, store, cfg)
		n := 4000
		if writers > 1 {
			n = 40000
		}
		if writers == 1 {
			n = 1500
		}
		ch := make(chan *ent, n)
		for range n {
			ch <- newEnt()
		}
		close(ch)
		b := time.Now()
		var r0, r1 syscall.Rusage
		syscall.Getrusage(0, &r0)
		p0 := pgcpu()
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for e := range ch {
					if _, err := log.Append(t.Context(), e); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		syscall.Getrusage(0, &r1)
		own := time.Duration(r1.Utime.Nano() + r1.Stime.Nano() - r0.Utime.Nano() - r0.Stime.Nano())
		fmt.Printf("== CPU per entry: own %v, postgres %v\n", own/time.Duration(n), (pgcpu()-p0)/time.Duration(n))
		fmt.Printf("== %d writers: %.0f/s\n", writers, float64(n)/time.Since(b).Seconds())
		var keys []string
		for k := range sum {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		for _, k := range keys {
			v := sum[k]
			if len(v) < 5 {
				continue
			}
			sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
			fmt.Printf("%-50s n=%d p50=%v p90=%v\n", k, len(v), v[len(v)/2].Round(time.Microsecond), v[len(v)*9/10].Round(time.Microsecond))
		}
	}
}

func pgcpu() time.Duration {
	ps, _ := filepath.Glob("/proc/[0-9]*/stat")
	t := 0
	for _, p := range ps {
		b, err := os.ReadFile(p)
		if err != nil || !strings.Contains(string(b), "(postgres)") {
			continue
		}
		f := strings.Fields(string(b)[strings.LastIndex(string(b), ")")+1:])
		u, _ := strconv.Atoi(f[11])
		s, _ := strconv.Atoi(f[12])
		t += u + s
	}
	return time.Duration(t) * 10 * time.Millisecond
}
