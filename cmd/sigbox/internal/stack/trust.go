package stack

import (
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/sqlstore"
	"github.com/sigbox/sigbox/tuf/statement"

	"log/slog"
)

// tufPrefix is where the repository is served; clients are given URL + tufPrefix as mirror.
const tufPrefix = "/tuf"

// tsaPath is the full path of the timestamp authority: Go and Java clients post to the URL of the
// signing configuration as it stands.
const tsaPath = "/api/v1/timestamp"

// trustEdition composes what clients of the instance at url trust, in a record that follows that of the
// current set. The keys state what they are as those of separate services do, so that the record is
// backed and the instance can be moved to ceremonies.
func trustEdition(cur tuf.Release, info instance.Info, url string, m *material, served []ServedLog, now time.Time) (tuf.Edition, error) {
	rec := record.New(info.ID, info.Host)
	if cur.Record != nil {
		var err error
		if rec, err = record.Parse(cur.Record); err != nil {
			return tuf.Edition{}, err
		}
	}
	list := []statement.Statement{
		{Role: statement.CA, URL: url, Chain: m.caChain, Issuers: []string{url}},
		{Role: statement.TSA, URL: url + tsaPath, Chain: m.tsaChain},
	}
	done := map[[32]byte]bool{}
	for _, l := range served {
		id := l.Config.Signer.Verifier().KeyID()
		if done[id] { // a shard with the key of the one before it
			continue
		}
		done[id] = true
		s := statement.Statement{Role: logRoles[l.Face], URL: l.url(url), Key: l.Signer.Public(), Origin: l.Config.Registered()}
		if !l.Created.IsZero() {
			s.ValidFrom = l.Created.Add(-startSlack).UTC().Truncate(time.Second)
		}
		list = append(list, s)
	}
	var err error
	for _, s := range list {
		s.Instance = info.ID
		if s.ValidFrom.IsZero() {
			s.ValidFrom = info.Created.Add(-startSlack).UTC().Truncate(time.Second) // for clients whose clocks are behind
		}
		if len(s.Chain) > 0 && s.ValidFrom.Before(s.Chain[0].NotBefore) {
			s.ValidFrom = s.Chain[0].NotBefore
		}
		if rec, err = rec.State(s, now); err != nil {
			return tuf.Edition{}, err
		}
	}
	return rec.Edition()
}

func newRepository(db *sqlite.DB, m *material, c clock.Clock, log *slog.Logger) *tuf.Repository {
	return tuf.New(tuf.Config{
		Store: sqlstore.New(db),
		Keys: tuf.Keys{
			Root: m.keys[roleTUFRoot], Targets: m.keys[roleTUFTargets],
			Snapshot: m.keys[roleTUFSnapshot], Timestamp: m.keys[roleTUFTimestamp],
		},
		Lifetimes: tuf.Development(), Clock: c, Log: log,
	})
}
