package fulcio_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/certificate-transparency-go/ctutil"
	ctx509 "github.com/google/certificate-transparency-go/x509"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/sigstore/fulcio/pkg/api"
	pb "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// checkIssued verifies what a client got, as clients do.
func (s *stack) checkIssued(t *testing.T, chain []*x509.Certificate, k keyPair, name string) {
	t.Helper()
	if len(chain) != 3 || !chain[1].Equal(s.hierarchy.Intermediate) || !chain[2].Equal(s.hierarchy.Root) {
		t.Fatalf("chain of %d certificates, want leaf, intermediate and root", len(chain))
	}
	leaf := chain[0]
	got := append([]string{}, leaf.EmailAddresses...)
	for _, u := range leaf.URIs {
		got = append(got, u.String())
	}
	if !k.PublicKey.Equal(leaf.PublicKey) || len(got) != 1 || got[0] != name {
		t.Errorf("certificate for %v, want %s", got, name)
	}
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(chain[2])
	inter.AddCert(chain[1])
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter, CurrentTime: s.clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}); err != nil {
		t.Error(err)
	}
	scts, err := x509util.ParseSCTsFromCertificate(leaf.Raw)
	if err != nil || len(scts) != 1 {
		t.Fatalf("%d SCTs, %v", len(scts), err)
	}
	parsed := []*ctx509.Certificate{}
	for _, c := range chain[:2] {
		p, err := ctx509.ParseCertificate(c.Raw)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, p)
	}
	if err := ctutil.VerifySCT(s.ctKey.Public(), parsed, scts[0], true); err != nil {
		t.Error(err)
	}
}

func (s *stack) checkV2(t *testing.T, a answer, k keyPair, name string) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	var resp struct {
		Embedded struct {
			Chain struct {
				Certificates []string `json:"certificates"`
			} `json:"chain"`
		} `json:"signedCertificateEmbeddedSct"`
	}
	if err := json.Unmarshal([]byte(a.body), &resp); err != nil {
		t.Fatal(err)
	}
	s.checkIssued(t, parseChain(t, resp.Embedded.Chain.Certificates), k, name)
}

// TestLegacyClient drives v1 with Fulcio's own client, which older cosign and gitsign use.
func TestLegacyClient(t *testing.T) {
	s := newStack(t)
	base, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	c := api.NewClient(base)
	k := newKeyPair(t)
	block, _ := pem.Decode([]byte(k.pem))
	for form, req := range map[string]api.CertificateRequest{
		"DER key": {PublicKey: api.Key{Content: block.Bytes, Algorithm: "ecdsa"}, SignedEmailAddress: k.prove(t, "dev@example.com")},
		"PEM key": {PublicKey: api.Key{Content: []byte(k.pem), Algorithm: "any thing"}, SignedEmailAddress: k.prove(t, "dev@example.com")}, // B-087
		"CSR":     {CertificateSigningRequest: k.csr(t)},
	} {
		resp, err := c.SigningCert(req, s.token(t, nil))
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		var chain []*x509.Certificate
		for rest := append(resp.CertPEM, resp.ChainPEM...); len(rest) > 0; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				t.Fatalf("%s: trailing %q", form, rest)
			}
			cert, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, cert)
		}
		s.checkIssued(t, chain, k, "dev@example.com")
		if len(resp.SCT) != 0 {
			t.Errorf("%s: SCT beside the certificate", form)
		}
	}
	root, err := c.RootCert()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(root.ChainPEM), "-----BEGIN CERTIFICATE-----"); n != 2 {
		t.Errorf("rootCert holds %d certificates, want intermediate and root", n)
	}
}

// TestForms: the ways in which clients write one request.
func TestForms(t *testing.T) {
	s := newStack(t)
	k := newKeyPair(t)
	proof := k.prove(t, "dev@example.com")
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	oneLine := newKeyPair(t)
	oneLine.PrivateKey = k.PrivateKey
	block, _ := pem.Decode([]byte(k.pem))
	oneLine.pem = "-----BEGIN PUBLIC KEY-----\n" + base64.StdEncoding.EncodeToString(block.Bytes) + "\n-----END PUBLIC KEY-----"
	extra := bodyV2(s.token(t, nil), k, proof)
	extra["unknown"] = object{"deep": []int{1}}
	number := bodyV2(s.token(t, nil), k, proof)
	number["publicKeyRequest"].(object)["publicKey"].(object)["algorithm"] = 2
	for _, tc := range []struct {
		name   string
		header http.Header
		body   any
	}{
		{"token in the header (sigstore-go)", bearer(s.token(t, nil)), bodyV2("", k, proof)},
		{"token in the body (sigstore-js)", nil, bodyV2(s.token(t, nil), k, proof)},
		{"token in both: the body's is used", bearer("nonsense"), bodyV2(s.token(t, nil), k, proof)},
		{"CSR, PEM wanted (sigstore-python)", http.Header{"Authorization": {"Bearer " + s.token(t, nil)}, "Accept": {"application/pem-certificate-chain"}}, object{"certificateSigningRequest": k.csr(t)}},
		{"unwrapped PEM (sigstore-java)", nil, bodyV2(s.token(t, nil), oneLine, proof)},
		{"unknown field", nil, extra},
		{"algorithm as number", nil, number},
		{"names of the .proto file", nil, object{"credentials": object{"oidc_identity_token": s.token(t, nil)}, "public_key_request": object{"public_key": object{"content": k.pem}, "proof_of_possession": proof}}},
		{"doubled slash", nil, bodyV2(s.token(t, nil), k, proof)},
		{"charset", http.Header{"Content-Type": {"application/json; charset=utf-8"}}, bodyV2(s.token(t, nil), k, proof)},
		{"null for what is not set", nil, object{"credentials": object{"oidcIdentityToken": s.token(t, nil)}, "certificateSigningRequest": nil, "publicKeyRequest": bodyV2("", k, proof)["publicKeyRequest"]}},
	} {
		path := "/api/v2/signingCert"
		if tc.name == "doubled slash" { // sigstore-go with a base URL that ends in one
			path = "/" + path
		}
		a := s.do(t, http.MethodPost, path, tc.header, text(t, tc.body))
		if a.status != 200 {
			t.Errorf("%s: %d %s", tc.name, a.status, a.body)
			continue
		}
		s.checkV2(t, a, k, "dev@example.com")
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: CORS headers %v", tc.name, a.header)
		}
	}
	ci := s.do(t, http.MethodPost, "/api/v2/signingCert", nil, text(t, bodyV2(s.ciToken(t), k, k.prove(t, "repo:acme/app:ref:refs/heads/main"))))
	s.checkV2(t, ci, k, "https://github.com/acme/app/.github/workflows/r.yml@refs/heads/main")
}

// TestV1Answer is exact where old clients compare: status, media type, no newline at the end.
func TestV1Answer(t *testing.T) {
	s := newStack(t)
	k := newKeyPair(t)
	a := s.do(t, http.MethodPost, "/api/v1/signingCert", http.Header{"Authorization": {"Bearer " + s.token(t, nil)}},
		text(t, object{"publicKey": object{"content": []byte(k.pem)}, "signedEmailAddress": k.prove(t, "dev@example.com"), "certificateSigningRequest": nil}))
	if a.status != http.StatusCreated || a.header.Get("Content-Type") != "application/pem-certificate-chain" || a.header.Get("SCT") != "" || strings.HasSuffix(a.body, "\n") {
		t.Errorf("%d %v %q", a.status, a.header, a.body)
	}
}

func TestReads(t *testing.T) {
	s := newStack(t)
	bundle := s.do(t, http.MethodGet, "/api/v2/trustBundle", nil, "")
	var tb struct {
		Chains []struct {
			Certificates []string `json:"certificates"`
		} `json:"chains"`
	}
	if err := json.Unmarshal([]byte(bundle.body), &tb); err != nil || len(tb.Chains) != 1 {
		t.Fatalf("%v: %s", err, bundle.body)
	}
	for i, c := range tb.Chains[0].Certificates { // here upstream ends them with a newline, and nowhere else
		text, ok := strings.CutSuffix(c, "\n")
		if !ok {
			t.Errorf("trust bundle, certificate %d: no newline at the end", i)
		}
		tb.Chains[0].Certificates[i] = text
	}
	chain := parseChain(t, tb.Chains[0].Certificates)
	if len(chain) != 2 || !chain[0].Equal(s.hierarchy.Intermediate) || !chain[1].Equal(s.hierarchy.Root) {
		t.Errorf("trust bundle of %d certificates", len(chain))
	}
	conf := s.do(t, http.MethodGet, "/api/v2/configuration", nil, "")
	want := `{"issuers":[{"issuerUrl":"` + emailIssuer + `","audience":"sigstore","challengeClaim":"email","spiffeTrustDomain":"","issuerType":"email","subjectDomain":"","skipEmailVerification":false},` +
		`{"issuerUrl":"` + ciIssuer + `","audience":"sigstore","challengeClaim":"sub","spiffeTrustDomain":"","issuerType":"github-workflow","subjectDomain":"","skipEmailVerification":false},` +
		`{"issuerUrl":"https://dead.example.com","audience":"sigstore","challengeClaim":"email","spiffeTrustDomain":"","issuerType":"email","subjectDomain":"","skipEmailVerification":false}]}`
	if conf.status != 200 || conf.body != want {
		t.Errorf("configuration %d\n%s\nwant\n%s", conf.status, conf.body, want)
	}
	pre := s.do(t, http.MethodOptions, "/api/v2/signingCert", http.Header{"Origin": {"https://evil.example.com"}, "Access-Control-Request-Method": {"POST"}}, "")
	if pre.status != http.StatusNoContent || pre.header.Get("Access-Control-Allow-Methods") != "POST" || pre.header.Get("Access-Control-Allow-Credentials") != "" { // B-020
		t.Errorf("preflight: %d %v", pre.status, pre.header)
	}
	for path, method := range map[string]string{"/api/v2/signingCert": http.MethodGet, "/api/v1/signingCert": http.MethodPut, "/api/v2/trustBundle": http.MethodPost, "/api/v1/rootCert": http.MethodDelete} { // B-014
		if a := s.do(t, method, path, nil, ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
			t.Errorf("%s %s: %d, Allow %q", method, path, a.status, a.header.Get("Allow"))
		}
	}
}

// TestGRPC uses upstream's generated client over cleartext HTTP/2 on the port that HTTP is on.
func TestGRPC(t *testing.T) {
	s := newStack(t)
	conn, err := grpc.NewClient(strings.TrimPrefix(s.url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := pb.NewCAClient(conn)
	k := newKeyPair(t)
	key := func(proof []byte) *pb.CreateSigningCertificateRequest_PublicKeyRequest {
		return &pb.CreateSigningCertificateRequest_PublicKeyRequest{PublicKeyRequest: &pb.PublicKeyRequest{
			PublicKey: &pb.PublicKey{Content: k.pem}, ProofOfPossession: proof,
		}}
	}
	creds := func(token string) *pb.Credentials {
		return &pb.Credentials{Credentials: &pb.Credentials_OidcIdentityToken{OidcIdentityToken: token}}
	}
	good := k.prove(t, "dev@example.com")
	ctx := t.Context()
	for name, tc := range map[string]struct {
		ctx context.Context
		req *pb.CreateSigningCertificateRequest
	}{
		"key":               {ctx, &pb.CreateSigningCertificateRequest{Credentials: creds(s.token(t, nil)), Key: key(good)}},
		"CSR":               {ctx, &pb.CreateSigningCertificateRequest{Credentials: creds(s.token(t, nil)), Key: &pb.CreateSigningCertificateRequest_CertificateSigningRequest{CertificateSigningRequest: k.csr(t)}}},
		"token as metadata": {metadata.AppendToOutgoingContext(ctx, "oidcidentitytoken", s.token(t, nil)), &pb.CreateSigningCertificateRequest{Key: key(good)}},
	} {
		resp, err := c.CreateSigningCertificate(tc.ctx, tc.req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if resp.GetSignedCertificateDetachedSct() != nil {
			t.Fatalf("%s: detached SCT", name)
		}
		s.checkIssued(t, parseChain(t, resp.GetSignedCertificateEmbeddedSct().GetChain().GetCertificates()), k, "dev@example.com")
	}
	records, entries := s.traces(t)
	for name, tc := range map[string]struct {
		ctx  context.Context
		req  *pb.CreateSigningCertificateRequest
		want string
		code string
	}{
		"no token":   {ctx, &pb.CreateSigningCertificateRequest{Key: key(good)}, "There was an error processing the identity token", "token_size"},
		"two tokens": {metadata.AppendToOutgoingContext(ctx, "oidcidentitytoken", s.token(t, nil), "oidcidentitytoken", s.token(t, nil)), &pb.CreateSigningCertificateRequest{Key: key(good)}, "There was an error processing the identity token", "token_size"},
		"no key":     {ctx, &pb.CreateSigningCertificateRequest{Credentials: creds(s.token(t, nil))}, "The public key supplied in the request could not be parsed", "key"},
		"bad proof":  {ctx, &pb.CreateSigningCertificateRequest{Credentials: creds(s.token(t, nil)), Key: key(k.prove(t, "subject-1"))}, "The signature supplied in the request could not be verified", "possession"},
		"bad CSR":    {ctx, &pb.CreateSigningCertificateRequest{Credentials: creds(s.token(t, nil)), Key: &pb.CreateSigningCertificateRequest_CertificateSigningRequest{CertificateSigningRequest: []byte("x")}}, "The certificate signing request could not be parsed", "csr"},
	} {
		var trailer metadata.MD
		_, err := c.CreateSigningCertificate(tc.ctx, tc.req, grpc.Trailer(&trailer))
		if code := strings.Join(trailer.Get("sigbox-error"), " "); code != tc.code {
			t.Errorf("%s: the trailer says %q, want %q", name, code, tc.code)
		}
		if st := status.Convert(err); st.Code() != codes.InvalidArgument || st.Message() != tc.want || len(st.Details()) != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if r, e := s.traces(t); r != records || e != entries {
		t.Errorf("refused requests left %d records and %d entries", r-records, e-entries)
	}
	bundle, err := c.GetTrustBundle(ctx, &pb.GetTrustBundleRequest{})
	if err != nil || len(bundle.GetChains()) != 1 || len(bundle.GetChains()[0].GetCertificates()) != 2 {
		t.Errorf("trust bundle %v, %v", bundle, err)
	}
	conf, err := c.GetConfiguration(ctx, &pb.GetConfigurationRequest{})
	if err != nil || len(conf.GetIssuers()) != 3 || conf.GetIssuers()[0].GetIssuerUrl() != emailIssuer {
		t.Errorf("configuration %v, %v", conf, err)
	}
}
