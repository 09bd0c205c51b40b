package setup

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/filelock"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// rotateGrace is how long after the switch an old key ends.
const rotateGrace = time.Hour

// Rotation rotates one key of a configuration file. What others have to do, the holders of offline keys, a
// PKI, who restarts replicas, it asks for in files and in an error that wraps [ErrWaiting], and looks the next
// time whether it is done.
type Rotation struct {
	cfg       *config.Config
	component string
	key       config.KeyFile
	keyName   string // of the key in the file
	chain     string // file; "" for a TUF role
	purpose   pki.Purpose
	tufRole   string
	answer    string  // a chain that a PKI has signed; "" for none yet
	people    *people // that hold the keys; nil where this machine does
	ct        *ctLogs // nil where it is no CT log
	clock     clock.Clock
	lock      *os.File
}

// RotationOptions say what is rotated.
type RotationOptions struct {
	Config    *config.Config
	Component string
	Chain     string // the file that a PKI answered with; "" for none
	// Keys are the public keys of all who are to sign tuf-root or tuf-targets, PEM files, of whom Threshold must; 0 is
	// more than half.
	Keys      []string
	Threshold int
	Clock     clock.Clock
}

// OpenRotation opens the rotation of a key of a configuration. Close gives it back.
func OpenRotation(o RotationOptions) (*Rotation, error) {
	r := &Rotation{cfg: o.Config, component: o.Component, answer: o.Chain, clock: o.Clock}
	c := o.Config
	switch {
	case (o.Component == "ca-intermediate" || o.Component == "ca-root") && c.CA != nil:
		r.key, r.keyName, r.chain, r.purpose = c.CA.Key, "ca.key", string(c.CA.Chain), pki.CA
	case o.Component == "tsa" && c.CA != nil && c.CA.TSA != nil:
		r.key, r.keyName, r.chain, r.purpose = c.CA.TSA.Key, "ca.tsa.key", string(c.CA.TSA.Chain), pki.TSA
	case o.Component == "tuf-timestamp" && c.TUF != nil:
		r.key, r.keyName, r.tufRole = c.TUF.Timestamp, "tuf.timestamp_key", tuf.Timestamp
	case o.Component == "tuf-snapshot" && c.TUF != nil:
		r.key, r.keyName, r.tufRole = c.TUF.Snapshot, "tuf.snapshot_key", tuf.Snapshot
	case o.Component == "ct" && c.TLog != nil && c.TLog.CT != nil:
		r.key, r.keyName, r.ct = c.TLog.CT.Key, "tlog.ct.key", &ctLogs{r}
	case (o.Component == "tuf-root" || o.Component == "tuf-targets") && c.TUF != nil:
		r.tufRole = strings.TrimPrefix(o.Component, "tuf-")
		r.people = &people{r, o.Keys, o.Threshold}
	default:
		return nil, fmt.Errorf("%s has no key of %s that could be rotated", c.File(), o.Component)
	}
	if c.TUF == nil || c.Instance == "" {
		return nil, fmt.Errorf("%s has no section tuf, or does not say which instance it is: where the repository cannot be read, the steps of docs/rotation.md, \"With sigbox serve\", are done one by one", c.File())
	}
	var err error
	if r.lock, err = filelock.Acquire(filepath.Join(filepath.Dir(c.File()), "rotations.lock")); errors.Is(err, filelock.ErrHeld) {
		return nil, fmt.Errorf("another sigbox rotate is at work on %s: wait until it has ended", c.File())
	}
	return r, err
}

// Close ends it.
func (r *Rotation) Close() error { return r.lock.Close() }

// kind is that of the journal.
func (r *Rotation) kind() string {
	if r.purpose == pki.CA {
		return "ca"
	}
	return r.component
}

// journal is beside the configuration.
func (r *Rotation) journal() rotation.File {
	return rotation.File{Path: filepath.Join(filepath.Dir(r.cfg.File()), "rotations.json")}
}

// Machine is the state machine of the rotation, without what the caller sets: Say, Soak and Until.
func (r *Rotation) Machine() (*rotation.Machine, error) {
	m := &rotation.Machine{
		File: r.journal(), Kind: r.kind(), Clock: r.clock, Grace: rotateGrace,
		Work: rotation.Work{Make: r.make, Drop: r.drop, Publish: r.publish, Switch: r.change, Retire: r.retire},
	}
	if r.people != nil {
		m.Work = r.people.work()
		return m, nil
	}
	if r.ct != nil {
		m.Work = r.ct.work()
	}
	if r.tufRole != "" {
		m.Work.Publish, m.Work.Retire, m.Work.Switch = nil, nil, r.changeTUF
	}
	_, err := r.path(1)
	return m, err
}

// State says where the key stands. Before a rotation begins, the configuration must name the key that the
// journal says is in use.
func (r *Rotation) State(m *rotation.Machine) (rotation.Kind, error) {
	j, _, err := m.File.Read()
	if err != nil {
		return rotation.Kind{}, err
	}
	k := j.Kind(m.Kind)
	if r.people != nil {
		return k, nil
	}
	used, err := r.path(k.InUse)
	if err != nil || k.Rotation != nil {
		return k, err
	}
	if r.ct != nil {
		return k, r.ct.named(k.InUse)
	}
	if have, err := r.key.Path(); err != nil || have != used {
		return k, errors.Join(err, fmt.Errorf("%s is %s, and by %s it would be %s: name the key file so, or do the steps of docs/rotation.md, \"With sigbox serve\", one by one", r.keyName, have, m.File.Path, used))
	}
	if r.chain != "" && r.chain != sibling(r.chain, k.InUse) {
		return k, fmt.Errorf("the chain of %s is %s, and has to have the number of its key, %s", r.component, r.chain, sibling(r.chain, k.InUse))
	}
	return k, nil
}

// path is the key file of a number: the name in the configuration without a number of its own, and this one.
func (r *Rotation) path(n int) (string, error) {
	if strings.HasPrefix(string(r.key), "$") {
		return "", fmt.Errorf("%s is %s, and the command cannot put the next key there: the steps of docs/rotation.md, \"With sigbox serve\", are done one by one", r.keyName, r.key)
	}
	path, err := r.key.Path()
	return sibling(path, n), err
}

// sibling is the file of a number beside another one.
func sibling(path string, n int) string { return stack.NumberedFile(path, n) }

// next is the configuration with the files of a number.
func (r *Rotation) next(n int) (*config.Config, error) {
	path, err := r.path(n)
	if err != nil {
		return nil, err
	}
	c, authority := *r.cfg, *r.cfg.CA
	c.CA = &authority
	if r.purpose == pki.CA {
		authority.Key, authority.Chain = config.KeyFile(path), config.File(sibling(r.chain, n))
		return &c, nil
	}
	t := *authority.TSA
	authority.TSA = &t
	t.Key, t.Chain = config.KeyFile(path), config.File(sibling(r.chain, n))
	return &c, nil
}

// file is one that the rotation hands out, beside the configuration.
func (r *Rotation) file(n int, what string) string {
	return filepath.Join(filepath.Dir(r.cfg.File()), fmt.Sprintf("%s-%d%s", r.component, n, what))
}

// make makes the key, and asks a PKI for its certificate.
func (r *Rotation) make(_ context.Context, t rotation.Rotation) error {
	path, err := r.path(t.To)
	if err != nil {
		return err
	}
	if err := stack.MakeKey(path); err != nil {
		return err
	}
	if r.tufRole != "" {
		return nil
	}
	if _, err := os.Stat(sibling(r.chain, t.To)); err == nil { // a step that was killed has put it there
		return nil
	}
	if r.answer != "" {
		return r.install(t)
	}
	return r.ask(path, t)
}

// install puts the chain of the new key to its place. That of a new root must be below one.
func (r *Rotation) install(t rotation.Rotation) error {
	used, err := readChainFile(sibling(r.chain, t.From))
	if err != nil {
		return err
	}
	answer, err := readChainFile(r.answer)
	if err != nil {
		return err
	}
	has := func(key crypto.PublicKey) bool {
		return slices.ContainsFunc(answer, func(c *x509.Certificate) bool { return keys.Equal(c.PublicKey, key) })
	}
	root := used[len(used)-1]
	if r.component == "ca-root" && has(root.PublicKey) {
		return fmt.Errorf("%s is below the root that is to be replaced, %q: have the request answered below a new one (sigbox ca root makes it)", r.answer, root.Subject)
	}
	path, err := r.path(t.To)
	if err != nil {
		return err
	}
	if own, err := keys.Load(path); err != nil || !has(own.Public()) {
		return errors.Join(err, fmt.Errorf("%s is not for the key in %s: give the answer to %s", r.answer, path, r.file(t.To, ".csr")))
	}
	next, err := r.next(t.To)
	if err == nil {
		_, err = InstallChain(next, r.answer, r.clock)
	}
	return err
}

// ask writes the request for a certificate.
func (r *Rotation) ask(path string, t rotation.Rotation) error {
	key, err := keys.Load(path)
	if err != nil {
		return err
	}
	used, err := readChainFile(sibling(r.chain, t.From))
	if err != nil {
		return err
	}
	subject := pki.Subject(r.purpose, strings.Join(used[0].Subject.Organization, " "))
	text, err := pki.Request(key, r.purpose, subject)
	if err != nil {
		return err
	}
	csr := r.file(t.To, ".csr")
	if err := os.WriteFile(csr, text, open); err != nil {
		return err
	}
	where := "sigbox ca sign-csr where the root is kept, or your own PKI"
	if r.component == "ca-root" {
		where = "below a new root: sigbox ca root makes one, and sigbox ca sign-csr there answers, or your own PKI"
	}
	return r.waits("the certificate of the key", "have "+csr+" answered: "+where,
		fmt.Sprintf("then: sigbox rotate %s --resume --yes --chain ANSWER --config %s", r.component, r.cfg.File()))
}

func readChainFile(path string) ([]*x509.Certificate, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	chain, err := pki.ParseChain(raw)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return chain, err
}

// waits is an error that says what others have to do.
func (r *Rotation) waits(what string, todo ...string) error {
	return &Waiting{For: what, Todo: strings.Join(todo, "\n") + "\n", Again: "rotate --resume"}
}

// drop removes what was made.
func (r *Rotation) drop(_ context.Context, n int) error {
	path, err := r.path(n)
	if err != nil {
		return err
	}
	list := []string{path, r.file(n, ".csr")}
	if r.chain != "" {
		list = append(list, sibling(r.chain, n))
	}
	for _, p := range list {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// said returns what a key says about itself, and its statement.
func (r *Rotation) said(n int) (s statement.Statement, raw []byte, err error) {
	next, err := r.next(n)
	if err != nil {
		return s, nil, err
	}
	trusted, err := stack.Issuers(r.cfg)
	if err != nil {
		return s, nil, err
	}
	list, err := stack.CAStatements(next, trusted, r.clock.Now())
	if err != nil {
		return s, nil, err
	}
	for _, raw := range list {
		s, err := statement.Open(raw)
		if err != nil || string(s.Role) == string(r.purpose) {
			return s, raw, err
		}
	}
	return s, nil, fmt.Errorf("nothing is said of the %s", r.purpose.Title())
}

// publish asks for a set that names the key.
func (r *Rotation) publish(ctx context.Context, n int) error {
	s, raw, err := r.said(n)
	if err != nil {
		return err
	}
	return r.repository(ctx, func(t *stack.TUFRepo, _ tuf.Release, rec record.Record) error {
		if rec.Find(s.Role, s.KeyID()) != nil {
			return nil
		}
		return r.request(ctx, t, r.file(n, "-publish.json"), stack.Wish{Statements: [][]byte{raw}}, "the holders of the targets keys")
	})
}

// retire asks for a set that gives a key an end.
func (r *Rotation) retire(ctx context.Context, n int, end time.Time) error {
	s, _, err := r.said(n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // never published
	}
	if err != nil {
		return err
	}
	return r.repository(ctx, func(t *stack.TUFRepo, _ tuf.Release, rec record.Record) error {
		said := rec.Find(s.Role, s.KeyID())
		if said == nil || !said.End.IsZero() {
			return nil
		}
		w := stack.Wish{Retire: []stack.Retirement{{ID: s.KeyID(), End: end}}}
		return r.request(ctx, t, r.file(n, "-retire.json"), w, "the holders of the targets keys")
	})
}

// change wants the configuration to name the files of a number, and the service to show the chain.
func (r *Rotation) change(ctx context.Context, _, n int) error {
	want, err := r.path(n)
	if err != nil {
		return err
	}
	chain := sibling(r.chain, n)
	chainName := strings.TrimSuffix(r.keyName, "key") + "chain"
	if have, err := r.key.Path(); err != nil || have != want || r.chain != chain {
		return errors.Join(err, r.waits("the configuration",
			fmt.Sprintf("in %s, on every machine that runs ca, with these files beside those of before: %s: %s and %s: %s", r.cfg.File(), r.keyName, want, chainName, chain),
			"then restart the replicas, one after the other; each signs with this key from then on, and clients trust both",
			fmt.Sprintf("then: sigbox rotate %s --resume --yes --config %s", r.component, r.cfg.File())))
	}
	return r.shown(ctx, chain)
}

// shownTimes is how often the service is asked: several replicas may answer.
const shownTimes = 8

// shown wants the service to answer with a chain.
func (r *Rotation) shown(ctx context.Context, file string) error {
	chain, err := readChainFile(file)
	if err != nil {
		return err
	}
	url := string(r.cfg.CA.PublicURL) + map[pki.Purpose]string{pki.CA: "/api/v1/rootCert", pki.TSA: "/api/v1/timestamp/certchain"}[r.purpose]
	for range shownTimes {
		raw, err := fetch(ctx, url)
		if err != nil {
			return r.waits("the service", fmt.Sprintf("%s does not answer (%v): start the replicas, and run this again", url, err))
		}
		got, err := pki.ParseChain(raw)
		if err != nil || !slices.ContainsFunc(got, chain[0].Equal) {
			return r.waits("the service", url+" shows the chain of before: restart the replicas that have not been, and run this again")
		}
	}
	return nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s", res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, 1<<20))
}
