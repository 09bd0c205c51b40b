package setup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

// makeLogs makes the logs that are not in the database, each with its first entries. The guard is asked
// only for those, since serve may be running and have it.
func (b *builder) makeLogs(ctx context.Context) error {
	cfg, err := b.loadConfig()
	if err != nil {
		return err
	}
	there, err := logTimes(ctx, cfg)
	if err != nil {
		return err
	}
	for _, l := range cfg.TLog.Logs() {
		if _, is := there[l.Name]; is {
			continue
		}
		made, err := makeLog(ctx, cfg, string(l.Name))
		if err != nil {
			return fmt.Errorf("log %s: %w", l.Name, err)
		}
		if err := b.say("made log %s: origin %q, %d entries", made.Name, made.Origin, made.Size); err != nil {
			return err
		}
	}
	return nil
}

func makeLog(ctx context.Context, cfg *config.Config, name string) (made stack.LogState, err error) {
	logs, err := stack.OpenConfiguredLogs(ctx, cfg)
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	return logs.Create(ctx, name)
}

// logTimes are the logs that are there, and when they were made.
func logTimes(ctx context.Context, cfg *config.Config) (created map[config.Name]time.Time, err error) {
	logs, err := stack.OpenConfiguredLogs(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	list, err := logs.List(ctx)
	created = map[config.Name]time.Time{}
	for _, l := range list {
		created[config.Name(l.Name)] = time.UnixMilli(l.CreatedMS)
	}
	return created, err
}

// servedLogs are the configured logs and the shards that go on for them.
func servedLogs(ctx context.Context, cfg *config.Config) (served []stack.ServedLog, err error) {
	logs, err := stack.OpenConfiguredLogs(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, logs.Close()) }()
	return logs.Served(ctx)
}
