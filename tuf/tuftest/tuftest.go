// Package tuftest makes trust material and repositories for tests.
//
// Everything is real: certificates that verify, keys that sign, an SQLite file, a listening
// server. Only the web face is handed in, so that tests of lower floors do not know it.
package tuftest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/clock"
	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/migrations"
	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/sqlstore"
	"github.com/sigbox/sigbox/tuf/trustroot"
)

// Key returns a new P-256 key.
func Key(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := keys.NewECDSA()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Keys returns four new keys.
func Keys(t testing.TB) tuf.Keys {
	t.Helper()
	return tuf.Keys{Root: Key(t), Targets: Key(t), Snapshot: Key(t), Timestamp: Key(t)}
}

// Store returns a store in a new SQLite file.
func Store(t testing.TB) *sqlstore.Store {
	t.Helper()
	return sqlstore.New(DB(t, filepath.Join(t.TempDir(), "tuf.db")))
}

// DB opens a migrated database, which is closed with the test.
func DB(t testing.TB, path string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := migrations.ApplySQLite(t.Context(), db.Writer(), "tuf"); err != nil {
		t.Fatal(err)
	}
	return db
}

// Config returns the configuration of a development repository in a new store.
func Config(t testing.TB, c clock.Clock) tuf.Config {
	t.Helper()
	return tuf.Config{
		Store: Store(t), Keys: Keys(t), Lifetimes: tuf.Development(), Clock: c,
		Log: slog.New(slog.DiscardHandler),
	}
}

// Repository returns a repository that holds the targets of the material.
func Repository(t testing.TB, cfg tuf.Config, m trustroot.Material) *tuf.Repository {
	t.Helper()
	r := tuf.New(cfg)
	if err := r.Create(t.Context(), Compose(t, m)); err != nil {
		t.Fatal(err)
	}
	return r
}

// Compose returns the targets of the material.
func Compose(t testing.TB, m trustroot.Material) []tuf.Target {
	t.Helper()
	targets, err := trustroot.Compose(m)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// Material returns material of a new instance at url, valid from an hour before now.
func Material(t testing.TB, url string, now time.Time) trustroot.Material {
	t.Helper()
	in := trustroot.Window{Start: now.Add(-time.Hour)}
	log := func() []trustroot.Log { return []trustroot.Log{{URL: url, Key: Key(t).Public(), Valid: in}} }
	return trustroot.Material{
		Operator: "sigbox-test",
		CAs:      []trustroot.Authority{{URL: url, Chain: CAChain(t, now), Valid: in}},
		TSAs:     []trustroot.Authority{{URL: url + "/api/v1/timestamp", Chain: TSAChain(t, now), Valid: in}},
		RekorV1:  log(), RekorV2: log(), CTLogs: log(),
		Issuers: []trustroot.Issuer{{URL: url, Valid: in}},
	}
}

// CAChain returns an intermediate and its root.
func CAChain(t testing.TB, now time.Time) []*x509.Certificate {
	t.Helper()
	rootKey, key := Key(t), Key(t)
	root := Issue(t, CA("root", now), nil, rootKey, rootKey)
	return []*x509.Certificate{Issue(t, CA("intermediate", now), root, key, rootKey), root}
}

// TSAChain returns a timestamping leaf and its root.
func TSAChain(t testing.TB, now time.Time) []*x509.Certificate {
	t.Helper()
	rootKey := Key(t)
	root := Issue(t, CA("timestamp root", now), nil, rootKey, rootKey)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
		Subject:  pkix.Name{Organization: []string{"sigbox-test"}, CommonName: "timestamp leaf"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	}
	return []*x509.Certificate{Issue(t, leaf, root, Key(t), rootKey), root}
}

// CA returns the template of a CA certificate.
func CA(name string, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0),
		Subject: pkix.Name{Organization: []string{"sigbox-test"}, CommonName: name},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// Issue signs a certificate; a nil parent makes it sign itself.
func Issue(t testing.TB, template, parent *x509.Certificate, key, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
