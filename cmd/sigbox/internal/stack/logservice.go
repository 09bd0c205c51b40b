package stack

import (
	"context"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/ctlog"
	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/rekorv2"
)

// addLogService adds our own gRPC service over all logs. Every entry is checked by the log's face.
func (s *Stack) addLogService(context.Context) error {
	c := logrpc.Config{Logger: s.opts.Log}
	s.shards.mu.Lock()
	for _, k := range s.shards.known {
		c.Logs = append(c.Logs, rpcLog(k.Config, k.engine, s.ctNamed(k.Name), kindsV1(nil)))
	}
	s.shards.mu.Unlock()
	var err error
	if s.service, err = logrpc.New(c); err != nil {
		return err
	}
	s.service.RegisterGRPC(s.grpc)
	return nil
}

// rpcLog is a log as our own gRPC service has it; ct is the face of the one that is a CT log, kinds are for
// Rekor v1.
func rpcLog(cfg tlog.Config, log *tlog.Engine, ct *ctlog.Server, kinds entry.Kinds) logrpc.Log {
	v := cfg.Signer.Verifier()
	l := logrpc.Log{Name: cfg.Name, Origin: v.Origin(), Face: cfg.Face, KeyID: v.KeyID(), Engine: log}
	switch cfg.Face {
	case config.FaceRekorV1:
		l.Split = func(stored []byte) (leaf, extra []byte, err error) {
			leaf, err = entry.LeafInput(stored)
			return leaf, nil, err
		}
		l.Parse = logrpc.RekorV1(func(json []byte) (tlog.Entry, error) { return rekorv1.Parse(kinds, json) })
	case config.FaceRekorV2:
		l.Parse = logrpc.RekorV2(rekorv2.Parse)
	case config.FaceCT:
		l.Parse, l.Split, l.Promise = logrpc.CT(ct.Parse), certificate.Parse, ct.Promise
	}
	return l
}
