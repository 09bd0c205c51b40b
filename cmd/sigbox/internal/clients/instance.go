package clients

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	pbcommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	pb "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"gopkg.in/yaml.v3"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Trust is the trust material of an instance: what a TUF client has verified, or what this process serves.
type Trust struct {
	Mirror     string            // base URL of the TUF repository
	Root       []byte            // root.json to start from
	Targets    map[string][]byte // by plain name
	Repository map[string][]byte // the repository's current files by path: metadata and targets/DIGEST.NAME
}

// Published is what a repository publishes, at mirror.
func Published(p *tuf.Published, mirror string) Trust {
	t := Trust{Mirror: mirror, Targets: map[string][]byte{}, Repository: map[string][]byte{}}
	v := p.Versions()
	current := map[string]bool{
		"timestamp.json": true, fmt.Sprintf("%d.root.json", v.Root): true,
		fmt.Sprintf("%d.snapshot.json", v.Snapshot): true, fmt.Sprintf("%d.targets.json", v.Targets): true,
	}
	for _, name := range p.Targets() {
		f, _ := p.Target(name)
		t.Targets[name], current[f.Path] = f.Bytes, true
	}
	for _, f := range p.Files() {
		switch {
		case f.Path == "root.json":
			t.Root = f.Bytes
		case current[f.Path]:
			t.Repository[f.Path] = f.Bytes
		}
	}
	return t
}

// RootSHA256 is the digest of root.json, in hex.
func (t Trust) RootSHA256() string {
	sum := sha256.Sum256(t.Root)
	return hex.EncodeToString(sum[:])
}

// Choices are what only the reader knows. Zero values stand for examples.
type Choices struct {
	Image    string // repository, for example "registry.example.com/app"
	Identity string // who signs, as certificates name it
	Issuer   string // who says so; default: the instance's issuer
	Dir      string // where the files of `trust export` are; default "sigbox-trust"
}

// maxChoice bounds a choice.
const maxChoice = 300

// check refuses what a pipeline would read an expression into, and what no registry and no certificate has.
// Everything is quoted besides.
func (c Choices) check() error {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	for _, o := range []struct{ what, value, marks string }{
		{"image", c.Image, "._~:/@+-=,"}, {"identity", c.Identity, "._~:/@+-=,'%#*?()[]"}, {"issuer", c.Issuer, "._~:/@+-=,%"},
	} {
		if len(o.value) > maxChoice || strings.Trim(o.value, letters+o.marks) != "" {
			return fmt.Errorf("%s %.80q is not one that all files can hold: want at most %d letters, digits and any of %s", o.what, o.value, maxChoice, o.marks)
		}
	}
	return nil
}

// Instance is what templates see as ".". URLs have no slash at the end.
type Instance struct {
	Mirror string // base URL of the TUF repository
	Fulcio string
	Rekor  string // v1
	Issuer string // where people sign in
	TSA    string // URL that requests are posted to; "" without one

	RekorV2 string // "" without one

	Image, Identity, IdentityIssuer string

	RootSHA256 string // of root.json, in hex

	// The newest of each kind as PEM, as the plain trust files have them.
	FulcioPEM, RekorPEM, CTPEM, TSAPEM string

	// Everything that trusted_root.json lists, older ones too.
	CAs, TSAs    []Authority
	Logs, CTLogs []Log

	root       string
	targets    map[string][]byte
	repository map[string][]byte
	dir        string
	chosen     Choices
}

// Authority is a certificate authority or a timestamp authority.
type Authority struct {
	Organization, CommonName string
	URI                      string
	PEM                      string // the chain as trusted_root.json orders it
}

// Log is a transparency log.
type Log struct {
	URL string
	PEM string
	V2  bool
}

// FromTrust makes an Instance. It refuses addresses that hold characters which some client's file would
// take for more than text.
func FromTrust(t Trust, c Choices) (*Instance, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	i := &Instance{
		Mirror: t.Mirror, RootSHA256: t.RootSHA256(), root: string(t.Root), targets: t.Targets, repository: t.Repository,
		chosen: c, dir: cmp.Or(c.Dir, "sigbox-trust"), Image: cmp.Or(c.Image, "registry.example.com/app"), Identity: cmp.Or(c.Identity, "dev@example.com"),
	}
	for name, to := range map[string]*string{
		trustroot.FulcioName: &i.FulcioPEM, trustroot.RekorName: &i.RekorPEM, trustroot.CTName: &i.CTPEM, trustroot.TSAName: &i.TSAPEM,
	} {
		*to = string(t.Targets[name])
	}
	if i.FulcioPEM == "" || i.RekorPEM == "" || i.CTPEM == "" {
		return nil, errors.New("the trust root lacks the CA's chain, or the key of Rekor or of the CT log: is it of a sigbox instance?")
	}
	if err := i.readServices(t.Targets); err != nil {
		return nil, err
	}
	if err := i.readRoot(t.Targets[trustroot.TrustedRootName]); err != nil {
		return nil, err
	}
	for name, u := range map[string]string{"TUF mirror": i.Mirror, "CA": i.Fulcio, "Rekor": i.Rekor, "Rekor v2": i.RekorV2, "issuer": i.Issuer, "TSA": i.TSA} {
		if err := plain(name, u); err != nil {
			return nil, err
		}
	}
	i.IdentityIssuer = cmp.Or(c.Issuer, i.Issuer)
	return i, nil
}

// plain refuses a URL that a shell, a pipeline's expressions or a template would read more into.
func plain(name, raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		strings.Trim(raw, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~:[]%") != "" {
		return fmt.Errorf("the instance says that its %s is at %q, which clients' files cannot hold safely: want http(s)://HOST/PATH of letters, digits and . _ - ~ %%", name, raw)
	}
	return nil
}

func (i *Instance) readServices(targets map[string][]byte) error {
	read := func(name string) (*pb.SigningConfig, error) {
		sc := &pb.SigningConfig{}
		if err := protojson.Unmarshal(targets[name], sc); err != nil {
			return nil, fmt.Errorf("target %s: %w", name, err)
		}
		return sc, nil
	}
	sc, err := read(trustroot.SigningConfigName)
	if err != nil {
		return err
	}
	first := func(list []*pb.Service) string {
		if len(list) == 0 {
			return ""
		}
		return list[0].GetUrl()
	}
	i.Fulcio, i.Rekor, i.Issuer, i.TSA = first(sc.GetCaUrls()), first(sc.GetRekorTlogUrls()), first(sc.GetOidcUrls()), first(sc.GetTsaUrls())
	if i.Fulcio == "" || i.Rekor == "" {
		return fmt.Errorf("target %s names no CA or no log", trustroot.SigningConfigName)
	}
	if targets[trustroot.SigningConfigV2Name] != nil {
		v2, err := read(trustroot.SigningConfigV2Name)
		if err != nil {
			return err
		}
		i.RekorV2 = first(v2.GetRekorTlogUrls())
	}
	return nil
}

func (i *Instance) readRoot(raw []byte) error {
	tr := &pb.TrustedRoot{}
	if err := protojson.Unmarshal(raw, tr); err != nil {
		return fmt.Errorf("target %s: %w", trustroot.TrustedRootName, err)
	}
	for _, a := range tr.GetCertificateAuthorities() {
		i.CAs = append(i.CAs, authority(a))
	}
	for _, a := range tr.GetTimestampAuthorities() {
		i.TSAs = append(i.TSAs, authority(a))
	}
	second, _ := pem.Decode(i.targets[trustroot.RekorV2Name])
	for _, l := range tr.GetTlogs() {
		der := l.GetPublicKey().GetRawBytes()
		i.Logs = append(i.Logs, Log{URL: l.GetBaseUrl(), PEM: pemOf("PUBLIC KEY", der), V2: second != nil && bytes.Equal(second.Bytes, der)})
	}
	for _, l := range tr.GetCtlogs() {
		i.CTLogs = append(i.CTLogs, Log{URL: l.GetBaseUrl(), PEM: pemOf("PUBLIC KEY", l.GetPublicKey().GetRawBytes())})
	}
	return nil
}

func authority(a *pb.CertificateAuthority) Authority {
	out := Authority{URI: a.GetUri(), Organization: a.GetSubject().GetOrganization(), CommonName: a.GetSubject().GetCommonName()}
	out.PEM = chainPEM(a.GetCertChain())
	if out.Organization == "" || out.CommonName == "" {
		if certs := a.GetCertChain().GetCertificates(); len(certs) > 0 {
			if c, err := x509.ParseCertificate(certs[len(certs)-1].GetRawBytes()); err == nil {
				out.CommonName = c.Subject.CommonName
				if len(c.Subject.Organization) > 0 {
					out.Organization = c.Subject.Organization[0]
				}
			}
		}
	}
	return out
}

func chainPEM(chain *pbcommon.X509CertificateChain) string {
	var b strings.Builder
	for _, c := range chain.GetCertificates() {
		b.WriteString(pemOf("CERTIFICATE", c.GetRawBytes()))
	}
	return b.String()
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// File is the path of a file of `trust export`.
func (i *Instance) File(name string) string { return path.Join(i.dir, name) }

// TSABase is TSA as programs want it that append /api/v1/timestamp themselves.
func (i *Instance) TSABase() string { return strings.TrimSuffix(i.TSA, "/api/v1/timestamp") }

// Authority is the host and port of the mirror, for GCE_METADATA_HOST: clients that look for a token ask there
// whether they run on Google's cloud, and the instance says no.
func (i *Instance) Authority() string {
	u, err := url.Parse(i.Mirror)
	if err != nil {
		return ""
	}
	return u.Host
}

// TrustConfig is the trusted root and the signing configuration of that name in one file, as sigstore-python
// and Kubewarden read them (ClientTrustConfig).
func (i *Instance) TrustConfig(signingConfig string) (string, error) {
	config, err := i.Target(signingConfig)
	if err != nil {
		return "", err
	}
	out, err := json.MarshalIndent(map[string]any{
		"mediaType":     "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
		"trustedRoot":   json.RawMessage(i.targets[trustroot.TrustedRootName]),
		"signingConfig": json.RawMessage(config),
	}, "", "  ")
	return string(out), err
}

// MirrorArchive is the repository as policy-controller's TrustRoot holds it, as tar.gz.
func (i *Instance) MirrorArchive() (string, error) { return archive(i.repository) }

// Verification is Kubewarden's verification configuration: who must have signed.
func (i *Instance) Verification() (string, error) {
	out, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1",
		"allOf":      []any{map[string]any{"kind": "genericIssuer", "issuer": i.IdentityIssuer, "subject": map[string]string{"equal": i.Identity}}},
		"anyOf":      nil,
	})
	return string(out), err
}

// Variables are those that would point cosign elsewhere.
func (i *Instance) Variables() []string { return trustroot.ClientVariables() }

// Root is root.json.
func (i *Instance) Root() string { return i.root }

// Target is a target by its plain name, for example trusted_root.json.
func (i *Instance) Target(name string) (string, error) {
	raw, ok := i.targets[name]
	if !ok {
		return "", fmt.Errorf("the instance publishes no %s", name)
	}
	return string(raw), nil
}

// needed returns a file of `trust export` by its name.
func (i *Instance) needed(name string) ([]byte, error) {
	if name == "root.json" {
		return []byte(i.root), nil
	}
	env := trustroot.Environment{Dir: i.dir, Mirror: i.Mirror, FulcioURL: i.Fulcio, RekorURL: i.Rekor, IssuerURL: i.Issuer, TSA: i.TSAPEM != ""}
	if f := env.Files()[name]; f != nil {
		return f, nil
	}
	text, err := i.Target(name)
	return []byte(text), err
}
