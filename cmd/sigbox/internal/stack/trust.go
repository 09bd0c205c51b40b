package stack

import (
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
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
	rec, err := instanceRecord(cur, info)
	if err != nil {
		return tuf.Edition{}, err
	}
	for _, s := range instanceStatements(info, url, m, served) {
		said := rec.Find(s.Role, s.KeyID())
		if said != nil && !said.End.IsZero() && !m.inUse(s) { // its rotation is about to end
			continue
		}
		if said != nil {
			s.ValidFrom = said.Start
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

// instanceRecord is the record of the current set, or that of an instance before its first.
func instanceRecord(cur tuf.Release, info instance.Info) (record.Record, error) {
	if cur.Record == nil {
		return record.New(info.ID, info.Host), nil
	}
	return record.Parse(cur.Record)
}

// instanceStatements are what the keys of an instance say that clients are to trust as keys in use.
func instanceStatements(info instance.Info, url string, m *material, served []ServedLog) (list []statement.Statement) {
	start := func(t time.Time) time.Time { return t.Add(-startSlack).UTC().Truncate(time.Second) } // for clients whose clocks are behind
	add := func(s statement.Statement, from time.Time) {
		s.Instance, s.ValidFrom = info.ID, start(from)
		list = append(list, s)
	}
	for _, a := range m.trusted(kindCA, m.cas) {
		add(statement.Statement{Role: statement.CA, URL: url, Chain: a.chain, Issuers: []string{url}}, info.Created)
	}
	for _, a := range m.trusted(kindTSA, m.tsas) {
		add(statement.Statement{Role: statement.TSA, URL: url + tsaPath, Chain: a.chain}, info.Created)
	}
	done := map[[32]byte]bool{}
	for _, l := range served {
		id := l.Config.Signer.Verifier().KeyID()
		if done[id] || l.Face == config.FaceCT && !m.trustedCT(l) { // a shard with the key of the one before it
			continue
		}
		done[id] = true
		from := info.Created
		if !l.Created.IsZero() {
			from = l.Created
		}
		add(statement.Statement{Role: logRoles[l.Face], URL: l.url(url), Key: l.Signer.Public(), Origin: l.Config.Registered()}, from)
	}
	return list
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
