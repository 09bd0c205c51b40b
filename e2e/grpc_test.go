package e2e

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	fulcio "github.com/sigstore/fulcio/pkg/generated/protobuf"
	common "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekor "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/rekor-tiles/v2/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const grpcRow = "Fulcio v2 and Rekor v2 with upstream's generated clients, h2c and TLS; cosign 3 over HTTPS"

// TestGRPC: Fulcio v2 and Rekor v2 through upstream's generated clients, on the port that serves
// HTTP too: in clear text (h2c) and with TLS. cosign signs over HTTPS on that same port.
func TestGRPC(t *testing.T) {
	t.Parallel()
	defer cell(t, "gRPC", grpcRow, 2)()
	t.Run("h2c", func(t *testing.T) {
		r := start(t)
		overGRPC(t, r, insecure.NewCredentials())
	})
	t.Run("TLS", func(t *testing.T) {
		cert, key := selfSigned(t)
		pool := x509.NewCertPool()
		raw, err := os.ReadFile(cert)
		if err != nil || !pool.AppendCertsFromPEM(raw) {
			t.Fatal(err)
		}
		r := start(t, "--tls-cert", cert, "--tls-key", key)
		if !strings.HasPrefix(r.URL, "https://") {
			t.Fatalf("ready %s", r.URL)
		}
		overGRPC(t, r, credentials.NewTLS(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}))
		r.script(t, `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle blob.bundle blob
cosign3 verify-blob --bundle blob.bundle `+me+` blob
`, r.env(t, "TOKEN="+r.token(t, "dev@example.com")))
	})
}

func overGRPC(t *testing.T, r *rig, creds credentials.TransportCredentials) {
	t.Helper()
	conn, err := grpc.NewClient(r.Addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	key, cert := certificate(t, ctx, r, fulcio.NewCAClient(conn))
	logEntry(t, ctx, r, rekor.NewRekorClient(conn), key, cert)
}

// certificate asks for a certificate and returns the key and the leaf.
func certificate(t *testing.T, ctx context.Context, r *rig, ca fulcio.CAClient) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	challenge := sha256.Sum256([]byte("dev@example.com"))
	proof, err := ecdsa.SignASN1(rand.Reader, key, challenge[:])
	if err != nil {
		t.Fatal(err)
	}
	req := &fulcio.CreateSigningCertificateRequest{
		Credentials: &fulcio.Credentials{Credentials: &fulcio.Credentials_OidcIdentityToken{OidcIdentityToken: r.token(t, "dev@example.com")}},
		Key: &fulcio.CreateSigningCertificateRequest_PublicKeyRequest{PublicKeyRequest: &fulcio.PublicKeyRequest{
			PublicKey:         &fulcio.PublicKey{Content: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))},
			ProofOfPossession: proof,
		}},
	}
	resp, err := ca.CreateSigningCertificate(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	chain := resp.GetSignedCertificateEmbeddedSct().GetChain().GetCertificates()
	if len(chain) < 2 {
		t.Fatalf("chain of %d certificates: %v", len(chain), resp)
	}
	block, _ := pem.Decode([]byte(chain[0]))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := ca.GetTrustBundle(ctx, &fulcio.GetTrustBundleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := bundle.GetChains(); len(got) != 1 || strings.TrimSpace(got[0].GetCertificates()[len(got[0].GetCertificates())-1]) != strings.TrimSpace(chain[len(chain)-1]) {
		t.Errorf("the trust bundle does not end in the root of the chain: %v", got)
	}
	conf, err := ca.GetConfiguration(ctx, &fulcio.GetConfigurationRequest{})
	if err != nil || len(conf.GetIssuers()) == 0 {
		t.Errorf("configuration %v: %v", conf, err)
	}
	proof[len(proof)-1] ^= 1
	if _, err := ca.CreateSigningCertificate(ctx, req); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a wrong proof of possession: %v", err)
	}
	return key, leaf
}

// logEntry logs a hashedrekord and verifies the answer with upstream's verifier and the log's key.
func logEntry(t *testing.T, ctx context.Context, r *rig, log rekor.RekorClient, key *ecdsa.PrivateKey, cert *x509.Certificate) {
	t.Helper()
	digest := sha256.Sum256([]byte("an artifact"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	req := &rekor.CreateEntryRequest{Spec: &rekor.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: &rekor.HashedRekordRequestV002{
		Digest: digest[:],
		Signature: &rekor.Signature{Content: sig, Verifier: &rekor.Verifier{
			Verifier:   &rekor.Verifier_X509Certificate{X509Certificate: &common.X509Certificate{RawBytes: cert.Raw}},
			KeyDetails: common.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		}},
	}}}
	entry, err := log.CreateEntry(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if err := verify.VerifyLogEntry(entry, v2Verifier(t, r)); err != nil {
		t.Errorf("rekor-tiles does not verify the entry: %v\n%v", err, entry)
	}
	sig[len(sig)-1] ^= 1
	if _, err := log.CreateEntry(ctx, req); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a wrong signature: %v", err)
	}
}

// v2Verifier verifies checkpoints of the Rekor v2 log by the key that `trust export` wrote.
func v2Verifier(t *testing.T, r *rig) interface {
	Name() string
	KeyHash() uint32
	Verify(msg, sig []byte) bool
} {
	t.Helper()
	key, err := signature.LoadVerifier(readPublicKey(t, filepath.Join(r.trust, "rekor_v2.pub")), crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewNoteVerifier(u.Hostname(), key)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func readPublicKey(t *testing.T, path string) any {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		t.Fatalf("%s is not PEM", path)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "e2e"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", keyDER)
}
