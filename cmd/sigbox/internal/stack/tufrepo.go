package stack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pg"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	tufpgstore "github.com/sigbox/sigbox/tuf/pgstore"
	"github.com/sigbox/sigbox/tuf/record"
)

// TUFRepo is the repository of a configuration, with the keys of snapshot and timestamp, and the inbox
// of trust statements beside it.
type TUFRepo struct {
	Repo  *tuf.Repository
	Inbox record.Inbox
	Keys  tuf.Keys
	DB    *pg.DB

	cfg   *config.Config
	clock clock.Clock
	log   *slog.Logger
}

// OpenTUF opens the repository of a configuration, which must have a section tuf and the id of its
// instance. There may be no set in it yet. What is published reaches the directory of tuf.mirror through
// serve alone, since one process at a time writes that.
func OpenTUF(ctx context.Context, cfg *config.Config, c clock.Clock, log *slog.Logger) (*TUFRepo, error) {
	return openTUF(ctx, cfg, c, log, nil)
}

// openTUF is OpenTUF with a mirror, nil for none.
func openTUF(ctx context.Context, cfg *config.Config, c clock.Clock, log *slog.Logger, mirror tuf.Mirror) (_ *TUFRepo, err error) {
	if cfg.TUF == nil {
		return nil, fmt.Errorf("%s has no section tuf: there is no repository to work on", cfg.File())
	}
	if cfg.Instance == "" {
		return nil, fmt.Errorf("%s does not say which instance it is: set the key instance to the id that sigbox init made, 32 hex digits", cfg.File())
	}
	t := &TUFRepo{cfg: cfg, clock: c, log: log}
	for _, k := range []struct {
		key  string
		file config.KeyFile
		to   *crypto.Signer
	}{{"tuf.snapshot_key", cfg.TUF.Snapshot, &t.Keys.Snapshot}, {"tuf.timestamp_key", cfg.TUF.Timestamp, &t.Keys.Timestamp}} {
		if *k.to, err = loadKey(k.file); err != nil {
			return nil, fmt.Errorf("%s: %w", k.key, err)
		}
	}
	if t.DB, err = openTUFDatabase(ctx, cfg.TUF.Database, log); err != nil {
		return nil, fmt.Errorf("tuf.database: %w", err)
	}
	store := tufpgstore.New(t.DB)
	t.Repo = tuf.New(tuf.Config{Store: store, Keys: t.Keys, Lifetimes: tuf.Production(), Mirror: mirror, Clock: c, Log: log})
	t.Inbox = record.Inbox{Store: store, Instance: string(cfg.Instance), Operator: cfg.TUF.PublicURL.URL().Hostname()}
	return t, nil
}

func openTUFDatabase(ctx context.Context, d *config.Database, log *slog.Logger) (*pg.DB, error) {
	db, err := openDatabase(ctx, d, "tuf", log)
	if err != nil {
		return nil, err
	}
	if err := db.CheckWriter(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// Close gives the database back.
func (t *TUFRepo) Close() { t.DB.Close() }

// Current returns the current set, zero if there is none, and its record.
func (t *TUFRepo) Current(ctx context.Context) (tuf.Release, record.Record, error) {
	cur, err := t.Repo.Current(ctx)
	if err != nil {
		return tuf.Release{}, record.Record{}, err
	}
	rec, err := t.Inbox.Current(cur)
	return cur, rec, err
}

// Receive puts statements that a sender ("ca", "tlog", or record.File for a person) brought into the
// inbox, and logs what is new and what is refused. The same ones again change and log nothing.
func (t *TUFRepo) Receive(ctx context.Context, sender string, envelopes [][]byte) ([]record.Outcome, error) {
	_, rec, err := t.Current(ctx)
	if err != nil {
		return nil, err
	}
	out, err := t.Inbox.Receive(ctx, rec, sender, envelopes, t.clock.Now())
	for _, o := range out {
		id := o.Statement.KeyID()
		switch {
		case o.Err != nil:
			t.log.WarnContext(ctx, "trust statement refused", "sender", sender, "role", o.Statement.Role, "error", o.Err)
		case o.New:
			t.log.InfoContext(ctx, "trust statement waits for the holders of the targets keys: sigbox tuf request",
				"sender", sender, "role", o.Statement.Role, "url", o.Statement.URL, "key", fmt.Sprintf("%x", id[:8]))
		}
	}
	return out, err
}

// replaced are the keys of snapshot and timestamp that rotations under way are to replace, as the journal beside the
// configuration has them; nil for none. One whose file is gone is left out.
func (t *TUFRepo) replaced() (*tuf.Keys, error) {
	j, _, err := rotation.File{Path: filepath.Join(filepath.Dir(t.cfg.File()), "rotations.json")}.Read()
	if err != nil {
		return nil, err
	}
	var out *tuf.Keys
	for _, k := range []struct {
		kind string
		file config.KeyFile
		to   func(*tuf.Keys) *crypto.Signer
	}{
		{roleTUFSnapshot, t.cfg.TUF.Snapshot, func(k *tuf.Keys) *crypto.Signer { return &k.Snapshot }},
		{roleTUFTimestamp, t.cfg.TUF.Timestamp, func(k *tuf.Keys) *crypto.Signer { return &k.Timestamp }},
	} {
		r := j.Kind(k.kind).Rotation
		if r == nil || strings.HasPrefix(string(k.file), "$") {
			continue
		}
		path, err := k.file.Path()
		if err != nil {
			return nil, err
		}
		old, err := keys.Load(NumberedFile(path, r.From))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = &tuf.Keys{}
		}
		*k.to(out) = old
	}
	return out, nil
}

// NumberedFile is the file of a number beside another one: key.pem, key-2.pem, key-3.pem.
func NumberedFile(path string, n int) string {
	ext := filepath.Ext(path)
	base := strings.TrimSuffix(path, ext)
	if i := strings.LastIndexByte(base, '-'); i > 0 {
		if _, err := strconv.ParseUint(base[i+1:], 10, 16); err == nil {
			base = base[:i]
		}
	}
	if n == 1 {
		return base + ext
	}
	return fmt.Sprintf("%s-%d%s", base, n, ext)
}
