package setup

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
	"github.com/sigbox/sigbox/keys/pkcs11"
)

// format is the version of the directory's layout.
const format = 1

// Plan is what an instance is to be: what was asked for in [Choices], and what was drawn for it.
type Plan struct {
	Format   int       `json:"format"`
	Instance string    `json:"instance"` // 32 hex digits
	TreeID   int64     `json:"tree_id"`  // of the Rekor v1 log
	Created  time.Time `json:"created"`
	Choices
}

// Choices are what whoever runs init decides. An empty field is a default for the first run, and for the
// next ones "as it is".
type Choices struct {
	Production   bool     `json:"production"`
	Organization string   `json:"organization"`         // in the names of certificates
	URLs         Services `json:"urls"`                 // public origins
	Listen       Services `json:"listen"`               // HOST:PORT
	CAPeer       string   `json:"ca_peer"`              // HOST:PORT at which other services reach ca
	TLogPeer     string   `json:"tlog_peer"`            // and tlog
	PeerNames    []string `json:"peer_names,omitempty"` // SERVICE=NAME: further host names in a peer certificate
	Databases    Services `json:"databases"`            // connection strings without user and password; issuer has none
	Guard        string   `json:"guard"`                // "none", "file:PATH" or a connection string
	TLSCert      string   `json:"tls_certificate,omitempty"`
	TLSKey       string   `json:"tls_key,omitempty"`
	Token        string   `json:"token,omitempty"`                  // PKCS #11 URI of the token that the services' keys are made on; "" for files
	Proxy        bool     `json:"behind_proxy,omitempty"`           // TLS ends at a proxy in front
	OpenIssuer   bool     `json:"issuer_beyond_loopback,omitempty"` // the development issuer may be reached from other machines
}

// Services has one text for each service.
type Services struct {
	CA     string `json:"ca,omitempty"`
	TLog   string `json:"tlog,omitempty"`
	TUF    string `json:"tuf,omitempty"`
	Issuer string `json:"issuer,omitempty"`
}

// one tells whether all services have the same text.
func (s Services) one() bool {
	return s.CA == s.TLog && s.CA == s.TUF && (s.Issuer == "" || s.Issuer == s.CA)
}

// planFile is the name of the plan in the directory.
const planFile = "init.json"

// readPlan reads the plan of a directory. The error of a directory without one is fs.ErrNotExist.
func readPlan(path string) (p Plan, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if p.Format > format {
		return p, fmt.Errorf("%s was made by a newer sigbox (format %d, this one knows %d): run the newer one", path, p.Format, format)
	}
	if p.Format < 1 || p.TreeID < 1 || len(p.Instance) != 32 {
		return p, fmt.Errorf("%s is damaged: a field is missing", path)
	}
	return p, nil
}

func (p Plan) encode() ([]byte, error) {
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", planFile, err)
	}
	return append(raw, '\n'), nil
}

// newPlan makes a plan of choices.
func newPlan(c Choices, now time.Time) (p Plan, err error) {
	if c, err = c.withDefaults(); err != nil {
		return p, err
	}
	var b [24]byte
	if _, err := rand.Read(b[:]); err != nil {
		return p, fmt.Errorf("random instance id: %w", err)
	}
	return Plan{
		Format: format, Instance: hex.EncodeToString(b[:16]), Created: now.UTC().Truncate(time.Second), Choices: c,
		TreeID: int64(binary.BigEndian.Uint64(b[16:])>>2) | 1<<61, // 61 random bits: positive, and never one that an earlier log had
	}, nil
}

// Ports that services have where nothing is said (DESIGN.md 4), for URLs and, beside them, for peers.
var ports = Services{CA: "5555", TLog: "3000", TUF: "8081", Issuer: "8080"}

const (
	loopback = "127.0.0.1"
	caPeer   = loopback + ":9441"
	tlogPeer = loopback + ":9443"
)

// withDefaults fills in what was not said. Its errors name flags.
func (c Choices) withDefaults() (Choices, error) {
	if err := c.complete(); err != nil {
		return c, err
	}
	if c.Organization == "" {
		u, err := url.Parse(c.URLs.CA)
		if err != nil || u.Hostname() == "" {
			return c, fmt.Errorf("%q is not an origin: want scheme and host, such as https://sigstore.example.com", c.URLs.CA)
		}
		c.Organization = "sigbox " + u.Hostname()
	}
	set := func(to *string, value string) {
		if *to == "" {
			*to = value
		}
	}
	all := c.URLs.one()
	for _, s := range []struct {
		listen    *string
		url, port string
	}{
		{&c.Listen.CA, c.URLs.CA, ports.CA}, {&c.Listen.TLog, c.URLs.TLog, ports.TLog}, {&c.Listen.TUF, c.URLs.TUF, ports.TUF}, {&c.Listen.Issuer, c.URLs.Issuer, ports.Issuer},
	} {
		if s.url == "" {
			continue
		}
		if all {
			s.port = ports.Issuer
		}
		set(s.listen, listenFor(s.url, s.port))
	}
	set(&c.CAPeer, caPeer)
	set(&c.TLogPeer, tlogPeer)
	if !c.Production {
		set(&c.Guard, "file:tlog/guard")
	}
	return c, nil
}

// complete refuses what cannot be guessed.
func (c Choices) complete() error {
	var missing []string
	need := func(what, value string) {
		if value == "" {
			missing = append(missing, what)
		}
	}
	need("--url, or --ca-url", c.URLs.CA)
	need("--url, or --tlog-url", c.URLs.TLog)
	need("--url, or --tuf-url", c.URLs.TUF)
	need("--database, or --ca-database", c.Databases.CA)
	need("--database, or --tlog-database", c.Databases.TLog)
	need("--database, or --tuf-database", c.Databases.TUF)
	if c.Production {
		need("--guard postgres://..., file:PATH or none", c.Guard)
		if c.TLSCert == "" && !c.Proxy {
			missing = append(missing, "--tls-cert and --tls-key, or --behind-proxy where a proxy in front speaks HTTPS")
		}
	} else {
		need("--url, or --issuer-url", c.URLs.Issuer)
	}
	if c.Token != "" {
		if _, err := pkcs11.ParseToken(c.Token); err != nil {
			return fmt.Errorf("--token: %w", err)
		}
	}
	switch {
	case len(missing) > 0:
		return fmt.Errorf("not enough is said for a new instance; add\n  %s", strings.Join(missing, "\n  "))
	case c.Production && (c.URLs.Issuer != "" || c.Listen.Issuer != "" || c.OpenIssuer):
		return errors.New("--production has no development issuer: leave out the --issuer flags; the issuers whose tokens are taken are named in ca/issuers.yaml")
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key go together")
	case GuardIsDatabase(c.Guard) && c.Guard == c.Databases.TLog:
		return errors.New("--guard names the database of the logs: what is lost there would be lost here too; name another server")
	case c.TLSCert != "" && c.Proxy:
		return errors.New("--tls-cert and --behind-proxy are two ways to the same: choose one")
	}
	return nil
}

// listenFor is the address for a service that clients know by a URL: the URL's own where it is of this
// machine alone, and a port on loopback where a proxy is to be put in front, or --listen is to be given.
func listenFor(origin, port string) string {
	u, err := url.Parse(origin)
	if err != nil { // the configuration is checked
		return net.JoinHostPort(loopback, port)
	}
	if ip := net.ParseIP(u.Hostname()); u.Port() != "" && (ip != nil && ip.IsLoopback() || u.Hostname() == "localhost") {
		return net.JoinHostPort(u.Hostname(), u.Port())
	}
	return net.JoinHostPort(loopback, port)
}

// agree refuses choices that differ from those that an instance was made with.
func (p Plan) agree(c Choices) error {
	if differs := different(reflect.ValueOf(p.Choices), reflect.ValueOf(c), ""); len(differs) > 0 {
		return fmt.Errorf("this directory is of an instance that was made with other choices:\n  %s\n"+
			"to change what can be changed, edit sigbox.yaml and run init without these flags; for another instance, name another --dir", strings.Join(differs, "\n  "))
	}
	return nil
}

// different lists the fields that are set in want and are otherwise in have.
func different(have, want reflect.Value, name string) (list []string) {
	if have.Kind() != reflect.Struct {
		if want.IsZero() || reflect.DeepEqual(have.Interface(), want.Interface()) {
			return nil
		}
		return []string{fmt.Sprintf("%s: %v there, %v asked for", strings.TrimPrefix(name, "."), have.Interface(), want.Interface())}
	}
	for i := range have.NumField() {
		tag, _, _ := strings.Cut(have.Type().Field(i).Tag.Get("json"), ",")
		list = append(list, different(have.Field(i), want.Field(i), name+"."+tag)...)
	}
	return list
}

// plan returns the plan of the directory, or makes one and saves it with the configuration.
func (b *builder) loadPlan(c Choices) error {
	p, err := readPlan(b.path(planFile))
	if err == nil {
		b.plan = p
		return p.agree(c)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if p, err = newPlan(c, b.clock.Now()); err != nil {
		return err
	}
	b.plan = p
	if err := b.checkConfig(); err != nil {
		return err
	}
	raw, err := p.encode()
	if err != nil {
		return err
	}
	if err := instance.WriteFile(b.path(planFile), raw, 0o600); err != nil {
		return err
	}
	return b.say("made %s: instance %s", planFile, p.Instance)
}
