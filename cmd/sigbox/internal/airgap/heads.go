package airgap

import (
	"bufio"
	"context"
	"crypto"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	tlogpb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/follow"
	format "github.com/sigbox/sigbox/tuf/airgap"
	"github.com/sigbox/sigbox/tuf/clientcache"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// callTimeout is of one question to a log. Entries take as long as they take.
const callTimeout = 30 * time.Second

// logs reads the logs at their addresses.
type logs struct {
	o       ExportOptions
	keys    map[[32]byte]crypto.PublicKey
	dir     string                // for entries
	done    map[string]format.Log // by ID
	entries []content
}

// heads are the heads of all logs that the trusted root names, by ID, and the parts of their entries. A log
// that has an end, and that nobody serves any more, is left out unless the export before had it.
func heads(ctx context.Context, o ExportOptions, got clientcache.Fetched, dir string) (list []format.Log, entries []content, err error) {
	raw := got.Targets[trustroot.TrustedRootName]
	services, err := trustroot.ReadTrustedRoot(raw)
	if err != nil {
		return nil, nil, err
	}
	l := &logs{o: o, dir: dir, done: map[string]format.Log{}}
	if l.keys, err = trustroot.LogKeys(raw); err != nil {
		return nil, nil, err
	}
	need := map[string]string{} // where each is, by key id, and by ID those of the export before
	var at []string
	for _, s := range services {
		if s.Kind != "transparency log" && s.Kind != "CT log" {
			continue
		}
		origin, err := originOf(s.URL)
		if err != nil {
			return nil, nil, err
		}
		if s.Valid.End.IsZero() {
			need[hex.EncodeToString(s.KeyID[:])] = s.URL
		}
		at = append(at, origin)
	}
	if o.LogURLs != nil {
		at = o.LogURLs
	}
	if o.After != nil {
		for _, before := range o.After.Manifest.Logs {
			need[before.ID] = before.Name
		}
	}
	var failed []error
	slices.Sort(at)
	for _, u := range slices.Compact(at) {
		if err := l.ask(ctx, u); err != nil {
			failed = append(failed, fmt.Errorf("logs at %s: %w", u, err))
		}
	}
	found := map[string]bool{}
	for _, d := range l.done {
		found[d.ID], found[d.KeyID] = true, true
	}
	for id, where := range need {
		if !found[id] {
			return nil, nil, errors.Join(append(failed, fmt.Errorf("the log %s (%s) was not found: name where it is served with --log-url", where, id))...)
		}
	}
	for _, d := range l.done {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b format.Log) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(l.entries, func(a, b content) int { return strings.Compare(a.Name, b.Name) })
	return list, l.entries, nil
}

// originOf is where the services of a log are: the scheme and the host of its address.
func originOf(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("the trusted root has a log at %.200q, which is no URL", raw)
	}
	return u.Scheme + "://" + u.Host, nil
}

// ask reads the heads of the logs at an address that are trusted and not read yet.
func (l *logs) ask(ctx context.Context, base string) error {
	conn, err := dial(base, l.o.TLS)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := tlogpb.NewLogsClient(conn)
	short, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	answer, err := client.ListLogs(short, &tlogpb.ListLogsRequest{})
	if err != nil {
		return err
	}
	for _, g := range answer.GetLogs() {
		if len(g.GetKeyId()) != 32 || l.keys[[32]byte(g.GetKeyId())] == nil {
			continue // of no trusted key: nobody inside could verify it
		}
		key := [32]byte(g.GetKeyId())
		log := format.NewLog(g.GetName(), key, g.GetCheckpoint())
		if _, ok := l.done[log.ID]; ok {
			continue
		}
		if log, err = l.head(ctx, client, log, l.keys[key]); err != nil {
			return fmt.Errorf("log %s: %w", g.GetName(), err)
		}
		l.done[log.ID] = log
	}
	return nil
}

func dial(base string, secure *tls.Config) (*grpc.ClientConn, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the URL of a log: want one like https://rekor.example.com", base)
	}
	host := u.Host
	creds := insecure.NewCredentials()
	if u.Scheme == "https" {
		if secure == nil {
			secure = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		creds = credentials.NewTLS(secure)
		if u.Port() == "" {
			host += ":443"
		}
	} else if u.Port() == "" {
		host += ":80"
	}
	return grpc.NewClient("dns:///"+host, grpc.WithTransportCredentials(creds))
}

// head is the head of a log, with the proof that it extends the one before.
func (l *logs) head(ctx context.Context, client tlogpb.LogsClient, out format.Log, key crypto.PublicKey) (format.Log, error) {
	signed, err := out.Head(key)
	if err != nil {
		return out, err
	}
	var before checkpoint.Signed
	if l.o.After != nil {
		for _, b := range l.o.After.Manifest.Logs {
			if b.ID != out.ID {
				continue
			}
			if before, err = b.Head(key); err != nil {
				return out, err
			}
			out.From, out.First, out.FirstRange = before.Size, b.Held, b.Range
		}
	}
	out.Held, out.Range = out.First, out.FirstRange
	if l.o.Entries && signed.Size > out.First {
		if signed, err = l.copyEntries(ctx, client, signed, &out, key); err != nil {
			return out, err
		}
	}
	if out.From == 0 || out.From == signed.Size {
		return out, nil
	}
	short, stop := context.WithTimeout(ctx, callTimeout)
	defer stop()
	answer, err := client.GetConsistencyProof(short, &tlogpb.GetConsistencyProofRequest{Log: out.Name, OldSize: out.From, Size: signed.Size})
	if err != nil {
		return out, err
	}
	out.Proof = answer.GetHashes()
	return out, nil
}

// errEnough ends a stream that has no end.
var errEnough = errors.New("all entries of the checkpoint are there")

// copyEntries writes the entries from First on to a file, and makes the checkpoint the one that covers them.
func (l *logs) copyEntries(ctx context.Context, client tlogpb.LogsClient, head checkpoint.Signed, out *format.Log, key crypto.PublicKey) (checkpoint.Signed, error) {
	v, err := out.Verifier(key)
	if err != nil {
		return head, err
	}
	file := filepath.Join(l.dir, out.ID)
	f, err := os.Create(file)
	if err != nil {
		return head, err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	err = follow.Run(ctx, follow.Config{Client: client, Log: out.Name, Verifier: v, Save: func(_ context.Context, b follow.Batch) error {
		for _, e := range b.Entries {
			if err := format.WriteLeaf(w, e.GetLeaf()); err != nil {
				return err
			}
		}
		signed, err := v.Open(b.State.Checkpoint)
		if err != nil {
			return err
		}
		if b.State.Size == signed.Size && signed.Size >= head.Size {
			head, out.Held, out.Range, out.Checkpoint = signed, signed.Size, b.State.Range, signed.Note
			return errEnough
		}
		return nil
	}}, follow.State{Size: out.First, Range: out.FirstRange})
	if err != nil && !errors.Is(err, errEnough) {
		return head, err
	}
	if err := w.Flush(); err != nil {
		return head, err
	}
	part, err := onDisk("entries/"+out.ID, file)
	l.entries = append(l.entries, part)
	return head, err
}
