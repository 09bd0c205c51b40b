//go:build postgres

package main

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/sigbox/sigbox/ca/pki"
	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/pgtest"
	"github.com/sigbox/sigbox/keys"
)

func (l *lived) newKey(path string) crypto.Signer {
	l.t.Helper()
	key, err := keys.NewECDSA()
	if err == nil {
		_ = os.Remove(path)
		err = keys.Save(path, key)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return key
}

func (l *lived) certify(template, parent *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	l.t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, key)
	if err != nil {
		l.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		l.t.Fatal(err)
	}
	return cert
}

// writeTLS writes a certificate for HTTPS, and that of its issuer, with the lives that they have from now on.
func (l *lived) writeTLS(file, keyFile string, leaf, issuer time.Duration) {
	l.t.Helper()
	now := l.now().UTC().Truncate(time.Second)
	top := l.newKey(filepath.Join(l.work, "tls-issuer.key"))
	above := &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}, NotBefore: now, NotAfter: now.Add(issuer), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	above = l.certify(above, above, top.Public(), top)
	host, _, _ := strings.Cut(l.address, ":")
	own := &x509.Certificate{Subject: pkix.Name{CommonName: host}, IPAddresses: []net.IP{net.ParseIP(host)}, NotBefore: now, NotAfter: now.Add(leaf)}
	own = l.certify(own, above, l.newKey(keyFile).Public(), top)
	writeText(l.t, file, string(pki.ChainPEM([]*x509.Certificate{own, above})))
}

func withTLS(leaf, issuer time.Duration) func(*lived) {
	return func(l *lived) {
		cert, key := filepath.Join(l.work, "tls.pem"), filepath.Join(l.work, "tls.key")
		l.writeTLS(cert, key, leaf, issuer)
		l.flags = append(l.flags, "--url", "https://"+l.address, "--tls-cert", cert, "--tls-key", key)
	}
}

// replaceTLS is what somebody does who is told to replace the certificate.
func (l *lived) replaceTLS(step string) {
	l.t.Helper()
	m := regexp.MustCompile(`^replace (\S+) and its key: `).FindStringSubmatch(step)
	if m == nil {
		l.t.Fatalf("nobody knows what to do about %q", step)
	}
	l.writeTLS(m[1], strings.TrimSuffix(m[1], ".pem")+".key", 800*aDay, 1000*aDay)
}

// pinsIssuer has the issuer give certificates with its keys, which end before long.
func pinsIssuer(l *lived) {
	l.t.Helper()
	l.writeKeySet(filepath.Join(l.dir, "public", "issuer-jwks.json"), 400*aDay)
}

// writeKeySet gives each key of a set a certificate with the life that it has from now on (x5c).
func (l *lived) writeKeySet(file string, life time.Duration) {
	l.t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(read(l.t, file)), &set); err != nil || len(set.Keys) == 0 {
		l.t.Fatalf("%s: %d keys, %v", file, len(set.Keys), err)
	}
	now, by := l.now().UTC().Truncate(time.Second), l.newKey(filepath.Join(l.work, "jwks-issuer.key"))
	for i := range set.Keys {
		own := &x509.Certificate{Subject: pkix.Name{CommonName: "token signing"}, NotBefore: now, NotAfter: now.Add(life)}
		set.Keys[i].Certificates = []*x509.Certificate{l.certify(own, own, set.Keys[i].Key, by)}
	}
	raw, err := json.Marshal(set)
	if err != nil {
		l.t.Fatal(err)
	}
	writeText(l.t, file, string(raw))
}

// shortPeer gives a service a certificate that ends long before its authority.
func shortPeer(l *lived) {
	l.t.Helper()
	key, authority := l.peersAuthority()
	l.peer("tlog", 365*aDay, authority, key)
}

// shortPeers has the authority of the services end soon, and their certificates with it.
func shortPeers(l *lived) {
	l.t.Helper()
	key, authority := l.peersAuthority()
	authority.NotAfter = authority.NotBefore.Add(700 * aDay)
	authority = l.certify(authority, authority, key.Public(), key)
	writeText(l.t, filepath.Join(l.dir, "public", "peers.pem"), string(pki.ChainPEM([]*x509.Certificate{authority})))
	for _, service := range []string{"ca", "tlog", "tuf"} {
		l.peer(service, 700*aDay, authority, key)
	}
}

func (l *lived) certificate(path string) *x509.Certificate {
	l.t.Helper()
	list, err := pki.ParseChain([]byte(read(l.t, path)))
	if err != nil {
		l.t.Fatal(err)
	}
	return list[0]
}

func (l *lived) peersAuthority() (crypto.Signer, *x509.Certificate) {
	l.t.Helper()
	key, err := keys.Load(filepath.Join(l.dir, "peers", "ca.key"))
	if err != nil {
		l.t.Fatal(err)
	}
	return key, l.certificate(filepath.Join(l.dir, "public", "peers.pem"))
}

func (l *lived) peer(service string, life time.Duration, authority *x509.Certificate, key crypto.Signer) {
	l.t.Helper()
	path := filepath.Join(l.dir, service, "peer.crt")
	own := l.certificate(path)
	own.NotAfter = own.NotBefore.Add(life)
	own = l.certify(own, authority, own.PublicKey, key)
	writeText(l.t, path, string(pki.ChainPEM([]*x509.Certificate{own})))
}

// rootOf has the authorities stand below a root that ends so much later, as one that was made long ago does. It is
// put where init finds it when it goes on: the database is not there the first time.
func rootOf(life time.Duration) func(*lived) {
	return func(l *lived) {
		l.t.Helper()
		server, name := pgtest.Shared(l.t), fmt.Sprintf("later%d", time.Now().UnixNano())
		l.database = server.URL(name)
		if stdout, stderr, code := finish(l.t, l.cmd(l.initArgs()...)); code == 0 || !strings.Contains(stderr, name) {
			l.t.Fatalf("init without a database: exit code %d\n%s%s", code, stdout, stderr)
		}
		server.Exec(l.t, "postgres", "CREATE DATABASE "+name)
		l.t.Cleanup(func() { server.Exec(l.t, "postgres", "DROP DATABASE "+name+" WITH (FORCE)") })
		key, root, err := pki.NewRoot(clock.NewManual(l.now()), "Example", "p256")
		if err != nil {
			l.t.Fatal(err)
		}
		root.NotAfter = root.NotBefore.Add(life)
		root = l.certify(root, root, key.Public(), key)
		offline := filepath.Join(l.dir, "offline")
		if err := os.MkdirAll(offline, 0o700); err != nil {
			l.t.Fatal(err)
		}
		if err := keys.Save(filepath.Join(offline, "ca-root.key"), key); err != nil {
			l.t.Fatal(err)
		}
		writeText(l.t, filepath.Join(offline, "ca-root.pem"), string(pki.ChainPEM([]*x509.Certificate{root})))
	}
}

// keepsCA renews what ends before a timestamp authority does.
func keepsCA(l *lived) {
	l.t.Helper()
	l.goTo(l.now().Add(3*365*aDay - 60*aDay))
	l.upkeep("")
	_, list := steps(l.t, l.expiry(), "ca certificate")
	l.mend(list)
	l.stop()
}

// retires gives the key of a role that is in use now an end, as its holders may where there is another one.
func (l *lived) retires(id string) {
	l.t.Helper()
	end := l.now().Add(130 * aDay).UTC().Format(time.RFC3339)
	l.run(fmt.Sprintf("sigbox tuf request --retire %s@%s --out retire.json --config %s", id, end, l.file))
	l.sign("retire.json")
	l.run("sigbox tuf publish retire.json --config " + l.file)
}

func (l *lived) keyOf(role string) string {
	l.t.Helper()
	out := l.ok("tuf", "status", "--config", l.file)
	id := regexp.MustCompile(`(?m)^` + role + ` +([0-9a-f]{64})`).FindStringSubmatch(out)
	if id == nil {
		l.t.Fatalf("no key of %s in\n%s", role, out)
	}
	return id[1]
}

// retiresCA has the next key published, and the one in use retired before the switch.
func retiresCA(l *lived) {
	l.t.Helper()
	id := l.keyOf("ca")
	l.rotate("sigbox rotate ca-intermediate --yes --config "+l.file, true)
	l.retires(id)
}

// retiresTSA does so by hand: no journal knows of it.
func retiresTSA(l *lived) {
	l.t.Helper()
	id := l.keyOf("tsa")
	l.rotate("sigbox rotate tsa --yes --config "+l.file, true)
	l.retires(id)
	if err := os.Remove(filepath.Join(l.dir, "rotations.json")); err != nil {
		l.t.Fatal(err)
	}
}

func retiresRekorV2(l *lived) {
	l.t.Helper()
	id := l.keyOf("rekor-v2")
	l.goTo(l.now().Add(time.Minute)) // a newer word about a key is of a later second
	l.run("sigbox rotate rekor-v2 --yes --config " + l.file)
	l.start()
	l.heard("sigbox tuf request --out log.json --config " + l.file)
	l.stop()
	l.sign("log.json")
	l.run("sigbox tuf publish log.json --config " + l.file)
	l.retires(id)
}

// heard makes a request of what services have said, as soon as they have.
func (l *lived) heard(step string) {
	l.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
		stdout, stderr, code := l.shell(step, "")
		if code == 0 {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: exit code %d\n%s%s", step, code, stdout, stderr)
		}
	}
}

// namesNext is what somebody does who is told to name the key that follows.
func (l *lived) namesNext(step string) {
	l.t.Helper()
	m := regexp.MustCompile(`^before then, name in (\S+), as ca\.tsa\.key and ca\.tsa\.chain, `).FindStringSubmatch(step)
	if m == nil {
		l.t.Fatalf("nobody knows what to do about %q", step)
	}
	writeText(l.t, m[1], strings.NewReplacer("key: ca/tsa.key", "key: ca/tsa-2.key", "chain: ca/tsa-chain.pem", "chain: ca/tsa-chain-2.pem").Replace(read(l.t, m[1])))
	l.stop()
	l.start()
}

// publishes has the targets keys sign a request, and publishes it.
func (l *lived) publishes(file string) {
	l.t.Helper()
	l.sign(file)
	l.run("sigbox tuf publish " + file + " --config " + l.file)
}

// other is another instance, as old as this one, which runs.
func (l *lived) other() *lived {
	l.t.Helper()
	o := newLived(l.t, l.binary, time.Until(l.now()).Abs())
	o.clock = l.clock
	o.init()
	o.start()
	return o
}

// servesFile takes in a trust root of others that somebody has brought as a file.
func servesFile(l *lived) {
	l.t.Helper()
	o := l.other()
	writeText(l.t, filepath.Join(l.work, "NEWER.json"), get(l.t, "http://"+o.address+"/trust/trusted_root.json"))
	o.stop()
	l.run("sigbox trust add acme --file NEWER.json --out foreign.json --config " + l.file)
	l.publishes("foreign.json")
}

// servesRepository takes in one from where the others publish it, who renew it in time.
func servesRepository(l *lived) {
	l.t.Helper()
	o := l.other()
	writeText(l.t, filepath.Join(l.work, "root.json"), get(l.t, "http://"+o.address+"/tuf/root.json"))
	l.run("sigbox trust add acme --repository http://" + o.address + "/tuf --root root.json --out foreign.json --config " + l.file)
	l.publishes("foreign.json")
	o.stop()
	l.meanwhile = func() {
		o.renew("tuf root")
		o.start()
	}
}

// adopts takes the authority of others in that signs on for a while.
func adopts(l *lived) {
	l.t.Helper()
	l.run("sigbox ca root --out theirs --organization Theirs")
	l.run("sigbox ca key --out theirs.key")
	l.run("sigbox ca csr --key theirs.key --for ca --organization Theirs --out theirs.csr")
	l.run("sigbox ca sign-csr theirs.csr --root theirs --out theirs.pem")
	l.run("sigbox trust adopt --until " + l.now().Add(130*aDay).UTC().Format(time.RFC3339) + " --fulcio theirs.pem,url=https://fulcio.old.example --out adopt.json --config " + l.file)
	l.publishes("adopt.json")
}
