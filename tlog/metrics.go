package tlog

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the engine's series; without a registerer they count for nobody.
type metrics struct {
	size       prometheus.Gauge
	published  prometheus.Gauge
	healthy    prometheus.Gauge
	rollback   prometheus.Gauge
	frozen     prometheus.Gauge
	batch      prometheus.Histogram
	commit     prometheus.Histogram
	appended   prometheus.Counter
	duplicates prometheus.Counter
	failed     *prometheus.CounterVec
	retries    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, name string, pending func() int) (*metrics, error) {
	m := &metrics{
		frozen:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_tlog_frozen", Help: "1 if the log was ended and takes no more entries."}),
		size:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_tlog_size", Help: "Entries in the committed tree."}),
		published:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_tlog_published_size", Help: "Entries in the tree that readers see."}),
		healthy:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_tlog_healthy", Help: "1 if the log takes entries; 0 after a rollback or corruption was found."}),
		rollback:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "sigbox_tlog_rollback_detected", Help: "1 if the database lost history that the guard, or this process, remembers."}),
		batch:      prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sigbox_tlog_batch_entries", Help: "New entries in a commit.", Buckets: prometheus.ExponentialBuckets(1, 4, 6)}),
		commit:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sigbox_tlog_commit_seconds", Help: "Time from taking a batch to waking its callers.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
		appended:   prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_tlog_entries_total", Help: "Entries appended by this process."}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_tlog_duplicates_total", Help: "Appends answered with an entry that the log held."}),
		failed:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sigbox_tlog_failed_total", Help: "Appends that failed, by reason."}, []string{"reason"}),
		retries:    prometheus.NewCounter(prometheus.CounterOpts{Name: "sigbox_tlog_retries_total", Help: "Commits that were tried again."}),
	}
	if reg == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sigbox_tlog_pending", Help: "Entries that wait for their commit."},
		func() float64 { return float64(pending()) })
	reg = prometheus.WrapRegistererWith(prometheus.Labels{"log": name}, reg)
	for _, c := range []prometheus.Collector{m.size, m.published, m.healthy, m.rollback, m.frozen, m.batch, m.commit, m.appended, m.duplicates, m.failed, m.retries, waiting} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("metrics of log %s: %w", name, err)
		}
	}
	return m, nil
}
