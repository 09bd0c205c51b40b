package stack

import (
	"context"

	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/rekorv1"
	"github.com/sigbox/sigbox/tlog/rekorv2"
)

// addLogService adds our own gRPC service over all logs. Every entry is checked by the log's face.
func (s *Stack) addLogService(context.Context) error {
	configs, err := logConfigs(s.opts.Dir.Info, s.m)
	if err != nil {
		return err
	}
	parse := map[string]logrpc.Parser{
		logRekorV1: logrpc.RekorV1(func(json []byte) (tlog.Entry, error) { return rekorv1.Parse(kindsV1(), json) }),
		logRekorV2: logrpc.RekorV2(rekorv2.Parse),
		logCT:      logrpc.CT(s.ct.Parse),
	}
	c := logrpc.Config{Logger: s.opts.Log}
	for name, cfg := range configs {
		v := cfg.Signer.Verifier()
		l := logrpc.Log{
			Name: name, Origin: v.Origin(), Face: cfg.Face, KeyID: v.KeyID(), Engine: s.logs[name], Parse: parse[name],
		}
		if name == logCT {
			l.Split = certificate.Parse
		}
		c.Logs = append(c.Logs, l)
	}
	if s.service, err = logrpc.New(c); err != nil {
		return err
	}
	s.service.RegisterGRPC(s.grpc)
	return nil
}
