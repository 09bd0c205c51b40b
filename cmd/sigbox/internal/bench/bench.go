package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say how a target is loaded.
type Options struct {
	URLs     []string      // of the service, without a path; several are replicas, over which the clients spread
	Requests int           // to prepare; the run ends when all are answered
	Warm     int           // requests before the clock starts
	Clients  int           // that wait for an answer at the same time
	Duration time.Duration // after which no more requests are sent; 0 sends all
	Timeout  time.Duration // of one request
	Seed     uint64
	Progress func(part string, done, total int64) // called from one goroutine at a time; may be nil
}

// Target is an API that can be loaded. Request and Check are called from several goroutines.
type Target interface {
	// Name is what reports call it.
	Name() string
	// Path is where requests are posted.
	Path() string
	// Checks says, for reports, what Check looks at.
	Checks() []string
	// Prepare gets keys, and makes room for n requests that are made from the seed.
	Prepare(ctx context.Context, c *http.Client, url string, seed uint64, n int) error
	// Request makes the body of a request.
	Request(i int) ([]byte, error)
	// Check says what is wrong with the successful answer to a request.
	Check(i int, answer []byte) error
}

const (
	defaultTimeout = 60 * time.Second
	maxAnswer      = 4 << 20 // bytes
	maxExamples    = 5       // of errors, in a report
)

// CheckURL says what is wrong with the URL of a service.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not the URL of a service: want for example http://127.0.0.1:8080", raw)
	}
	return nil
}

// IsLocal says whether a URL names this machine by a loopback address, or by the name localhost.
func IsLocal(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func (o *Options) check() error {
	for i, u := range o.URLs {
		if err := CheckURL(u); err != nil {
			return err
		}
		o.URLs[i] = strings.TrimRight(u, "/")
	}
	switch {
	case len(o.URLs) == 0:
		return errors.New("no URL of a service")
	case o.Requests < 1:
		return fmt.Errorf("%d requests: want at least 1", o.Requests)
	case o.Clients < 1:
		return fmt.Errorf("%d clients: want at least 1", o.Clients)
	case o.Warm < 1:
		return fmt.Errorf("%d requests before the clock starts: at least 1 shows that the service answers", o.Warm)
	case o.Duration < 0:
		return fmt.Errorf("a duration of %s", o.Duration)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return nil
}

// sample is one request and what became of it.
type sample struct {
	body    []byte
	answer  []byte
	status  int // 0 if there was no answer
	err     error
	latency time.Duration
}

// run is one run.
type run struct {
	Options
	target  Target
	client  *http.Client
	samples []sample // the first Warm are sent before the clock starts
}

// Run loads a target. The report is complete also where answers were wrong: see [Report.Err]. An
// error means that nothing could be measured.
func Run(ctx context.Context, t Target, o Options) (*Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &run{Options: o, target: t, samples: make([]sample, o.Warm+o.Requests)}
	r.client = &http.Client{Timeout: o.Timeout, Transport: &http.Transport{
		MaxConnsPerHost: o.Clients, MaxIdleConnsPerHost: o.Clients,
	}}
	defer r.client.CloseIdleConnections()
	report := newReport(t, o)
	started := time.Now()
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	if err := r.warm(ctx); err != nil {
		return nil, err
	}
	report.PrepareSeconds = time.Since(started).Seconds()

	timed := r.samples[o.Warm:]
	runtime.GC() // the garbage of the preparation is not the server's to pay for
	report.Started = time.Now().UTC().Truncate(time.Second)
	sent, elapsed := r.load(ctx, timed)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("stopped after %d requests: %w", sent, err)
	}
	checking := time.Now()
	wrong := r.verify(timed[:sent])
	report.CheckSeconds = time.Since(checking).Seconds()
	report.fill(timed[:sent], wrong, elapsed)
	return report, nil
}

// prepare makes every request.
func (r *run) prepare(ctx context.Context) error {
	if err := r.target.Prepare(ctx, r.client, r.URLs[0], r.Seed, len(r.samples)); err != nil {
		return err
	}
	errs := r.parallel("prepare", r.samples, func(i int, s *sample) (err error) {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.body, err = r.target.Request(i)
		return err
	})
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("prepare request %d: %w", i, err)
		}
	}
	return nil
}

// warm sends the first requests, one client at a time at first, and wants every answer to be right.
func (r *run) warm(ctx context.Context) error {
	warm := r.samples[:r.Warm]
	for _, part := range [][]sample{warm[:1], warm[1:]} {
		r.send(ctx, part, time.Time{}, func(int) {})
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for i := range warm {
		err := warm[i].failure()
		if err == nil {
			err = r.target.Check(i, warm[i].answer)
		}
		if err != nil {
			return fmt.Errorf("%s at %s: nothing was measured, since already a request before the clock starts failed: %w", r.target.Name(), strings.Join(r.URLs, ", "), err)
		}
		warm[i] = sample{}
	}
	return nil
}

// failure says why a request was not answered with success.
func (s *sample) failure() error {
	switch {
	case s.err != nil:
		return s.err
	case s.status/100 != 2:
		return fmt.Errorf("status %d: %.300s", s.status, s.answer)
	}
	return nil
}

// load sends the timed requests and returns how many were sent, and the time from before the first
// until after the last answer.
func (r *run) load(ctx context.Context, samples []sample) (sent int, elapsed time.Duration) {
	started := time.Now()
	var deadline time.Time
	if r.Duration > 0 {
		deadline = started.Add(r.Duration)
	}
	var done atomic.Int64
	stop := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				r.Progress("load", done.Load(), int64(len(samples)))
			case <-stop:
				return
			}
		}
	})
	sent = r.send(ctx, samples, deadline, func(int) { done.Add(1) })
	elapsed = time.Since(started)
	close(stop)
	shown.Wait()
	r.Progress("load", int64(sent), int64(sent))
	return sent, elapsed
}

// send has the clients send samples in order until all are sent or the deadline has passed. It
// returns how many were.
func (r *run) send(ctx context.Context, samples []sample, deadline time.Time, answered func(i int)) int {
	var next atomic.Int64
	var clients sync.WaitGroup
	for c := range min(r.Clients, len(samples)) {
		url := r.URLs[c%len(r.URLs)] + r.target.Path()
		clients.Go(func() {
			for ctx.Err() == nil && (deadline.IsZero() || time.Now().Before(deadline)) {
				i := int(next.Add(1)) - 1
				if i >= len(samples) {
					return
				}
				r.post(ctx, url, &samples[i])
				samples[i].read()
				answered(i)
			}
		})
	}
	clients.Wait()
	return min(int(next.Load()), len(samples))
}

func (r *run) post(ctx context.Context, url string, s *sample) {
	started := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(s.body))
	if err != nil {
		s.err = err
		return
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		s.err = err
		return
	}
	s.answer, s.err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close() // it was read
	s.latency, s.status = time.Since(started), resp.StatusCode
	s.body = nil
}

// read decodes a successful answer, as any client must before it goes on. What is wrong with it is for
// Check to say.
func (s *sample) read() {
	if s.failure() == nil {
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(s.answer, &fields)
	}
}

// verify checks every successful answer, and returns what is wrong with each.
func (r *run) verify(samples []sample) []error {
	return r.parallel("check", samples, func(i int, s *sample) error {
		if s.failure() != nil {
			return nil // counted already
		}
		return r.target.Check(r.Warm+i, s.answer)
	})
}

// parallel calls f for every sample, on all processors, and returns its errors.
func (r *run) parallel(part string, samples []sample, f func(i int, s *sample) error) []error {
	const chunk = 256
	errs := make([]error, len(samples))
	var mu sync.Mutex
	var next, done int
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for {
				mu.Lock()
				from := next
				next = min(from+chunk, len(samples))
				to := next
				mu.Unlock()
				if from == to {
					return
				}
				for i := from; i < to; i++ {
					errs[i] = f(i, &samples[i])
				}
				mu.Lock()
				done += to - from
				r.Progress(part, int64(done), int64(len(samples)))
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return errs
}

var errNoEntry = errors.New("the answer holds no entry")
