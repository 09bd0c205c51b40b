package stack

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tuf/statement"
)

// startSlack is how long before its log was made a key is valid: for clients whose clocks are behind.
const startSlack = time.Hour

// logRoles are the roles of logs by their faces.
var logRoles = map[string]statement.Role{config.FaceRekorV1: statement.RekorV1, config.FaceRekorV2: statement.RekorV2, config.FaceCT: statement.CT}

// LogStatements are what the tlog of a configuration says about its keys at a time. created is when each
// configured log was made, by its name. Shards that share a key have one statement, with the origin of the
// first one, so that a new shard is no news.
func LogStatements(cfg *config.Config, logs []ServedLog, created map[config.Name]time.Time, now time.Time) (list [][]byte, err error) {
	start := map[[32]byte]time.Time{}
	for _, l := range logs {
		at := l.Created
		if at.IsZero() {
			at = created[l.Name]
		}
		id := l.Config.Signer.Verifier().KeyID()
		if at = at.Add(-startSlack); start[id].IsZero() || at.Before(start[id]) {
			start[id] = at
		}
	}
	done := map[[32]byte]bool{}
	for _, l := range logs {
		id := l.Config.Signer.Verifier().KeyID()
		if done[id] {
			continue
		}
		done[id] = true
		raw, err := state(cfg, statement.Statement{
			Role: logRoles[l.Face], URL: l.url(string(cfg.TLog.PublicURL)), Origin: l.Config.Registered(), Key: l.Signer.Public(), ValidFrom: start[id],
		}, l.Signer, now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.Section, err)
		}
		list = append(list, raw)
	}
	return list, nil
}

// CAStatements are what the ca of a configuration says about its keys at a time. trusted are the
// issuers that it takes tokens of.
func CAStatements(cfg *config.Config, trusted *oidc.Config, now time.Time) (list [][]byte, err error) {
	say := func(role statement.Role, url string, key config.KeyFile, chainFile config.File, issuers []string) error {
		signer, err := loadKey(key)
		if err != nil {
			return err
		}
		chain, err := readChain(string(chainFile))
		if err != nil {
			return err
		}
		raw, err := state(cfg, statement.Statement{Role: role, URL: url, Chain: chain, Issuers: issuers, ValidFrom: chain[0].NotBefore}, signer, now)
		list = append(list, raw)
		return err
	}
	c := cfg.CA
	if err := say(statement.CA, string(c.PublicURL), c.Key, c.Chain, people(trusted)); err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	if c.TSA != nil {
		if err := say(statement.TSA, string(c.PublicURL)+tsaPath, c.TSA.Key, c.TSA.Chain, nil); err != nil {
			return nil, fmt.Errorf("ca.tsa: %w", err)
		}
	}
	return list, nil
}

// maxNamed bounds the issuers that clients are told of.
const maxNamed = 16

// people are the issuers that people sign in with: those that clients may ask for a token.
func people(trusted *oidc.Config) (urls []string) {
	for _, i := range trusted.Issuers {
		if i.Type == oidc.TypeEmail && !i.Meta && !strings.HasSuffix(i.URL, "/") && len(urls) < maxNamed {
			urls = append(urls, i.URL)
		}
	}
	return urls
}

func state(cfg *config.Config, s statement.Statement, key crypto.Signer, now time.Time) ([]byte, error) {
	s.Instance = string(cfg.Instance)
	s.Made, s.ValidFrom = now.UTC().Truncate(time.Second), s.ValidFrom.UTC().Truncate(time.Second)
	return statement.Sign(s, key)
}

// tell hands out the statements of a service: to its peers, to a directory, to a tuf in this process.
func (s *Server) tell(ctx context.Context, service string, dir config.Dir, list [][]byte) error {
	if dir != "" {
		if err := WriteStatements(string(dir), list); err != nil {
			return fmt.Errorf("%s.statements: %w", service, err)
		}
		s.log.InfoContext(ctx, "trust statements written", "service", service, "directory", dir, "statements", len(list))
	}
	s.statements.set(service, list)
	return nil
}

// said is what the services of a process say about their keys.
type said struct {
	mu   sync.Mutex
	list map[string][][]byte // by service
}

func (s *said) set(service string, list [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = map[string][][]byte{}
	}
	s.list[service] = list
}

func (s *said) of(service string) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.list[service]
}

func (s *said) services() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.list))
}

// WriteStatements writes statements into a directory, one file each, which is named after role and key.
// A file that says the same already is left alone, whenever it was made, so that replicas and restarts
// change nothing.
func WriteStatements(dir string, list [][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, raw := range list {
		s, err := statement.Open(raw)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, StatementFile(s))
		said, err := Said(path, s)
		if err != nil {
			return err
		}
		if said {
			continue
		}
		if err := instance.WriteFile(path, raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// StatementFile is the name of the file of a statement.
func StatementFile(s statement.Statement) string {
	id := s.KeyID()
	return fmt.Sprintf("%s-%x.json", s.Role, id[:8])
}

// Said says whether a file holds a statement that says the same, whenever it was made. A file that is not
// there, or that is no statement, does not.
func Said(path string, s statement.Statement) (bool, error) {
	old, err := ReadBounded(path, statement.MaxSize+2)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	said, err := statement.Open(bytes.TrimSpace(old))
	return err == nil && said.Same(s), nil
}
