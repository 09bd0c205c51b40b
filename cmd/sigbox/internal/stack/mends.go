package stack

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/expiry"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// mends are the steps that prevent what ends, for one configuration file. A step that begins with
// "sigbox" is a command that there is, up to four spaces and a bracket; what no command does is said in words.
type mends struct {
	file          string
	ca, tlog, tuf bool            // what the file configures
	rotates       map[string]bool // "ca", "tsa": sigbox rotate goes on with another key of it
	cfg           *config.Config  // nil for none
}

func mendsOf(cfg *config.Config) mends {
	m := mends{cfg: cfg, file: cfg.File(), ca: cfg.CA != nil, tlog: cfg.TLog != nil, tuf: cfg.TUF != nil, rotates: map[string]bool{}}
	isFile := func(k config.KeyFile) bool { return !strings.HasPrefix(string(k), "$") }
	if m.ca && m.tuf && cfg.Instance != "" {
		m.rotates["ca"] = isFile(cfg.CA.Key)
		m.rotates["tsa"] = cfg.CA.TSA != nil && isFile(cfg.CA.TSA.Key)
	}
	return m
}

// at is the configuration file of a service, and where a command with it is to be typed; "" for here.
func (m mends) at(service string) (file, where string) {
	if here := map[string]bool{"ca": m.ca, "tlog": m.tlog, "tuf": m.tuf}[service]; here {
		return m.file, ""
	}
	return strings.ToUpper(service) + ".yaml", "    (on a machine that runs " + service + ", with its configuration file)"
}

// signedTogether is how close the ends of root and targets are where one ceremony renews both.
const signedTogether = 30 * 24 * time.Hour

// roles is how each role of the repository of a configuration is renewed. Root and targets that end together, as those
// of a first set do, or that both have ended, are signed in one request: clients refuse a set in which either has ended.
func (m mends) roles(p *tuf.Published, now time.Time) func(role string) []string {
	root, targets := p.Expires(tuf.Root), p.Expires(tuf.Targets)
	together := root.Sub(targets).Abs() <= signedTogether || !now.Before(root) && !now.Before(targets)
	return func(role string) []string {
		switch {
		case role != tuf.Root && role != tuf.Targets:
			return []string{
				"sigbox serve --config " + m.file,
				"which renews it while it runs: where it does run, its log lines say why it cannot",
			}
		case together:
			return m.request("--renew-root --renew-targets", "renew.json")
		}
		return m.request("--renew-"+role, role+".json")
	}
}

// request is a request to the holders of offline keys, and what follows.
func (m mends) request(flags, out string) []string {
	file, where := m.at("tuf")
	return append([]string{strings.Join(strings.Fields(fmt.Sprintf("sigbox tuf request %s --out %s", flags, out)), " ") + " --config " + file + where}, m.ceremony(out)...)
}

// ceremony is what follows a request.
func (m mends) ceremony(out string) []string {
	file, where := m.at("tuf")
	return []string{
		fmt.Sprintf("sigbox tuf sign %s --key KEY    (each signer, until enough have signed)", out),
		fmt.Sprintf("sigbox tuf publish %s --config %s%s", out, file, where),
	}
}

// chainItems are the certificates of an authority of a configuration, or of another machine.
func (m mends) chainItems(purpose string, chain []*x509.Certificate) []expiry.Item {
	certificate, root := m.authority(purpose, chain), m.root(purpose, chain)
	if last := chain[len(chain)-1]; len(chain) > 1 && !chain[0].NotAfter.Before(last.NotAfter) {
		certificate = root // none lives longer than its issuer
	}
	return chainItems(purpose, chain, certificate, root)
}

// authority is how the chain of the CA ("ca") or of the TSA ("tsa") is replaced. The old chain stays
// for what was signed with it.
func (m mends) authority(purpose string, chain []*x509.Certificate) []string {
	if m.rotates[purpose] {
		return m.rotate(map[string]string{"ca": roleCAIntermediate, "tsa": roleTSA}[purpose])
	}
	return m.stepByStep(purpose, chain)
}

// root is how the root above an authority is replaced: with a chain under another one.
func (m mends) root(purpose string, chain []*x509.Certificate) []string {
	steps := []string{"sigbox ca root --out ROOT --organization " + shellQuote(organizationOf(chain)) + "    (offline; or a new root of your own PKI)"}
	if m.rotates[purpose] {
		return append(steps, m.rotate(map[string]string{"ca": roleCARoot, "tsa": roleTSA}[purpose])...)
	}
	return append(steps, m.stepByStep(purpose, chain)...)
}

// rotate is how a key of the configuration is followed by another one, whose certificate is new. The command says
// itself what others have to do, and where it stands.
func (m mends) rotate(component string) []string {
	again := fmt.Sprintf("sigbox rotate %s --resume --yes --config %s    (each time that this is done, until the old key is retired; clients have 8 days to learn the new one, and less with --soak)", component, m.file)
	if m.rotating(component) {
		return []string{again}
	}
	return []string{
		fmt.Sprintf("sigbox rotate %s --yes --config %s    (it stops where others have something to do, says what, and hands out the file for it)", component, m.file),
		again,
	}
}

// rotating says whether the journal beside the configuration has a rotation of a component.
func (m mends) rotating(component string) bool {
	kind := component
	if component == roleCARoot || component == roleCAIntermediate {
		kind = "ca"
	}
	j, _, err := rotation.File{Path: filepath.Join(filepath.Dir(m.file), "rotations.json")}.Read()
	if err != nil {
		return false // the command says so
	}
	r := j.Kind(kind).Rotation
	return r != nil && r.Component == component
}

func organizationOf(chain []*x509.Certificate) string {
	if o := chain[0].Subject.Organization; len(o) > 0 {
		return o[0]
	}
	return ""
}

// stepByStep is how an authority goes on with another key where "sigbox rotate" cannot see the repository, or cannot
// put the key where it comes from.
func (m mends) stepByStep(purpose string, chain []*x509.Certificate) []string {
	section := map[string]string{"ca": "ca", "tsa": "ca.tsa"}[purpose]
	ca, atCA := m.at("ca")
	steps := []string{
		"sigbox ca key --out NEW.key" + atCA,
		fmt.Sprintf("sigbox ca csr --key NEW.key --for %s --organization %s --out %s.csr", purpose, shellQuote(organizationOf(chain)), purpose),
		fmt.Sprintf("sigbox ca sign-csr %s.csr --root ROOT --out %s-chain.pem    (where the root is kept; or your own PKI)", purpose, purpose),
		fmt.Sprintf("copy %s to NEXT.yaml beside it, with NEW.key as %s.key and a file that is not there yet as %s.chain", ca, section, section),
		fmt.Sprintf("sigbox ca install-chain %s-chain.pem --config NEXT.yaml%s", purpose, atCA),
		"sigbox ca statements --config NEXT.yaml --out STATEMENTS" + atCA,
	}
	steps = append(steps, m.request("--statements STATEMENTS", purpose+".json")...)
	return append(steps, fmt.Sprintf("after 8 days, when clients have refreshed, move NEXT.yaml to %s and start serve again", ca))
}

// peers is how a certificate that services show each other is renewed, and how its authority is replaced.
func (m mends) peers(p identityPaths) (renew, replace []string) {
	const live = "it is taken over without a restart"
	dir := initDir(m.file)
	if dir == "" {
		return []string{fmt.Sprintf("replace %s with a new certificate for its key, of one of the authorities in %s: %s", p.certificate, p.authorities, live)},
			[]string{fmt.Sprintf("add a new authority to %s at every service, then replace the certificates, then remove the old one: each is taken over without a restart", p.authorities)}
	}
	remove := "rm " + shellQuote(filepath.Join(dir, "peers", "ca.key")) + " " + shellQuote(filepath.Join(dir, "public", "peers.pem"))
	for _, service := range []string{"ca", "tlog", "tuf"} {
		remove += " " + shellQuote(filepath.Join(dir, service, "peer.crt"))
	}
	again := " && sigbox init --dir " + shellQuote(dir)
	return []string{"rm " + shellQuote(string(p.certificate)) + again, live},
		[]string{remove + again, "bring public/peers.pem, and its own peer.crt, to where each service runs: " + live}
}

// initDir is the directory of an instance that sigbox init made, by its configuration file; "" where
// that is not such a one, or not on this machine.
func initDir(file string) string {
	dir := filepath.Dir(file)
	for _, name := range []string{"init.json", filepath.Join("peers", "ca.key")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return ""
		}
	}
	return dir
}

// successor is what comes after a key that was retired. There is one that clients trust already: none is retired in a
// trust root without another one of its role that has no end.
func (m mends) successor(rec record.Record, k record.Key) []string {
	purpose := string(k.Role)
	switch k.Role {
	case statement.CA, statement.TSA:
		for _, component := range map[string][]string{"ca": {roleCAIntermediate, roleCARoot}, "tsa": {roleTSA}}[purpose] {
			if m.rotates[purpose] && m.rotating(component) {
				return m.rotate(component)
			}
		}
		section := map[string]string{"ca": "ca", "tsa": "ca.tsa"}[purpose]
		file, _ := m.at("ca")
		return []string{fmt.Sprintf("before then, name in %s, as %s.key and %s.chain, the key that follows it and its chain, and start serve again", file, section, section)}
	case statement.RekorV2:
		file, where := m.at("tlog")
		return []string{"sigbox rotate rekor-v2 --resume --yes --config " + file + where}
	case statement.CT:
		return m.afterCT(k)
	}
	return m.afterV1(rec, k)
}

// afterCT is what comes after the key of a CT log: ca logs in the one that follows it, and it takes nothing any more.
func (m mends) afterCT(k record.Key) []string {
	freeze := m.freeze(k, "when certificates go into the log that follows it")
	if m.tlog && m.tuf && m.rotating("ct") {
		return append(m.rotate("ct"), freeze)
	}
	if m.logsElsewhere(k) {
		return []string{freeze}
	}
	file, _ := m.at("ca")
	return []string{fmt.Sprintf("before then, name in %s, as ca.ct, the log that follows it, and start serve again", file), freeze}
}

// logsElsewhere says that the ca of this file logs its certificates with another key.
func (m mends) logsElsewhere(k record.Key) bool {
	if m.cfg == nil || m.cfg.CA == nil || m.cfg.CA.CT == nil {
		return false
	}
	key, err := keys.LoadPublic(string(m.cfg.CA.CT.Key))
	return err == nil && !keys.Equal(key, k.Public)
}

// afterV1 is what comes after the key of a Rekor v1 log. At one address one key counts at a time, so that one with
// another key that is in use is at an address of its own, which clients have from the signing configuration.
func (m mends) afterV1(rec record.Record, k record.Key) []string {
	for _, next := range rec.Keys {
		if next.Role == statement.RekorV1 && next.End.IsZero() && next.URL != k.URL {
			return []string{m.freeze(k, "clients add to the log that the signing configuration names, "+next.URL)}
		}
	}
	file, _ := m.at("tlog")
	return []string{fmt.Sprintf("before then, name in %s, last of tlog.rekor_v1.shards, the log that follows it, and start serve again", file)}
}

// freeze is how a log with a key takes nothing any more; it is served on.
func (m mends) freeze(k record.Key, why string) string {
	file, _ := m.at("tlog")
	name, where := "NAME", "where tlog runs; with tlog.guard.file, stop it meanwhile"
	if m.tlog && m.cfg != nil {
		where = "with tlog.guard.file, stop serve meanwhile"
		if logs, err := ServedLogs(m.cfg.TLog); err == nil {
			for _, l := range logs {
				if keys.Equal(l.Signer.Public(), k.Public) {
					name = string(l.Name) // of several that share the key the last
				}
			}
		}
	}
	return fmt.Sprintf("sigbox log freeze %s --yes --config %s    (%s; %s)", name, file, why, where)
}
