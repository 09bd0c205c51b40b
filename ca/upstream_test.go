package ca_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"testing"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	fulcioca "github.com/sigstore/fulcio/pkg/ca"
	"github.com/sigstore/fulcio/pkg/ca/baseca"
	"github.com/sigstore/fulcio/pkg/config"
	fulcioid "github.com/sigstore/fulcio/pkg/identity"
	"github.com/sigstore/fulcio/pkg/identity/email"
	"github.com/sigstore/fulcio/pkg/identity/github"

	"github.com/sigbox/sigbox/ca"
	"github.com/sigbox/sigbox/oidc"
	"github.com/sigbox/sigbox/tlog/entry/certificate"
)

// upstreamToken is the token as Fulcio's packages take it. Its signature is not looked at.
func upstreamToken(t *testing.T, tok *oidc.Token) *gooidc.IDToken {
	t.Helper()
	claims := map[string]any{"exp": 4e9}
	for k, v := range tok.Claims {
		claims[k] = v
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	raw := enc([]byte(`{"alg":"RS256"}`)) + "." + enc(payload) + "." + enc([]byte("x"))
	id, err := gooidc.NewVerifier(tok.IssuerURL, nil, &gooidc.Config{ClientID: "sigstore", InsecureSkipSignatureCheck: true}).Verify(t.Context(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestEqualsUpstream has Fulcio's own packages issue a certificate for the same token and key under
// the same CA, and compares every extension, in order and to the byte, and every other field that
// is not a serial number, a time or a signature.
func TestEqualsUpstream(t *testing.T) {
	for name, tc := range map[string]struct {
		token     *oidc.Token
		typ       config.IssuerType
		principal func(context.Context, *gooidc.IDToken) (fulcioid.Principal, error)
	}{
		"email": {emailToken("dev@example.com"), config.IssuerTypeEmail, email.PrincipalFromIDToken},
		//lint:ignore SA1019 deprecated, and still what this type of issuer means
		"github": {githubToken(), config.IssuerTypeGithubWorkflow, github.WorkflowPrincipalFromIDToken},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStack(t)
			ctx := config.With(t.Context(), &config.FulcioConfig{OIDCIssuers: map[string]config.OIDCIssuer{
				tc.token.IssuerURL: {IssuerURL: tc.token.IssuerURL, ClientID: "sigstore", Type: tc.typ},
			}})
			principal, err := tc.principal(ctx, upstreamToken(t, tc.token))
			if err != nil {
				t.Fatal(err)
			}
			id := identity(t, tc.token)
			if id.Challenge != principal.Name(ctx) {
				t.Errorf("challenge %q, upstream's %q", id.Challenge, principal.Name(ctx))
			}
			k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			chain, err := s.authority.Issue(t.Context(), id, proveWith(t, k, id.Challenge), ca.Grant{})
			if err != nil {
				t.Fatal(err)
			}
			pre, err := x509.ParseCertificate(s.all(t)[0].Precertificate)
			if err != nil {
				t.Fatal(err)
			}
			theirs := &baseca.BaseCA{SignerWithChain: &fulcioca.SignerCerts{Signer: s.hierarchy.IntermediateKey, Certs: s.hierarchy.Chain()}}
			theirPre, err := theirs.CreatePrecertificate(ctx, principal, k.Public())
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "precertificate", pre, theirPre.PreCert)
			// Their certificate gets our SCT, so that the list can be compared too.
			theirFinal, err := theirs.IssueFinalCertificate(ctx, theirPre, embedded(t, chain[0]))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "certificate", chain[0], theirFinal.FinalCertificate)
		})
	}
}

func embedded(t *testing.T, leaf *x509.Certificate) *ct.SignedCertificateTimestamp {
	t.Helper()
	value := leaf.Extensions[len(leaf.Extensions)-1].Value
	list := value[bytes.IndexByte(value, 0):] // after the OCTET STRING header the length begins with a zero
	var sct ct.SignedCertificateTimestamp
	if _, err := tls.Unmarshal(list[4:], &sct); err != nil {
		t.Fatal(err)
	}
	return &sct
}

func compare(t *testing.T, what string, ours, theirs *x509.Certificate) {
	t.Helper()
	if len(ours.Extensions) != len(theirs.Extensions) {
		t.Fatalf("%s: %d extensions, upstream %d", what, len(ours.Extensions), len(theirs.Extensions))
	}
	for i, e := range ours.Extensions {
		if u := theirs.Extensions[i]; !e.Id.Equal(u.Id) || e.Critical != u.Critical || !bytes.Equal(e.Value, u.Value) {
			t.Errorf("%s: extension %d\n%v\nupstream\n%v", what, i, e, u)
		}
	}
	ourFields, theirFields := elements(t, ours.RawTBSCertificate), elements(t, theirs.RawTBSCertificate)
	if len(ourFields) != len(theirFields) {
		t.Fatalf("%s: %d fields, upstream %d", what, len(ourFields), len(theirFields))
	}
	for i := range ourFields {
		if i != 1 && i != 4 && !bytes.Equal(ourFields[i].FullBytes, theirFields[i].FullBytes) {
			t.Errorf("%s: field %d\n%x\nupstream\n%x", what, i, ourFields[i].FullBytes, theirFields[i].FullBytes)
		}
	}
}

// TestUpstreamTakesTheChain: Fulcio's own check of a CA's chain and key passes for ours.
func TestUpstreamTakesTheChain(t *testing.T) {
	s := newStackNow(t)
	if err := fulcioca.VerifyCertChain(s.Chain(), s.IntermediateKey); err != nil {
		t.Error(err)
	}
	if err := fulcioca.VerifyCertChain(s.Chain(), s.RootKey); err == nil {
		t.Error("another key passes: the check shows nothing")
	}
	if certificate.OIDPoison.String() != baseca.OIDExtensionCTPoison.String() || certificate.OIDSCTList.String() != baseca.OIDExtensionCTSCT.String() {
		t.Error("extension identifiers differ")
	}
}
