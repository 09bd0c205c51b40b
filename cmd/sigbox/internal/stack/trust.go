package stack

import (
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/sqlstore"
	"github.com/sigbox/sigbox/tuf/trustroot"

	"log/slog"
)

// tufPrefix is where the repository is served; clients are given URL + tufPrefix as mirror.
const tufPrefix = "/tuf"

// tsaPath is the full path of the timestamp authority: Go and Java clients post to the URL of the
// signing configuration as it stands.
const tsaPath = "/api/v1/timestamp"

// trustTargets composes what clients of the instance at url trust.
func trustTargets(info instance.Info, url string, m *material) ([]tuf.Target, error) {
	valid := trustroot.Window{Start: info.Created.Add(-time.Hour)} // for clients whose clocks are behind
	log := func(role string) []trustroot.Log {
		return []trustroot.Log{{URL: url, Key: m.keys[role].Public(), Valid: valid}}
	}
	return trustroot.Compose(trustroot.Material{
		Operator: info.Host,
		CAs:      []trustroot.Authority{{URL: url, Chain: m.caChain, Valid: valid}},
		TSAs:     []trustroot.Authority{{URL: url + tsaPath, Chain: m.tsaChain, Valid: valid}},
		RekorV1:  log(roleRekorV1),
		RekorV2:  log(roleRekorV2),
		CTLogs:   log(roleCT),
		Issuers:  []trustroot.Issuer{{URL: url, Valid: valid}},
	})
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
