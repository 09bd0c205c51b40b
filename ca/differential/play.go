package differential

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"

	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog/differential"
)

// Player asks one server. Requests hold names in double braces, which it replaces:
//
//	{{token:NAME}}           a token of [Tokens], signed now
//	{{key:NAME}}             the PEM of a public key: p256, p384, p521, rsa, ed25519, p224
//	{{der:NAME}}             base64 of the public key's SubjectPublicKeyInfo
//	{{proof:NAME:CHALLENGE}} base64 of the key's signature over a challenge
//	{{csr:NAME}}             base64 of the PEM of a certificate signing request
type Player struct {
	URL    string           // scheme and host
	RPC    *grpc.ClientConn // for requests over gRPC
	Issuer *Issuer
	Client *http.Client

	keys    map[string]crypto.Signer
	seconds string // for which the certificate of the answer at hand is valid
}

// NewPlayer returns a player with keys of its own.
func NewPlayer(url string, rpc *grpc.ClientConn, issuer *Issuer) (*Player, error) {
	p := &Player{URL: url, RPC: rpc, Issuer: issuer, keys: map[string]crypto.Signer{}, Client: differential.NewClient()}
	var err error
	for name, curve := range map[string]elliptic.Curve{"p224": elliptic.P224(), "p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		if p.keys[name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			return nil, err
		}
	}
	if p.keys["rsa"], err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	_, p.keys["ed25519"], err = ed25519.GenerateKey(rand.Reader)
	return p, err
}

// Play sends the requests in their order.
func (p *Player) Play(ctx context.Context, requests []differential.Request) ([]differential.Answer, error) {
	return differential.Play(ctx, requests, p.ask)
}

func (p *Player) ask(ctx context.Context, r differential.Request) (differential.Answer, error) {
	if r.Method == method {
		return p.call(ctx, r)
	}
	resp, raw, err := r.Send(ctx, p.Client, p.URL, p.fill)
	if err != nil {
		return differential.Answer{}, err
	}
	a := r.Answered(resp, func(_ string, values []string) string { return strings.Join(values, "\n") })
	p.seconds = ""
	a.Body = p.shape(raw)
	if p.seconds != "" {
		a.Header["(validity in seconds)"] = p.seconds // beside the body, so that a difference in it hides none there
	}
	return a, nil
}

var name = regexp.MustCompile(`\{\{(?:(token):([^{}]*)|(key|der|proof|csr):([^{}:]*):?([^{}]*))\}\}`)

func (p *Player) fill(text string) (string, error) {
	var failed error
	out := name.ReplaceAllStringFunc(text, func(m string) string {
		parts := name.FindStringSubmatch(m)
		s, err := p.value(parts[1]+parts[3], parts[2]+parts[4], parts[5])
		failed = errors.Join(failed, err)
		return s
	})
	return out, failed
}

func (p *Player) value(kind, name, challenge string) (string, error) {
	if kind == "token" {
		return p.Issuer.Token(name)
	}
	key := p.keys[name]
	if key == nil {
		return "", fmt.Errorf("there is no key %q", name)
	}
	switch kind {
	case "key":
		content, err := keys.PublicPEM(key.Public())
		quoted, _ := json.Marshal(string(content)) // a string
		return string(bytes.Trim(quoted, `"`)), err
	case "der":
		der, err := keys.SPKI(key.Public())
		return base64.StdEncoding.EncodeToString(der), err
	case "csr":
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), err
	}
	digest, hash := []byte(challenge), hashOf(key.Public())
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	sig, err := key.Sign(rand.Reader, digest, hash)
	return base64.StdEncoding.EncodeToString(sig), err
}

// hashOf is the hash that clients use with a key.
func hashOf(pub crypto.PublicKey) crypto.Hash {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return 0
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			return crypto.SHA384
		case elliptic.P521():
			return crypto.SHA512
		}
	}
	return crypto.SHA256
}

// Issuer is a server on loopback with all issuers of [Config], which are its paths. It signs their tokens.
type Issuer struct {
	*httptest.Server
	key *rsa.PrivateKey
}

// StartIssuer starts an issuer. Whoever starts it closes it.
func StartIssuer() (*Issuer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	i := &Issuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{type}/.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.keys)
	i.Server = httptest.NewServer(mux)
	return i, nil
}

func (i *Issuer) discovery(w http.ResponseWriter, r *http.Request) {
	iss := i.URL + "/" + r.PathValue("type")
	write(w, map[string]any{
		"issuer": iss, "jwks_uri": i.URL + "/keys", "authorization_endpoint": iss + "/auth", "token_endpoint": iss + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
}

func write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// Token signs a token of Tokens.
func (i *Issuer) Token(name string) (string, error) {
	claims, ok := Tokens(i.URL, time.Now())[name]
	if !ok {
		return "", fmt.Errorf("there is no token %q", name)
	}
	key := i.key
	if claims["stranger"] != nil {
		delete(claims, "stranger")
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return "", err
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}
