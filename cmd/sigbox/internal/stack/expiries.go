package stack

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sigbox/sigbox/tuf"
)

// expiries are metrics of a repository: when the published metadata of each role expires.
type expiries struct{ repo *tuf.Repository }

var expiresDesc = prometheus.NewDesc("sigbox_tuf_expires_timestamp_seconds", "When the published metadata of a TUF role expires, Unix time.", []string{"role"}, nil)

// Describe implements prometheus.Collector.
func (e expiries) Describe(ch chan<- *prometheus.Desc) { ch <- expiresDesc }

// Collect implements prometheus.Collector.
func (e expiries) Collect(ch chan<- prometheus.Metric) {
	p := e.repo.Published()
	if p == nil {
		return
	}
	for _, role := range roleNames {
		ch <- prometheus.MustNewConstMetric(expiresDesc, prometheus.GaugeValue, float64(p.Expires(role).Unix()), role)
	}
}
