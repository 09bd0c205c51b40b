package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run found. As JSON it is what `sigbox bench --json` writes.
type Report struct {
	Target  string    `json:"target"`
	URLs    []string  `json:"urls"`
	Commit  string    `json:"commit"`  // of this program; empty if its build did not record it
	Started time.Time `json:"started"` // of the clock
	Seed    uint64    `json:"seed"`
	Clients int       `json:"clients"`
	Warm    int       `json:"warm"` // requests before the clock

	Requests int            `json:"requests"` // sent
	OK       int            `json:"ok"`       // answered with success, and rightly
	Wrong    int            `json:"wrong"`    // answered with success, but the answer does not hold
	Failed   int            `json:"failed"`   // answered with an error, or not at all
	Statuses map[string]int `json:"statuses"` // how many answers had each HTTP status; "none": no answer
	Errors   []string       `json:"errors,omitempty"`

	Seconds        float64 `json:"seconds"` // from before the first request until after the last answer
	PerSecond      float64 `json:"per_second"`
	LatencyMS      Latency `json:"latency_ms"`
	PrepareSeconds float64 `json:"prepare_seconds"`
	CheckSeconds   float64 `json:"check_seconds"`

	Checked []string `json:"checked"` // of every successful answer
	Machine Machine  `json:"machine"`
}

// Latency is in milliseconds, of the requests that were answered with success.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

// Machine is where the load came from.
type Machine struct {
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
	OS   string `json:"os"`
}

func newReport(t Target, o Options) *Report {
	return &Report{
		Target: t.Name(), URLs: o.URLs, Commit: commit(), Seed: o.Seed, Clients: o.Clients, Warm: o.Warm,
		Checked: t.Checks(), Statuses: map[string]int{},
		Machine: Machine{CPUs: runtime.NumCPU(), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH},
	}
}

func commit() (revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			revision += "-dirty"
		}
	}
	return revision
}

func (r *Report) fill(samples []sample, wrong []error, elapsed time.Duration) {
	var latencies []time.Duration
	r.Requests, r.Seconds = len(samples), elapsed.Seconds()
	for i := range samples {
		s := &samples[i]
		status := "none"
		if s.status != 0 {
			status = strconv.Itoa(s.status)
		}
		r.Statuses[status]++
		err := s.failure()
		switch {
		case err != nil:
			r.Failed++
		case wrong[i] != nil:
			r.Wrong++
			err = fmt.Errorf("wrong answer: %w", wrong[i])
			latencies = append(latencies, s.latency)
		default:
			r.OK++
			latencies = append(latencies, s.latency)
		}
		if err != nil && len(r.Errors) < maxExamples {
			r.Errors = append(r.Errors, err.Error())
		}
	}
	r.PerSecond = float64(r.OK) / r.Seconds
	r.LatencyMS = newLatency(latencies)
}

// newLatency takes percentiles by nearest rank.
func newLatency(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	at := func(q float64) float64 { return ms(all[max(int(math.Ceil(q*float64(len(all)))), 1)-1]) }
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	return Latency{P50: at(.5), P90: at(.9), P99: at(.99), Max: at(1), Mean: ms(sum / time.Duration(len(all)))}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Err says that not every answer was right; nil if all were.
func (r *Report) Err() error {
	if r.Failed == 0 && r.Wrong == 0 {
		return nil
	}
	return fmt.Errorf("of %d requests %d failed and %d were answered wrongly", r.Requests, r.Failed, r.Wrong)
}

// WriteJSON writes the report as indented JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "%s at %s: %d requests by %d clients, seed %d\n\n", r.Target, strings.Join(r.URLs, ", "), r.Requests, r.Clients, r.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "PER SECOND\tP50 MS\tP90 MS\tP99 MS\tMAX MS\tSECONDS\tRIGHT\tWRONG\tFAILED\t")
	l := r.LatencyMS
	fmt.Fprintf(t, "%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f\t%d\t%d\t%d\t\n", r.PerSecond, l.P50, l.P90, l.P99, l.Max, r.Seconds, r.OK, r.Wrong, r.Failed)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprint(w, "\nstatus:")
	for _, s := range slices.Sorted(maps.Keys(r.Statuses)) {
		fmt.Fprintf(w, " %s: %d", s, r.Statuses[s])
	}
	fmt.Fprintf(w, "\nchecked after the clock stopped, of every successful answer (%.1f s):\n", r.CheckSeconds)
	for _, c := range r.Checked {
		fmt.Fprintln(w, "  "+c)
	}
	for _, e := range r.Errors {
		fmt.Fprintln(w, "error: "+e)
	}
	_, err := fmt.Fprintf(w, "%d processors, %s, %s\n", r.Machine.CPUs, r.Machine.OS, r.Machine.Go)
	return err
}
