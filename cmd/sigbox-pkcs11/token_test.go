//go:build cgo && softhsm

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/sigbox/sigbox/internal/hsmtest"
	"github.com/sigbox/sigbox/internal/tokenwire"
)

// openToken opens a new token in this process.
func openToken(t *testing.T) *token {
	t.Helper()
	h := hsmtest.New(t)
	k := &token{keys: map[string]pkcs11.ObjectHandle{}}
	info, err := k.open(h.Module, &tokenwire.Token{Label: hsmtest.Label})
	if err == nil {
		err = k.login(hsmtest.PIN)
	}
	if err != nil || info.Flags&tokenwire.LoginRequired == 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	t.Cleanup(k.leave)
	return k
}

// withObjects lends a session that may write.
func (t *token) withObjects(tb testing.TB, f func(pkcs11.SessionHandle) error) {
	tb.Helper()
	s, err := t.module.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err == nil {
		err = errors.Join(f(s), t.module.CloseSession(s))
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// TestMadeKeyStays: the private half of a key that is made cannot be read, copied out or seen without a login.
func TestMadeKeyStays(t *testing.T) {
	k := openToken(t)
	if _, err := k.make(tokenwire.Key{Label: "a"}); err != nil {
		t.Fatal(err)
	}
	k.withObjects(t, func(s pkcs11.SessionHandle) error {
		h, err := k.private(s, tokenwire.Key{Label: "a"})
		if err != nil {
			return err
		}
		for attr, want := range map[uint]byte{
			pkcs11.CKA_SENSITIVE: 1, pkcs11.CKA_ALWAYS_SENSITIVE: 1, pkcs11.CKA_EXTRACTABLE: 0, pkcs11.CKA_NEVER_EXTRACTABLE: 1,
			pkcs11.CKA_PRIVATE: 1, pkcs11.CKA_TOKEN: 1, pkcs11.CKA_SIGN: 1,
		} {
			if got, err := k.attribute(s, h, attr); err != nil || !bytes.Equal(got, []byte{want}) {
				t.Errorf("attribute 0x%x is %v (%v), want %d", attr, got, err, want)
			}
		}
		if value, err := k.attribute(s, h, pkcs11.CKA_VALUE); err == nil {
			t.Errorf("the key can be read: %d bytes", len(value))
		}
		return nil
	})
}

// TestPublicHalf: where the public key is found, and what is said where it is not.
func TestPublicHalf(t *testing.T) {
	k := openToken(t)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, other.Public(), other)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		change func(s pkcs11.SessionHandle, public pkcs11.ObjectHandle, id []byte) error
		want   string // "" for the pair's own, "certificate" for that of the certificate
	}{
		{"as it was made", func(pkcs11.SessionHandle, pkcs11.ObjectHandle, []byte) error { return nil }, ""},
		{"gone", func(s pkcs11.SessionHandle, public pkcs11.ObjectHandle, _ []byte) error {
			return k.module.DestroyObject(s, public)
		}, "neither a public key nor a certificate"},
		{"a certificate instead", func(s pkcs11.SessionHandle, public pkcs11.ObjectHandle, id []byte) error {
			_, err := k.module.CreateObject(s, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), pkcs11.NewAttribute(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
				pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, []byte{0x30, 0}),
				pkcs11.NewAttribute(pkcs11.CKA_ID, id), pkcs11.NewAttribute(pkcs11.CKA_VALUE, cert),
			})
			return errors.Join(err, k.module.DestroyObject(s, public))
		}, "certificate"},
		{"two", func(s pkcs11.SessionHandle, public pkcs11.ObjectHandle, _ []byte) error {
			_, err := k.module.CopyObject(s, public, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "copy")})
			return err
		}, "more than one public key"},
	} {
		t.Run(row.name, func(t *testing.T) {
			made, err := k.make(tokenwire.Key{Label: row.name})
			if err != nil {
				t.Fatal(err)
			}
			k.withObjects(t, func(s pkcs11.SessionHandle) error {
				list, err := k.objects(s, publicOf(row.name)...)
				if err != nil || len(list) != 1 {
					t.Fatalf("%v, %v", list, err)
				}
				id, err := k.attribute(s, list[0], pkcs11.CKA_ID)
				if err != nil || len(id) != 16 {
					t.Errorf("id %x, %v", id, err)
				}
				return row.change(s, list[0], id)
			})
			got, err := k.find(tokenwire.Key{Label: row.name})
			switch {
			case row.want == "" && (err != nil || !bytes.Equal(got, made)):
				t.Errorf("another key, %v", err)
			case row.want == "certificate" && (err != nil || !bytes.Equal(got, spki)):
				t.Errorf("not that of the certificate, %v", err)
			case row.want != "" && row.want != "certificate" && (err == nil || !strings.Contains(err.Error(), row.want)):
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

func publicOf(label string) []*pkcs11.Attribute {
	return template(pkcs11.CKO_PUBLIC_KEY, tokenwire.Key{Label: label})
}

// TestOrder: what is asked for too early, twice, without its parts, or is no request.
func TestOrder(t *testing.T) {
	k := openToken(t)
	fresh := &token{}
	for _, row := range []struct {
		name string
		on   *token
		r    tokenwire.Request
		want string
	}{
		{"sign before open", fresh, tokenwire.Request{Op: tokenwire.Sign, Key: &tokenwire.Key{}}, "not for now"},
		{"login before open", fresh, tokenwire.Request{Op: tokenwire.Login}, "not for now"},
		{"open twice", k, tokenwire.Request{Op: tokenwire.Open}, "not for now"},
		{"find without a key", k, tokenwire.Request{Op: tokenwire.Find}, "not for now"},
		{"another operation", k, tokenwire.Request{Op: "destroy", Key: &tokenwire.Key{}}, "not an operation"},
		{"another scheme", k, tokenwire.Request{Op: tokenwire.Sign, Key: &tokenwire.Key{}, Scheme: "x"}, "not a scheme"},
		{"key of no name", k, tokenwire.Request{Op: tokenwire.Check, Key: &tokenwire.Key{Label: "none"}}, "no private key"},
		{"open of nothing", fresh, tokenwire.Request{Op: tokenwire.Open, Module: os.DevNull}, "cannot be loaded"},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.r.ID = 7
			a := row.on.answer(row.r)
			if a.ID != 7 || a.Error == nil || !strings.Contains(a.Error.Text, row.want) {
				t.Errorf("%+v, want %q", a.Error, row.want)
			}
		})
	}
}

// TestTwoKeys: a label that two private keys have is refused, and the id tells them apart.
func TestTwoKeys(t *testing.T) {
	k := openToken(t)
	for _, id := range []byte{1, 2} {
		k.withObjects(t, func(s pkcs11.SessionHandle) error {
			_, err := k.make(tokenwire.Key{Label: string('a' + rune(id)), ID: []byte{id}})
			if err != nil {
				return err
			}
			h, err := k.private(s, tokenwire.Key{ID: []byte{id}})
			if err != nil {
				return err
			}
			return k.module.SetAttributeValue(s, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, "same")})
		})
	}
	if _, err := k.find(tokenwire.Key{Label: "same"}); err == nil || !strings.Contains(err.Error(), "more than one private key") {
		t.Errorf("two of a label: %v", err)
	}
	one, err := k.find(tokenwire.Key{Label: "same", ID: []byte{1}})
	two, err2 := k.find(tokenwire.Key{ID: []byte{2}})
	if err != nil || err2 != nil || bytes.Equal(one, two) {
		t.Errorf("by id: %v, %v", err, err2)
	}
}

// TestAmbiguous: a name that more than one token or key has is refused.
func TestAmbiguous(t *testing.T) {
	h := hsmtest.New(t)
	h.Init(t) // another one with the same label
	if _, err := (&token{}).open(h.Module, &tokenwire.Token{Label: hsmtest.Label}); err == nil || !strings.Contains(err.Error(), "2 tokens are meant") {
		t.Errorf("two tokens: %v", err)
	}
}
