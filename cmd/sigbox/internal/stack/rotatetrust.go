package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/tlog/shardpath"
	"github.com/sigbox/sigbox/tuf"
	tufpgstore "github.com/sigbox/sigbox/tuf/pgstore"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/sqlstore"
	"github.com/sigbox/sigbox/tuf/statement"
)

// ErrNotPublished says that clients cannot know the key of the next shard yet.
var ErrNotPublished = errors.New("not published")

// publishedKey is a log in a published trust root.
type publishedKey struct {
	id  [32]byte
	url string
}

// Published says since when clients can know the key of the next shard: since it was first seen in the
// published trust root, by this or an earlier call. trustedRoot is a trusted_root.json as clients have it;
// "" looks into the repository of the configuration. A shard that keeps the key of the one before it has
// always been published.
func (l *Logs) Published(ctx context.Context, r *Rotation, trustedRoot string, c clock.Clock) (time.Time, error) {
	if r.Key == "" {
		return time.Time{}, nil
	}
	list, err := l.publishedKeys(ctx, trustedRoot)
	if err != nil {
		return time.Time{}, err
	}
	urls := map[[32]byte]string{}
	for _, k := range list {
		urls[k.id] = k.url
	}
	if err := r.published(urls[r.From.KeySHA256], urls[r.To.KeySHA256]); err != nil {
		return time.Time{}, err
	}
	return firstSeen(r.Key+".published", c.Now())
}

// published holds where the trust root has the two shards, "" for nowhere, against where they are read.
func (r *Rotation) published(from, to string) error {
	if to == "" {
		return fmt.Errorf("%w: the trust root does not have the key of %s yet", ErrNotPublished, r.To.Name)
	}
	fromWant, toWant := to+shardpath.Of(r.From.KeySHA256), to
	if host := r.OwnHost(); host != "" {
		fromWant, toWant = atHost(from, originOf(r.From.Description)), atHost(to, host)
	}
	switch {
	case to != toWant:
		return fmt.Errorf("%w: the trust root has %s at %s, and it will be at %s", ErrNotPublished, r.To.Name, to, toWant)
	case from == "":
		return fmt.Errorf("%w: the trust root does not have the key of %s", ErrNotPublished, r.From.Name)
	case from != fromWant:
		return fmt.Errorf("%w: the trust root has %s at %s, and it will be at %s", ErrNotPublished, r.From.Name, from, fromWant)
	}
	return nil
}

// firstSeen keeps the time of its first call in a file.
func firstSeen(path string, now time.Time) (time.Time, error) {
	raw, err := os.ReadFile(path)
	if err == nil {
		at, err := time.Parse(time.RFC3339, string(bytes.TrimSpace(raw)))
		if err != nil {
			return at, fmt.Errorf("%s holds no time, remove it to begin the wait anew: %w", path, err)
		}
		return at, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, err
	}
	now = now.UTC().Truncate(time.Second)
	return now, instance.WriteFile(path, []byte(now.Format(time.RFC3339)+"\n"), 0o644)
}

func (l *Logs) publishedKeys(ctx context.Context, trustedRoot string) (list []publishedKey, err error) {
	if trustedRoot != "" {
		return readTrustedRoot(trustedRoot)
	}
	if l.trust == nil {
		return nil, fmt.Errorf("%s has no section tuf: name a trusted_root.json as clients have it, with --trusted-root", l.where)
	}
	rec, err := l.trust(ctx)
	if err != nil {
		return nil, fmt.Errorf("look into the TUF repository: %w; or name a trusted_root.json as clients have it, with --trusted-root", err)
	}
	for _, k := range rec.Keys {
		if k.Role == statement.RekorV2 {
			list = append(list, publishedKey{k.ID(), k.URL})
		}
	}
	return list, nil
}

func readTrustedRoot(path string) (list []publishedKey, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--trusted-root: %w", err)
	}
	var root pb.TrustedRoot
	if err := protojson.Unmarshal(raw, &root); err != nil {
		return nil, fmt.Errorf("--trusted-root: %s is no trusted_root.json", path)
	}
	for _, g := range root.GetTlogs() {
		if id := g.GetLogId().GetKeyId(); len(id) == 32 {
			list = append(list, publishedKey{[32]byte(id), g.GetBaseUrl()})
		}
	}
	return list, nil
}

// publishedRecord is the record of the current set of a repository.
func publishedRecord(ctx context.Context, store tuf.Store) (record.Record, error) {
	all, err := store.Load(ctx)
	if err != nil {
		return record.Record{}, err
	}
	return record.Parse(all.Current.Record)
}

// instanceTrust looks into the repository of an instance.
func instanceTrust(db *databases) func(context.Context) (record.Record, error) {
	return func(ctx context.Context) (record.Record, error) { return publishedRecord(ctx, sqlstore.New(db.file)) }
}

// configuredTrust looks into the repository of a configuration.
func configuredTrust(cfg *config.Config) func(context.Context) (record.Record, error) {
	return func(ctx context.Context) (record.Record, error) {
		db, err := openTUFDatabase(ctx, cfg.TUF.Database, slog.New(slog.DiscardHandler))
		if err != nil {
			return record.Record{}, err
		}
		defer db.Close()
		return publishedRecord(ctx, tufpgstore.New(db))
	}
}
