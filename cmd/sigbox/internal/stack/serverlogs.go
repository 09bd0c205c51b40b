package stack

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/quota"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/pgstore"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/rekorv2"
	"github.com/sigbox/sigbox/tuf/handover"
)

// addLogs opens the logs and adds their APIs.
func (s *Server) addLogs(ctx context.Context) (err error) {
	t := s.cfg.TLog
	logs, err := ServedLogs(t)
	if err != nil {
		return err
	}
	if s.stores, err = OpenLogStores(ctx, t, s.log); err != nil {
		return err
	}
	if err := s.stores.DB.CheckWriter(ctx); err != nil {
		return fmt.Errorf("tlog.database: %w", err)
	}
	s.health.add("database tlog", "degraded", newPing(s.stores.DB.Read()).check)
	s.watchGuard(ctx, t.Guard)
	d := s.door(t.Listen)
	s.shards = newShards(&shards{
		list: func(ctx context.Context) ([]tlog.Description, error) { return pgstore.List(ctx, s.stores.DB) },
		key:  siblingKey, open: s.openLog, log: s.log,
		added: func(l ServedLog, log *tlog.Engine) error {
			added := rpcLog(l.Config, log, nil, kindsV1(s.listedKinds()))
			added.Writers = s.live.gates.of(l.Face)
			return s.service.Add(added)
		},
	})
	s.shards.keep(t.NextShards())
	opened := make([]*tlog.Engine, len(logs))
	for i, l := range logs {
		if opened[i], err = s.openLog(ctx, l); err != nil {
			return err
		}
		s.shards.begin(l, opened[i])
	}
	if s.live.gates, err = openGates(t, s.clock); err != nil {
		return err
	}
	quotas := s.newQuotas("tlog", logRates)
	service := logrpc.Config{Quotas: quotas, Logger: s.log}
	var inactive []rekorv1.Shard
	for i, l := range logs {
		var ct *ctlog.Server
		if l.Face == config.FaceRekorV1 && !l.Active {
			inactive = append(inactive, rekorv1.Shard{Log: opened[i], TreeID: l.TreeID, Signer: l.Signer})
		} else if ct, err = s.addFace(d, l, opened[i], inactive, quotas); err != nil {
			return fmt.Errorf("log %s: %w", l.Name, err)
		}
		if ct != nil {
			s.cts[l.Name] = localCT{ct, l.Signer.Public()}
		}
		log := rpcLog(l.Config, opened[i], ct, kindsV1(s.listedKinds()))
		log.Writers = s.live.gates.of(l.Face)
		service.Logs = append(service.Logs, log)
	}
	if s.service, err = logrpc.New(service); err != nil {
		return err
	}
	s.service.RegisterGRPC(d.grpc)
	s.shards.openAll(ctx)
	s.shards.advanceAll(ctx)
	s.health.add("shards", "degraded", s.shards.check)
	s.runs = append(s.runs, func(ctx context.Context) error { return s.shards.run(ctx, time.Duration(t.Poll)) })
	return s.addLogPeers(ctx, logs, service.Logs)
}

// siblingKey loads the key of a log that another one goes on for: it is in the file of its name beside the
// key of that one, so that replicas find it without a change of their configuration.
func siblingKey(after ServedLog, name string) (crypto.Signer, error) {
	path, err := siblingPath(after, name)
	if err != nil {
		return nil, err
	}
	return keys.Load(path)
}

func siblingPath(after ServedLog, name string) (string, error) {
	path, err := after.Key.Path()
	return filepath.Join(filepath.Dir(path), name+filepath.Ext(path)), err
}

// addLogPeers serves the CT log to the certificate authority, and statements to tuf.
func (s *Server) addLogPeers(ctx context.Context, served []ServedLog, logs []logrpc.Log) error {
	if s.cfg.Instance != "" {
		if err := s.tellLogs(ctx, served); err != nil {
			return err
		}
	}
	d, err := s.peerDoor("tlog")
	if err != nil || d == nil {
		return err
	}
	handover.NewServer(func() [][]byte { return s.statements.of("tlog") }).RegisterGRPC(d.grpc)
	logs = slices.DeleteFunc(slices.Clone(logs), func(l logrpc.Log) bool { return l.Face != config.FaceCT })
	service, err := logrpc.New(logrpc.Config{Logs: logs, Logger: s.log})
	if err != nil {
		return err
	}
	service.RegisterGRPC(d.grpc)
	return nil
}

// tellLogs makes the statements of the logs, and again when a shard is found that goes on for one.
func (s *Server) tellLogs(ctx context.Context, configured []ServedLog) error {
	created := map[config.Name]time.Time{}
	for _, l := range configured {
		d, err := s.stores.describe(ctx, string(l.Name))
		if err != nil {
			return err
		}
		created[l.Name] = time.UnixMilli(d.CreatedMS)
	}
	tell := func(ctx context.Context) error {
		list, err := LogStatements(s.cfg, s.shards.all(), created, s.clock.Now())
		if err == nil {
			err = s.tell(ctx, "tlog", s.cfg.TLog.Statements, list)
		}
		return err
	}
	s.shards.changed = func(ctx context.Context) {
		if err := tell(ctx); err != nil {
			s.log.ErrorContext(ctx, "no trust statement about the new shard: the next start makes it", "error", err)
		}
	}
	return tell(ctx)
}

// openLog opens one log, which must exist.
func (s *Server) openLog(ctx context.Context, l ServedLog) (*tlog.Engine, error) {
	cfg := l.Config
	cfg.Guard, cfg.Clock, cfg.Logger, cfg.Metrics = s.stores.Guard, s.clock, s.log, s.registry
	store, err := s.stores.Store(ctx, cfg.Name)
	if err != nil {
		return nil, err
	}
	engine, err := tlog.Open(ctx, store, cfg)
	if errors.Is(err, tlog.ErrNotFound) {
		return nil, fmt.Errorf("log %s is not in the database: to make it, once for all replicas, run sigbox log create %s --config %s; "+
			"if it was there before, this is another database, or an empty one", l.Name, l.Name, s.cfg.File())
	}
	if err != nil {
		return nil, err
	}
	s.health.addLog(checkedLog{cfg.Name, engine})
	s.keys.add("of log "+cfg.Name, l.Signer)
	s.logs.add(sequencer(engine))
	if err := engine.Health(); err == nil {
		s.log.InfoContext(ctx, "log opened", "log", cfg.Name, "origin", l.Origin)
	}
	return engine, nil
}

// addFace adds the API of a log, and returns that of a CT log; inactive are the earlier shards of a
// Rekor v1 log.
func (s *Server) addFace(d *door, l ServedLog, log *tlog.Engine, inactive []rekorv1.Shard, quotas *quota.Quotas) (ct *ctlog.Server, err error) {
	url, limits := string(s.cfg.TLog.PublicURL), s.cfg.TLog.Limits
	switch l.Face {
	case config.FaceRekorV1:
		face, err := rekorv1.New(rekorv1.Config{
			Log: log, TreeID: l.TreeID, Signer: l.Signer, Inactive: inactive, Kinds: kindsV1(s.listedKinds()), Fingerprints: upstream.Fingerprints(), Logger: s.log,
			Writers: s.live.gates.v1, Quotas: quotas,
			Next: s.shards.afterV1, ReturnDuplicates: s.cfg.TLog.RekorV1.Duplicates == "return", MaxBody: int64(limits.Body), MaxResults: int(limits.Results),
		})
		if err != nil {
			return nil, err
		}
		face.Register(d.mux)
		s.shards.advance(face.Advance)
		d.services = append(d.services, endpoint{"Rekor v1", url + "/api/v1/log"})
	case config.FaceRekorV2:
		if err := s.shards.addRekorV2(d.mux, d.grpc, rekorv2.Config{Log: log, Origin: l.Origin, PublicKey: l.Signer.Public(), MaxBody: int64(limits.Body), Writers: s.live.gates.v2, Quotas: quotas}); err != nil {
			return nil, err
		}
		d.services = append(d.services, endpoint{"Rekor v2", url + "/api/v2/checkpoint"})
	case config.FaceCT:
		ct, err = ctlog.New(ctlog.Config{Log: log, Signer: l.Signer, Roots: l.Roots(), Narrow: l.Narrow(), Clock: s.clock, Logger: s.log})
		if err != nil {
			return nil, err
		}
		if err := registerCT(d.mux, l.Path, ct, s.log); err != nil {
			return nil, err
		}
		d.services = append(d.services, endpoint{"CT log", url + l.Path + "/ct/v1/get-sth"})
	}
	return ct, nil
}

// watchGuard has the health of the server tell what the guard does, and says at start what it cannot.
func (s *Server) watchGuard(ctx context.Context, g *config.Guard) {
	switch {
	case g.None:
		s.health.guardNote = "none: a database that goes back in time (a restored backup, a fail-over that loses commits) makes the logs fork, unnoticed"
		s.log.WarnContext(ctx, "NO GUARD: nothing notices a database that loses acknowledged entries. Set tlog.guard before anybody relies on these logs")
		return
	case g.Database != nil:
		s.health.guardNote = "database, shared by all replicas"
	default:
		s.health.guardPrivate = true
		s.health.guardNote = "file, private to this process: if the database loses its last commits and another replica wrote them, this one cannot tell and goes on from a shorter log"
		s.log.WarnContext(ctx, "the guard is private to this process: if the database loses its last commits (a fail-over to a standby that was behind, a restored backup) "+
			"and another replica wrote them, this one cannot tell, and the log forks. Where more than one process writes, use tlog.guard.database", "guard", g.File)
	}
	w := &watchedGuard{Guard: s.stores.Guard}
	s.stores.Guard, s.health.guard = w, w
}

// listedKinds are the kinds that the configuration lists, none where there is no Rekor v1 log.
func (s *Server) listedKinds() []config.Kind {
	if s.cfg.TLog.RekorV1 == nil {
		return nil
	}
	return s.cfg.TLog.RekorV1.Kinds
}
