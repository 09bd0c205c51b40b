package tuftest

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/sigbox/sigbox/tuf/statement"
)

// Instance is the keys of the services of an instance, which state what they are.
type Instance struct {
	ID, URL string
	Keys    map[statement.Role]crypto.Signer
	Start   time.Time

	ca, tsa []*x509.Certificate
}

// NewInstance makes the keys of an instance at url.
func NewInstance(t testing.TB, id, url string, now time.Time) *Instance {
	t.Helper()
	i := &Instance{ID: id, URL: url, Start: now.Add(-time.Hour).UTC().Truncate(time.Second), Keys: map[statement.Role]crypto.Signer{}}
	for _, role := range []statement.Role{statement.RekorV1, statement.RekorV2, statement.CT} {
		i.Keys[role] = Key(t)
	}
	i.NewCA(t, now)
	root := Key(t)
	i.Keys[statement.TSA] = Key(t)
	top := Issue(t, CA("timestamp root", now), nil, root, root)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(3), NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
		Subject:  pkix.Name{Organization: []string{"sigbox-test"}, CommonName: "timestamp leaf"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	}
	i.tsa = []*x509.Certificate{Issue(t, leaf, top, i.Keys[statement.TSA], root), top}
	return i
}

// NewCA gives the instance another certificate authority.
func (i *Instance) NewCA(t testing.TB, now time.Time) {
	t.Helper()
	root := Key(t)
	i.Keys[statement.CA] = Key(t)
	top := Issue(t, CA("root", now), nil, root, root)
	i.ca = []*x509.Certificate{Issue(t, CA("intermediate", now), top, i.Keys[statement.CA], root), top}
}

// Says returns what a service says about the key of a role.
func (i *Instance) Says(role statement.Role, made time.Time) statement.Statement {
	s := statement.Statement{Instance: i.ID, Role: role, URL: i.URL, ValidFrom: i.Start, Made: made.UTC().Truncate(time.Second)}
	switch role {
	case statement.CA:
		s.Chain, s.Issuers, s.ValidFrom = i.ca, []string{i.URL}, i.ca[0].NotBefore
	case statement.TSA:
		s.Chain, s.URL = i.tsa, i.URL+"/api/v1/timestamp"
	default:
		s.Key, s.Origin = i.Keys[role].Public(), map[statement.Role]string{
			statement.RekorV1: "log.example - 7", statement.RekorV2: "log.example", statement.CT: "log.example/ct",
		}[role]
	}
	return s
}

// State signs a statement with its key.
func (i *Instance) State(t testing.TB, s statement.Statement) []byte {
	t.Helper()
	raw, err := statement.Sign(s, i.Keys[s.Role])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Statements are those of all keys.
func (i *Instance) Statements(t testing.TB, made time.Time) (list [][]byte) {
	t.Helper()
	for _, role := range []statement.Role{statement.CA, statement.TSA, statement.RekorV1, statement.RekorV2, statement.CT} {
		list = append(list, i.State(t, i.Says(role, made)))
	}
	return list
}
