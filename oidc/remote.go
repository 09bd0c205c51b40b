package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/sigbox/sigbox/internal/clock"
)

const (
	maxDocument    = 1 << 20          // a discovery document or key set
	keysFresh      = time.Hour        // key sets are fetched again after this
	keysStale      = 24 * time.Hour   // and serve this long where the issuer is down
	failureCached  = 10 * time.Second // a dead issuer is asked again after this
	refreshSpacing = time.Minute      // unknown kids cause at most one fetch in this time
	maxMetaIssuers = 100              // key sets of meta-issuers kept
	metaPerMinute  = 100              // meta-issuers first seen, in any minute
)

// remote finds the keys of issuers over HTTP, each when it is first needed.
type remote struct {
	policy HTTPPolicy
	clock  clock.Clock
	log    *slog.Logger

	mu      sync.Mutex
	entries map[string]*issuerKeys
	started []time.Time // first fetches of meta-issuers in the last minute
}

func newRemote(p HTTPPolicy, c clock.Clock, log *slog.Logger) *remote {
	return &remote{policy: p, clock: c, log: log, entries: map[string]*issuerKeys{}}
}

// keys returns the issuer's key set and the algorithms that it advertises and we accept.
func (r *remote) keys(ctx context.Context, issuer *Issuer, url string) (KeySet, []string, error) {
	e, err := r.entry(issuer, url)
	if err != nil {
		return nil, nil, err
	}
	st, err := e.get(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	return e, st.algs, nil
}

// entry returns the issuer's state, and makes it within the bounds for meta-issuers.
func (r *remote) entry(issuer *Issuer, url string) (*issuerKeys, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock.Now()
	if e := r.entries[url]; e != nil {
		e.used = now
		return e, nil
	}
	if issuer.Meta {
		r.started = slices.DeleteFunc(r.started, func(t time.Time) bool { return now.Sub(t) >= time.Minute })
		if len(r.started) >= metaPerMinute {
			return nil, &TokenError{ReasonUnavailable, fmt.Errorf("%w: too many new meta-issuers this minute", ErrUnavailable)}
		}
		r.started = append(r.started, now)
		r.evict()
	}
	e := &issuerKeys{remote: r, issuer: issuer, url: url, used: now}
	r.entries[url] = e
	return e, nil
}

// evict drops the least recently used meta-issuer where there are too many.
func (r *remote) evict() {
	n, oldest := 0, ""
	for u, e := range r.entries {
		if e.issuer.Meta {
			if n++; oldest == "" || e.used.Before(r.entries[oldest].used) {
				oldest = u
			}
		}
	}
	if n >= maxMetaIssuers {
		delete(r.entries, oldest)
	}
}

// issuerKeys is what is known of one issuer's keys. It implements KeySet.
type issuerKeys struct {
	remote *remote
	issuer *Issuer
	url    string
	used   time.Time // guarded by remote.mu

	mu     sync.Mutex
	flight chan struct{} // closed when the fetch under way ends; nil if there is none
	state  *keyState     // last good one
	tried  time.Time
	err    error // of the last fetch, nil if it was good
}

type keyState struct {
	set     *JWKS
	algs    []string
	fetched time.Time
}

// VerifySignature implements KeySet. A kid that is not in the set causes one fetch a minute.
func (e *issuerKeys) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	st, err := e.get(ctx, false)
	if err != nil {
		return nil, err
	}
	payload, err := st.set.VerifySignature(ctx, raw)
	if !errors.Is(err, errNoKey) {
		return payload, err
	}
	newer, ferr := e.get(ctx, true)
	if ferr != nil || newer == st {
		return nil, err
	}
	return newer.set.VerifySignature(ctx, raw)
}

// get returns the keys, fetching them where they are missing or old. renew asks for a fetch of good
// keys too, and is heard once a minute. One caller fetches; the others wait for it where the keys that
// are there will not do.
func (e *issuerKeys) get(ctx context.Context, renew bool) (*keyState, error) {
	e.mu.Lock()
	for {
		now := e.remote.clock.Now()
		if !e.due(now, renew) {
			defer e.mu.Unlock()
			return e.known(now)
		}
		if e.flight == nil {
			break
		}
		if !renew && e.serves(now) { // the issuer may be dead: only who asks it waits for it
			defer e.mu.Unlock()
			return e.state, nil
		}
		flight := e.flight
		e.mu.Unlock()
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, &TokenError{ReasonUnavailable, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())}
		}
		renew = false // somebody just did
		e.mu.Lock()
	}
	flight := make(chan struct{})
	e.flight = flight
	e.mu.Unlock()

	st, err := e.fetch(ctx)

	e.mu.Lock()
	defer e.mu.Unlock()
	defer close(flight)
	now := e.remote.clock.Now()
	e.flight, e.tried, e.err = nil, now, err
	if err != nil {
		e.remote.log.Warn("fetch issuer keys", "issuer", clip(e.url), "error", err)
	} else {
		st.fetched = now
		e.state = st
	}
	return e.known(now)
}

// due says whether a fetch is wanted now.
func (e *issuerKeys) due(now time.Time, renew bool) bool {
	switch {
	case e.err != nil && now.Sub(e.tried) < failureCached:
		return false
	case e.state == nil, now.Sub(e.state.fetched) >= keysFresh:
		return true
	}
	return renew && now.Sub(e.tried) >= refreshSpacing
}

// known returns the last good keys while they may serve.
func (e *issuerKeys) known(now time.Time) (*keyState, error) {
	if e.serves(now) {
		return e.state, nil
	}
	if e.err == nil {
		return nil, &TokenError{ReasonUnavailable, ErrUnavailable}
	}
	return nil, e.err
}

// serves says whether the last good keys may still serve.
func (e *issuerKeys) serves(now time.Time) bool {
	return e.state != nil && now.Sub(e.state.fetched) < keysStale
}

// fetch reads the discovery document and the key set, for whoever waits: a caller that goes away
// does not end it.
func (e *issuerKeys) fetch(ctx context.Context) (*keyState, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.remote.policy.timeout())
	defer cancel()
	client, err := e.remote.policy.client(e.issuer)
	if err != nil {
		return nil, &TokenError{ReasonDiscovery, err}
	}
	provider, err := gooidc.NewProvider(gooidc.ClientContext(ctx, client), e.url)
	if err != nil {
		return nil, fetchError("discovery document", err)
	}
	var doc struct {
		JWKS string   `json:"jwks_uri"`
		Algs []string `json:"id_token_signing_alg_values_supported"`
	}
	if err := provider.Claims(&doc); err != nil {
		return nil, fetchError("discovery document", err)
	}
	if err := checkJWKSURI(e.url, doc.JWKS); err != nil {
		return nil, &TokenError{ReasonDiscovery, err}
	}
	raw, err := read(ctx, client, doc.JWKS)
	if err != nil {
		return nil, fetchError("key set", err)
	}
	set, err := ParseJWKS(raw)
	if err != nil {
		return nil, &TokenError{ReasonDiscovery, err}
	}
	return &keyState{set: set, algs: advertised(doc.Algs)}, nil
}

// advertised keeps the algorithms that we accept; RS256 where the issuer names none.
func advertised(names []string) []string {
	if len(names) == 0 {
		return []string{"RS256"}
	}
	var out []string
	for _, a := range algorithms() {
		if slices.Contains(names, string(a)) {
			out = append(out, string(a))
		}
	}
	return out
}

// checkJWKSURI lets keys live on another host, as Google's do, but never over a weaker scheme.
func checkJWKSURI(issuer, jwks string) error {
	iss, err := url.Parse(issuer)
	if err != nil {
		return err
	}
	u, err := url.Parse(jwks)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || iss.Scheme != "http") {
		return fmt.Errorf("jwks_uri %q is not a URL that keys may come from", clip(jwks))
	}
	return nil
}

func read(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", resp.Status)
	}
	return io.ReadAll(resp.Body) // bounded by the client's transport
}

// fetchError tells a network's failure, which may pass, from a document that is wrong.
func fetchError(what string, err error) error {
	text := errors.New(clip(err.Error())) // go-oidc quotes the whole answer
	var netErr *url.Error
	if errors.As(err, &netErr) && !errors.Is(err, errPolicy) || errors.Is(err, context.DeadlineExceeded) {
		return &TokenError{ReasonUnavailable, fmt.Errorf("%s: %w: %w", what, ErrUnavailable, text)}
	}
	return &TokenError{ReasonDiscovery, fmt.Errorf("%s: %w", what, text)}
}
