package stack

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/rekorv2"
	"github.com/sigbox/sigbox/tlog/shardpath"
	"github.com/sigbox/sigbox/tlog/tiles"
)

// addRekorV2 adds the API of Rekor v2 and the reading of its tiles: at /api/v2 of each host that a shard
// has, and of each shard where package shardpath has it.
func (s *shards) addRekorV2(mux *http.ServeMux, rpc *grpc.Server, c rekorv2.Config) error {
	c.Next, c.Waiting, c.Logger = s.afterV2, s.waitingV2, s.log
	face, err := rekorv2.New(c)
	if err != nil {
		return err
	}
	face.Register(mux)
	face.RegisterGRPC(rpc)
	s.advance(face.Advance)
	for prefix, source := range map[string]tiles.Source{"/api/v2": face.AtHost, shardpath.Pattern + "/api/v2": face.Named} {
		t, err := tiles.NewSource(source, prefix, s.log)
		if err != nil {
			return err
		}
		t.Register(mux)
	}
	return nil
}

// keep has nothing else read at the hosts of shards that will be made.
func (s *shards) keep(list []config.RekorV2Shard) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sh := range list {
		s.kept[string(sh.Host)] = true
	}
}

// waitingV2 is [rekorv2.Config.Waiting].
func (s *shards) waitingV2(host string) (tlog.Log, *tlog.Tiles, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.known {
		if k.Face == config.FaceRekorV2 && k.Origin == host {
			return k.engine, k.tiles, true
		}
	}
	return nil, nil, s.kept[host]
}

// originOf is the origin of the checkpoints of a log. The database knows a shard that shares its origin by
// more than that.
func originOf(d tlog.Description) string {
	origin, _, _ := strings.Cut(d.Origin, "#")
	return origin
}

// displacedBy says that a log which goes on for this one has its host.
func (l ServedLog) displacedBy(next tlog.Description) bool { return originOf(next) == l.Origin }

// url is where clients read a log of a service at base. A log of Rekor v2 has its own host there, which it
// leaves to the shard that goes on for it where they share one.
func (l ServedLog) url(base string) string {
	if l.Face != config.FaceRekorV2 {
		return base + l.Path
	}
	base = atHost(base, string(l.Host))
	if !l.Displaced {
		return base
	}
	return base + shardpath.Of(l.Config.Signer.Verifier().KeyID())
}

// atHost returns an origin with another host name and the same scheme and port.
func atHost(origin, host string) string {
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == host || host == "" {
		return origin
	}
	switch port := u.Port(); {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	return u.String()
}
