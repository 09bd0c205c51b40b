package clientcache

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	legacy "github.com/theupdateframework/go-tuf/client"
	leveldb "github.com/theupdateframework/go-tuf/client/leveldbstore"
)

// fillLegacy runs a go-tuf 0.7 client from root and leaves in dir what its generation of Sigstore
// clients reads: tuf.db, and every target under its escaped name in targets/. The library that
// those clients wrap around it (sigstore/pkg/tuf) keeps one client per process and takes its
// directory from the environment, so it is used in tests only.
func fillLegacy(f *fetcher, dir, mirror string, root []byte) error {
	remote, err := legacy.HTTPRemoteStore(mirror, &legacy.HTTPRemoteOptions{UserAgent: "sigbox"}, f.client)
	if err != nil {
		return err
	}
	local := legacy.MemoryLocalStore()
	client := legacy.NewClient(local, remote)
	if err := client.Init(root); err != nil {
		return fmt.Errorf("legacy client: root.json: %w", err)
	}
	targets, err := client.Update()
	if err != nil {
		return fmt.Errorf("legacy client: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, targetsName), 0o700); err != nil {
		return err
	}
	for name := range targets {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		var content buffer
		if err := client.Download(name, &content); err != nil {
			return fmt.Errorf("legacy client: target %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, targetsName, url.PathEscape(name)), content.Bytes(), 0o600); err != nil {
			return err
		}
	}
	meta, err := local.GetMeta()
	if err != nil {
		return fmt.Errorf("legacy client: %w", err)
	}
	return writeDB(filepath.Join(dir, dbName), meta)
}

func writeDB(path string, meta map[string]json.RawMessage) (err error) {
	db, err := leveldb.FileLocalStore(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err) // on error the store is not usable, not even to close it
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for name, raw := range meta {
		if err := db.SetMeta(name, raw); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// readDB returns the metadata of a legacy cache, nil if there is none.
func readDB(path string) (meta map[string]json.RawMessage, err error) {
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	db, err := leveldb.FileLocalStore(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return db.GetMeta()
}

// buffer is a legacy download destination in memory.
type buffer struct{ bytes.Buffer }

func (b *buffer) Delete() error {
	b.Reset()
	return nil
}
