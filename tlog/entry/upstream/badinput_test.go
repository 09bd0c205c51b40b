package upstream_test

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/digitorus/pkcs7"
	"golang.org/x/crypto/ssh"

	"github.com/sigbox/sigbox/tlog/entry/entrytest"
)

// badFormat is a proposal with something wrong inside of its format.
type badFormat struct {
	from string            // a kept proposal
	with map[string][]byte // by path of what is replaced in it
}

func replaced(from string, pathAndData ...any) badFormat {
	b := badFormat{from, map[string][]byte{}}
	for i := 0; i < len(pathAndData); i += 2 {
		switch d := pathAndData[i+1].(type) {
		case []byte:
			b.with[pathAndData[i].(string)] = d
		case string:
			b.with[pathAndData[i].(string)] = []byte(d)
		}
	}
	return b
}

func (b badFormat) proposal(t *testing.T, good map[string][]byte) []byte {
	t.Helper()
	p := good[b.from]
	for path, data := range b.with {
		p = edit(t, p, strings.Split(path, "."), set(data))
	}
	return p
}

// TestBadFormats: what the tools of each format could sign and what breaks a format in the middle is
// refused as upstream's code refuses it, within the same bounds as a bomb (B-124 to B-135).
func TestBadFormats(t *testing.T) {
	good := kept(t)
	for name, b := range badFormats(t, good) {
		t.Run(name, func(t *testing.T) {
			proposed := b.proposal(t, good)
			if _, err := theirs(proposed); err == nil {
				t.Error("the row is wrong: upstream accepts")
			}
			within(t, func() {
				if agree(t, proposed) {
					t.Error("accepted")
				}
			})
		})
	}
	// The proposals that the rows start from are good, so that each row fails for its own cause.
	for _, row := range []badFormat{
		replaced("rekord-ssh-ed25519", sshSigned(t, sshSignature{})...), replaced("rekord-pgp-binary", pgpSigned(t, nil)...), replaced("rfc3161"), replaced("cose"),
	} {
		if !agree(t, row.proposal(t, good)) {
			t.Errorf("%s: refused", row.from)
		}
	}
}

func badFormats(t *testing.T, good map[string][]byte) map[string]badFormat {
	out := map[string]badFormat{}
	badPGP(t, out)
	badSSH(t, out)
	badMinisign(t, good, out)
	badCOSE(out)
	badTSR(t, good, out)
	rpm := decoded(t, good["rpm"], "package", "content")
	out["rpm: 48 MB of payload"] = replaced("rpm", "package.content", append(bytes.Clone(rpm), gzipOf(t, make([]byte, 48<<20))...))
	out["rpm: no bytes"] = replaced("rpm", "package.content", "")
	out["rpm: signature header only"] = replaced("rpm", "package.content", rpm[:len(rpm)/4])
	return out
}

func decoded(t *testing.T, proposed []byte, path ...string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(at(entrytest.Spec(t, proposed), path))
	if err != nil || len(raw) == 0 {
		t.Fatalf("%v: %v", path, err)
	}
	return raw
}

const artifactText = "what is signed\n"

// pgpSigned signs with a new key that change has done something to.
func pgpSigned(t *testing.T, change func(*openpgp.Entity)) []any {
	e, err := openpgp.NewEntity("a", "", "a@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var sig, key bytes.Buffer
	if err := openpgp.DetachSign(&sig, e, strings.NewReader(artifactText), nil); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(e)
	}
	if err := e.Serialize(&key); err != nil {
		t.Fatal(err)
	}
	return []any{"signature.publicKey.content", key.Bytes(), "signature.content", sig.Bytes()}
}

func badPGP(t *testing.T, out map[string]badFormat) {
	add := func(name string, what ...any) { out["pgp: "+name] = replaced("rekord-pgp-binary", what...) }
	add("revoked key", pgpSigned(t, func(e *openpgp.Entity) {
		if err := e.RevokeKey(packet.KeyCompromised, "lost", nil); err != nil {
			t.Error(err)
		}
	})...)
	add("signed by a key that names nobody", pgpSigned(t, func(e *openpgp.Entity) { clear(e.Identities) })...)
	// A session key that a password opens, after 65,011,712 rounds of SHA-256 (RFC 9580 3.7.1.3, 5.3).
	session := append([]byte{0xc3, 13, 4, 9, 3, 8}, "saltsalt\xff"...)
	add("S2K of 65 million rounds for a key", "signature.publicKey.content", session)
	add("S2K of 65 million rounds for a signature", "signature.content", session)
	add("signature without bytes", "signature.content", []byte{0xc2, 0})
	add("signature of version 9", "signature.content", []byte{0xc2, 4, 9, 0, 0, 0})
}

// sshSignature is what differs in an SSHSIG (openssh PROTOCOL.sshsig) from a good one.
type sshSignature struct {
	namespace, hash, magic string
	version                uint32
	wrong                  bool // it is over something else
}

// sshMessage is what is signed.
func sshMessage(text, namespace, hash string) []byte {
	sum := sha512.Sum512([]byte(text))
	return append([]byte("SSHSIG"), ssh.Marshal(struct{ Namespace, Reserved, Hash, Sum string }{namespace, "", hash, string(sum[:])})...)
}

func sshBlob(s sshSignature, key []byte, sig ssh.Signature) []byte {
	return append([]byte(cmp.Or(s.magic, "SSHSIG")), ssh.Marshal(struct {
		Version                                   uint32
		Key, Namespace, Reserved, Hash, Signature string
	}{max(s.version, 1), string(key), cmp.Or(s.namespace, "file"), "", cmp.Or(s.hash, "sha512"), string(ssh.Marshal(sig))})...)
}

// sshSigned signs with a new Ed25519 key.
func sshSigned(t *testing.T, s sshSignature) []any {
	key := entrytest.Ed25519(t)
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := artifactText
	if s.wrong {
		text += "!"
	}
	sig := ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: ed25519.Sign(key, sshMessage(text, cmp.Or(s.namespace, "file"), cmp.Or(s.hash, "sha512")))}
	return []any{"signature.publicKey.content", ssh.MarshalAuthorizedKey(pub), "signature.content", sshArmour(sshBlob(s, pub.Marshal(), sig))}
}

func sshArmour(blob []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: blob})
}

func badSSH(t *testing.T, out map[string]badFormat) {
	add := func(name string, what ...any) { out["ssh: "+name] = replaced("rekord-ssh-ed25519", what...) }
	add("namespace of git", sshSigned(t, sshSignature{namespace: "git"})...)
	add("no such hash", sshSigned(t, sshSignature{hash: "md5"})...)
	add("another version", sshSigned(t, sshSignature{version: 2})...)
	add("another magic", sshSigned(t, sshSignature{magic: "SSHSIX"})...)
	add("over something else", sshSigned(t, sshSignature{wrong: true})...)
	add("key of another", sshSigned(t, sshSignature{})[:2]...)
	add("blob cut off", "signature.content", sshArmour([]byte("SSHSIG\x00\x00\x00\x01\x00\x00\x00\x33")))
	add("length of 4 GiB", "signature.content", sshArmour([]byte("SSHSIG\x00\x00\x00\x01\xff\xff\xff\xff")))
	add("no bytes", "signature.content", sshArmour(nil))
	add("key of no known type", "signature.publicKey.content", "ssh-nosuch AAAAB3NzaC1yc2E= x")
	add("key cut off", "signature.publicKey.content", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI x")
	add("token, without what it has counted", sshOnToken(t)[0], sshOnToken(t)[1], "signature.content", sshSigned(t, sshSignature{})[3])
}

func sshCertificate(t *testing.T, key ssh.Signer) *ssh.Certificate {
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "x", ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, key); err != nil {
		t.Fatal(err)
	}
	return cert
}

func badMinisign(t *testing.T, good map[string][]byte, out map[string]badFormat) {
	sig := decoded(t, good["rekord-minisign"], "signature", "content")
	key := decoded(t, good["rekord-minisign"], "signature", "publicKey", "content")
	add := func(name string, what ...any) { out["minisign: "+name] = replaced("rekord-minisign", what...) }
	lines := bytes.SplitAfter(sig, []byte("\n"))
	line := func(change func(raw []byte) []byte) []byte {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(lines[1])))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Appendf(nil, "%s%s\n%s", lines[0], base64.StdEncoding.EncodeToString(change(raw)), bytes.Join(lines[2:], nil))
	}
	add("comment alone", "signature.content", lines[0])
	add("signature cut off", "signature.content", line(func(raw []byte) []byte { return raw[:40] }))
	add("no such algorithm", "signature.content", line(func(raw []byte) []byte { copy(raw, "XX"); return raw }))
	add("no base64", "signature.content", "untrusted comment: x\n!!!!\n")
	add("key of two lines of text", "signature.publicKey.content", "a\nb\n")
	add("key cut off", "signature.publicKey.content", key[:len(key)/2])
	add("key of 10,000 lines", "signature.publicKey.content", bytes.Repeat([]byte("untrusted comment: x\n"), 3000))
}

func badCOSE(out map[string]badFormat) {
	add := func(name string, message []byte) { out["cose: "+name] = replaced("cose", "message", message) }
	sign1 := func(protected, unprotected, payload string) []byte { // COSE_Sign1 with a signature of zeros
		b := append([]byte{0xd2, 0x84, 0x40 + byte(len(protected))}, protected+unprotected+payload...)
		return append(append(b, 0x58, 64), make([]byte, 64)...)
	}
	const noMap, payload, es256 = "\xa0", "\x41x", "\xa1\x01\x26"
	add("signature of zeros", sign1(es256, noMap, payload))
	add("no algorithm", sign1("", noMap, payload))
	add("algorithm in the open header only", sign1("", es256, payload))
	add("algorithm 0, which is none", sign1("\xa1\x01\x00", noMap, payload))
	add("algorithm of RSA", sign1("\xa1\x01\x38\x24", noMap, payload))
	add("algorithm twice", sign1("\xa2\x01\x26\x01\x26", noMap, payload))
	add("algorithm in both headers", sign1(es256, es256, payload))
	add("critical header that nobody knows", sign1("\xa2\x01\x26\x02\x81\x18\x63", noMap, payload))
	add("no message", []byte{0xd2, 0x84, 0x43, 0xa1, 0x01, 0x26, 0xa0, 0xf6, 0x58, 64})
	add("detached, nothing given", sign1(es256, noMap, "\xf6"))
	add("null", []byte{0xf6})
	add("bytes after the message", append(sign1(es256, noMap, payload), 0))
	out["cose: signed with other data beside it"] = replaced("cose", "data.aad", "other")
}

func badTSR(t *testing.T, good map[string][]byte, out map[string]badFormat) {
	tsr := decoded(t, good["rfc3161"], "tsr", "content")
	add := func(name string, data []byte) { out["rfc3161: "+name] = replaced("rfc3161", "tsr.content", data) }
	tstInfo := []byte("\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04")
	if n := bytes.Count(tsr, tstInfo); n != 2 {
		t.Fatalf("%d times the type of a TSTInfo", n)
	}
	i := bytes.LastIndex(tsr, tstInfo)
	other := bytes.Clone(tsr)
	other[i+len(tstInfo)-1] = 5 // in the signed attributes
	add("signed as something else", other)
	signedData := []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02")
	i = bytes.Index(tsr, signedData)
	if i < 0 {
		t.Fatal("no signed data")
	}
	other = bytes.Clone(tsr)
	other[i+len(signedData)-1] = 1
	add("token that is no signed data", other)
	add("nobody has signed", timestampResponse(t, crypto.SHA256, oidSHA256, func(*pkcs7.SignedData) {}))
	add("cut off", tsr[:len(tsr)-1])
	long := bytes.Clone(tsr[:4])
	binary.BigEndian.PutUint16(long[2:], 0xffff)
	add("longer than it is", append(long, tsr[4:]...))
}

// TestTakenAsUpstream lists what could be refused and is not, by upstream and so by us: its signature holds, and
// who relies on it decides about the rest.
func TestTakenAsUpstream(t *testing.T) {
	good := kept(t)
	for name, b := range map[string]badFormat{
		"ssh: key on a token":      replaced("rekord-ssh-ed25519", sshOnToken(t)...),
		"ssh: user certificate":    replaced("rekord-ssh-ed25519", sshCertified(t)...),
		"rfc3161: over SHA-1":      replaced("rfc3161", "tsr.content", timestampResponse(t, crypto.SHA1, oidSHA1, byExpired(t, oidSHA256))),
		"rfc3161: signed by SHA-1": replaced("rfc3161", "tsr.content", timestampResponse(t, crypto.SHA256, oidSHA256, byExpired(t, oidSHA1))),
		"rfc3161: signer expired":  replaced("rfc3161", "tsr.content", timestampResponse(t, crypto.SHA256, oidSHA256, byExpired(t, oidSHA256))),
	} {
		t.Run(name, func(t *testing.T) {
			if !agree(t, b.proposal(t, good)) {
				t.Error("refused")
			}
		})
	}
}

// sshOnToken signs as a FIDO token does (openssh PROTOCOL.u2f): over flags and a counter too.
func sshOnToken(t *testing.T) []any {
	const typ, application = "sk-ssh-ed25519@openssh.com", "ssh:"
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	blob := ssh.Marshal(struct{ Type, Key, Application string }{typ, string(pub), application})
	rest := []byte{1, 0, 0, 0, 7}
	app, msg := sha256.Sum256([]byte(application)), sha256.Sum256(sshMessage(artifactText, "file", "sha512"))
	sig := ssh.Signature{Format: typ, Rest: rest, Blob: ed25519.Sign(key, slices.Concat(app[:], rest, msg[:]))}
	line := typ + " " + base64.StdEncoding.EncodeToString(blob) + "\n"
	return []any{"signature.publicKey.content", line, "signature.content", sshArmour(sshBlob(sshSignature{}, blob, sig))}
}

// sshCertified signs with a key that comes as a certificate.
func sshCertified(t *testing.T) []any {
	key := entrytest.Ed25519(t)
	signer, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := sshCertificate(t, signer)
	sig := ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: ed25519.Sign(key, sshMessage(artifactText, "file", "sha512"))}
	return []any{"signature.publicKey.content", ssh.MarshalAuthorizedKey(cert), "signature.content", sshArmour(sshBlob(sshSignature{}, cert.Marshal(), sig))}
}

// timestampResponse makes a response around a timestamp of a digest by that hash, which sign signs.
func timestampResponse(t *testing.T, h crypto.Hash, oid asn1.ObjectIdentifier, sign func(*pkcs7.SignedData)) []byte {
	t.Helper()
	type imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	info, err := asn1.Marshal(struct {
		Version int
		Policy  asn1.ObjectIdentifier
		Imprint imprint
		Serial  int
		Time    time.Time `asn1:"generalized"`
	}{1, asn1.ObjectIdentifier{1, 2, 3}, imprint{pkix.AlgorithmIdentifier{Algorithm: oid}, entrytest.Digest(h, []byte(artifactText))}, 1, time.Now().UTC()})
	if err != nil {
		t.Fatal(err)
	}
	data, err := pkcs7.NewSignedData(info)
	if err != nil {
		t.Fatal(err)
	}
	data.SetContentType(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4})
	sign(data)
	token, err := data.Finish()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := asn1.Marshal(struct {
		Status struct{ Status int }
		Token  asn1.RawValue
	}{Token: asn1.RawValue{FullBytes: token}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var (
	oidSHA1   = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256 = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// byExpired signs with a key whose certificate has expired long ago.
func byExpired(t *testing.T, digest asn1.ObjectIdentifier) func(*pkcs7.SignedData) {
	key := entrytest.P256(t)
	cert, err := x509.ParseCertificate(entrytest.Cert(t, key, entrytest.SAN{}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	return func(d *pkcs7.SignedData) {
		d.SetDigestAlgorithm(digest)
		if err := d.AddSigner(cert, key, pkcs7.SignerInfoConfig{}); err != nil {
			t.Fatal(err)
		}
	}
}
