//lint:file-ignore SA1019 the deprecated mappings are what the types of a configuration mean

package profile

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/sigstore/fulcio/pkg/config"
	"github.com/sigstore/fulcio/pkg/identity"
	"github.com/sigstore/fulcio/pkg/identity/buildkite"
	"github.com/sigstore/fulcio/pkg/identity/chainguard"
	"github.com/sigstore/fulcio/pkg/identity/ciprovider"
	"github.com/sigstore/fulcio/pkg/identity/codefresh"
	"github.com/sigstore/fulcio/pkg/identity/email"
	"github.com/sigstore/fulcio/pkg/identity/github"
	"github.com/sigstore/fulcio/pkg/identity/gitlabcom"
	"github.com/sigstore/fulcio/pkg/identity/kubernetes"
	"github.com/sigstore/fulcio/pkg/identity/spiffe"
	"github.com/sigstore/fulcio/pkg/identity/uri"
	"github.com/sigstore/fulcio/pkg/identity/username"
	"gopkg.in/yaml.v3"

	"github.com/sigbox/sigbox/oidc"
)

// upstreamMapping is Fulcio's own mapping of one type.
func upstreamMapping(typ oidc.Type) func(context.Context, *gooidc.IDToken) (identity.Principal, error) {
	return map[oidc.Type]func(context.Context, *gooidc.IDToken) (identity.Principal, error){
		oidc.TypeEmail:      email.PrincipalFromIDToken,
		oidc.TypeGitHub:     github.WorkflowPrincipalFromIDToken,
		oidc.TypeCIProvider: ciprovider.WorkflowPrincipalFromIDToken,
		oidc.TypeURI:        uri.PrincipalFromIDToken,
		oidc.TypeSPIFFE:     spiffe.PrincipalFromIDToken,
		oidc.TypeUsername:   username.PrincipalFromIDToken,
		oidc.TypeKubernetes: kubernetes.PrincipalFromIDToken,
		oidc.TypeChainguard: chainguard.PrincipalFromIDToken,
		oidc.TypeGitLab:     gitlabcom.JobPrincipalFromIDToken,
		oidc.TypeBuildkite:  buildkite.JobPrincipalFromIDToken,
		oidc.TypeCodefresh:  codefresh.WorkflowPrincipalFromIDToken,
	}[typ]
}

var testKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

// stated is what a certificate states about an identity.
type stated struct {
	Challenge  string
	SAN        pkix.Extension
	Extensions []pkix.Extension
}

// upstream has Fulcio's packages map the claims and put them into a real certificate.
func upstream(t testing.TB, cfg *config.FulcioConfig, typ oidc.Type, claims map[string]any) (stated, error) {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: testKey()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	idToken, err := gooidc.NewVerifier("", &gooidc.StaticKeySet{PublicKeys: []crypto.PublicKey{testKey().Public()}},
		&gooidc.Config{SkipClientIDCheck: true, SkipIssuerCheck: true, SkipExpiryCheck: true, SupportedSigningAlgs: []string{"ES256"}}).Verify(t.Context(), raw)
	if err != nil {
		return stated{}, err
	}
	ctx := config.With(t.Context(), cfg)
	p, err := upstreamMapping(typ)(ctx, idToken)
	if err != nil {
		return stated{}, err
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(600, 0)}
	if err := p.Embed(ctx, cert); err != nil {
		return stated{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, testKey().Public(), testKey())
	if err != nil {
		return stated{}, err
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return stated{}, err
	}
	out := stated{Challenge: p.Name(ctx)}
	for _, e := range made.Extensions {
		switch {
		case e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}):
			out.SAN = e
		case len(e.Id) == 9 && e.Id[6] == 57264:
			out.Extensions = append(out.Extensions, e)
		}
	}
	return out, nil
}

// ours maps the claims with this package.
func ours(t testing.TB, cfg *oidc.Config, iss string, claims map[string]any) (Identity, error) {
	t.Helper()
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	tok := &oidc.Token{IssuerURL: iss, Subject: fmt.Sprint(claims["sub"])}
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&tok.Claims); err != nil {
		t.Fatal(err)
	}
	for _, i := range cfg.Issuers {
		if i.URL == iss {
			tok.Issuer = i
		}
	}
	if tok.Issuer == nil {
		t.Fatalf("issuer %q is not configured", iss)
	}
	return FromToken(tok)
}

func equal(a pkix.Extension, b pkix.Extension) bool {
	return a.Id.Equal(b.Id) && a.Critical == b.Critical && string(a.Value) == string(b.Value)
}

// compare fails where the two differ in a single byte.
func compare(t testing.TB, got Identity, want stated) {
	t.Helper()
	if got.Challenge != want.Challenge {
		t.Errorf("challenge %q, upstream %q", got.Challenge, want.Challenge)
	}
	if !equal(got.SAN, want.SAN) {
		t.Errorf("SAN %x (critical %v)\nupstream %x (critical %v)", got.SAN.Value, got.SAN.Critical, want.SAN.Value, want.SAN.Critical)
	}
	if !slices.EqualFunc(got.Extensions, want.Extensions, equal) {
		t.Errorf("extensions\n%s\nupstream\n%s", list(got.Extensions), list(want.Extensions))
	}
}

func list(exts []pkix.Extension) string {
	var b strings.Builder
	for _, e := range exts {
		fmt.Fprintf(&b, "  .%d %v %q\n", e.Id[len(e.Id)-1], e.Critical, e.Value)
	}
	return b.String()
}

// testConfig has an issuer of every type, read by both sides from the same bytes.
const testConfig = `
oidc-issuers:
  https://email.example.com: {issuer-url: "https://email.example.com", client-id: sigstore, type: email}
  https://unverified.example.com: {issuer-url: "https://unverified.example.com", client-id: sigstore, type: email, skip-email-verification: true}
  https://dex.example.com: {issuer-url: "https://dex.example.com", client-id: sigstore, type: email, issuer-claim: $.federated_claims.connector_id}
  https://github.example.com: {issuer-url: "https://github.example.com", client-id: sigstore, type: github-workflow}
  https://uri.example.com: {issuer-url: "https://uri.example.com", client-id: sigstore, type: uri, subject-domain: "https://users.example.com"}
  https://spiffe.example.com: {issuer-url: "https://spiffe.example.com", client-id: sigstore, type: spiffe, spiffe-trust-domain: example.com}
  https://username.example.com: {issuer-url: "https://username.example.com", client-id: sigstore, type: username, subject-domain: example.com}
  https://k8s.example.com: {issuer-url: "https://k8s.example.com", client-id: sigstore, type: kubernetes}
  https://chainguard.example.com: {issuer-url: "https://chainguard.example.com", client-id: sigstore, type: chainguard-identity}
  https://gitlab.example.com: {issuer-url: "https://gitlab.example.com", client-id: sigstore, type: gitlab-pipeline}
  https://buildkite.example.com: {issuer-url: "https://buildkite.example.com", client-id: sigstore, type: buildkite-job}
  https://codefresh.example.com: {issuer-url: "https://codefresh.example.com", client-id: sigstore, type: codefresh-workflow}
`

func configs(t testing.TB, raw []byte) (*oidc.Config, *config.FulcioConfig) {
	t.Helper()
	c, err := oidc.ParseConfig("test", raw)
	if err != nil {
		t.Fatal(err)
	}
	f := &config.FulcioConfig{}
	if err := yaml.Unmarshal(raw, f); err != nil {
		t.Fatal(err)
	}
	return c, f
}

// publicConfig is the public instance's configuration, from the module that the tests import.
func publicConfig(t testing.TB) []byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/sigstore/fulcio").Output()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "config", "identity", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
