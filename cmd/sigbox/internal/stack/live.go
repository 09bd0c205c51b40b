package stack

import (
	"log/slog"
	"net/netip"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/internal/httpx"
)

// live is what a running server takes over from a changed configuration or file.
type live struct {
	log      *slog.Logger
	level    *slog.LevelVar
	requests httpx.Requests
	tls      *identity            // nil: HTTP in the clear
	peers    map[string]*identity // by service
	issuers  *issuers             // nil without ca
	gates    *gates               // nil without tlog
	quotas   []liveQuotas
}

// take applies the parts that are not files.
func (l *live) take(cfg *config.Config) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Logging.Level)); err != nil { // the configuration is checked
		panic(err)
	}
	l.level.Set(level)
	var proxies []netip.Prefix
	for _, n := range cfg.TrustedProxies {
		proxies = append(proxies, n.Prefix())
	}
	l.requests.Set(cfg.Logging.Requests, proxies)
	for _, q := range l.quotas {
		q.quotas.Set(q.rates(cfg))
	}
}
