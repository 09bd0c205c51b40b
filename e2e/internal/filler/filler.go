// Package filler makes a log large, through the log engine and with nothing before it: no HTTP, no
// parsing of requests. What it logs are real entries, each with a signature of its own that verifies,
// so that fsck and searches have the work that they have in life.
package filler

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/fileguard"
	"github.com/sigbox/sigbox/tlog/pgstore"
)

// The logs that can be filled, by their names in an instance.
const (
	RekorV1 = "rekor-v1"
	RekorV2 = "rekor-v2"
)

const (
	maxBatch   = 4096 // entries in one commit
	maxPending = 2 * maxBatch
)

// Entries makes distinct entries for a log, the same ones for the same seed.
type Entries struct {
	log  string
	seed uint64
	key  *ecdsa.PrivateKey
	der  []byte // SubjectPublicKeyInfo
	pem  []byte
}

// NewEntries returns the entries of a seed.
func NewEntries(log string, seed uint64) (*Entries, error) {
	scalar := sha256.Sum256([]byte("sigbox filler"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &Entries{log: log, seed: seed, key: key, der: der, pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}, nil
}

// Entry is a canonical body with the search keys that its log gives it.
type Entry struct{ entry.Base }

// New makes the i-th entry.
func (e *Entries) New(i int64) (*Entry, error) {
	seed := binary.BigEndian.AppendUint64(nil, e.seed)
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(seed, uint64(i)))
	sig, err := e.key.Sign(nil, digest[:], crypto.SHA256) // RFC 6979: the same each time
	if err != nil {
		return nil, err
	}
	b64 := base64.StdEncoding.EncodeToString
	if e.log == RekorV2 {
		return &Entry{entry.NewBase(fmt.Appendf(nil, `{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":"%s"},`+
			`"signature":{"content":"%s","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","publicKey":{"rawBytes":"%s"}}}}}}`,
			b64(digest[:]), b64(sig), b64(e.der)), nil)}, nil
	}
	value, fingerprint := hex.EncodeToString(digest[:]), sha256.Sum256(e.pem)
	body := fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256","value":"%s"}},`+
		`"signature":{"content":"%s","publicKey":{"content":"%s"}}}}`, value, b64(sig), b64(e.pem))
	return &Entry{entry.NewBase(body, []string{hex.EncodeToString(fingerprint[:]), "sha256:" + value})}, nil
}

// Log is a log of an instance that is not running.
type Log struct {
	*tlog.Engine
	name  string
	db    *pg.DB
	guard *fileguard.Guard
	stop  context.CancelFunc
	done  chan error
}

// Open opens a log of the instance in a data directory, with the instance's own keys and guard.
// database is where the instance keeps its logs. Batches are larger than those of a server, unless
// options say something else.
func Open(ctx context.Context, data, database, name string, options ...func(*tlog.Config)) (_ *Log, err error) {
	l := &Log{name: name, done: make(chan error, 1)}
	// A batch is some times larger than a server's: it may take longer.
	l.db, err = pg.Open(ctx, pg.Config{URL: database, Schema: "tlog", StatementTimeout: time.Minute})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.guard, err = fileguard.Open(filepath.Join(data, "guard")); err != nil {
		return nil, err
	}
	store, err := pgstore.Open(ctx, l.db, name)
	if err != nil {
		return nil, err
	}
	d, err := store.Describe(ctx)
	if err != nil {
		return nil, err
	}
	key, err := keys.Load(filepath.Join(data, "keys", name+".pem"))
	if err != nil {
		return nil, err
	}
	host, _, _ := strings.Cut(d.Origin, " - ") // what signs a v1 log, whose origin has its tree id too
	signer, err := checkpoint.NewSigner(host, d.Origin, key)
	if err != nil {
		return nil, err
	}
	cfg := tlog.Config{Name: name, Face: d.Face, Signer: signer, Guard: l.guard, MaxBatch: maxBatch, MaxPending: maxPending}
	for _, o := range options {
		o(&cfg)
	}
	if l.Engine, err = tlog.Open(ctx, store, cfg); err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go func() { l.done <- l.Run(running) }()
	return l, nil
}

// Close commits what waits and closes the log.
func (l *Log) Close() error {
	l.stop()
	return errors.Join(<-l.done, l.close())
}

func (l *Log) close() error {
	var err error
	if l.guard != nil {
		err = l.guard.Close()
	}
	l.db.Close()
	return err
}

// Fill appends entries until the log has size of them, and returns how many it appended. It can be
// stopped and called again. Progress is called now and then with the log's size.
func (l *Log) Fill(ctx context.Context, size int64, progress func(now int64)) (int64, error) {
	cp, err := l.Checkpoint(ctx)
	if err != nil || cp.Size >= size {
		return 0, err
	}
	entries, err := NewEntries(l.name, uint64(cp.Size)) // so that a second call makes others
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var writers sync.WaitGroup
	for range maxPending {
		writers.Go(func() {
			for i := next.Add(1) - 1; cp.Size+i < size && ctx.Err() == nil; i = next.Add(1) - 1 {
				e, err := entries.New(i)
				if err == nil {
					_, err = l.Append(ctx, e)
				}
				if err != nil {
					cancel(fmt.Errorf("fill log %s, entry %d: %w", l.name, i, err))
					return
				}
				if n := done.Add(1); n%10_000 == 0 {
					progress(cp.Size + n)
				}
			}
		})
	}
	writers.Wait()
	return done.Load(), context.Cause(ctx)
}
