package ca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/sigbox/sigbox/ca/profile"
)

// maxBackstep is how far the clock may fall behind an earlier issuance before the authority
// stops: the log stops at the same distance.
const maxBackstep = 2 * time.Second

// Issue certifies a key for an identity and returns the certificate, the issuing certificate and
// its issuers, the root last. The certificate carries exactly one SCT, which has been verified. What let
// the identity through is put on record with it.
//
// Errors: ErrPossession where the key was proven over another challenge than the identity's,
// ErrIdentity, ErrTransparency, ErrNotValid, ErrClock, ErrProfile, ErrRecord, ErrSerialUsed, or
// the signer's own.
func (a *Authority) Issue(ctx context.Context, id profile.Identity, key Key, grant Grant) ([]*x509.Certificate, error) {
	d, err := a.prepare(id, key)
	if err != nil {
		return nil, err
	}
	in, err := a.intend(ctx, d, grant)
	if err != nil {
		return nil, err
	}
	pre, err := a.precertify(in)
	if err != nil {
		return nil, a.abandon(ctx, in, nil, err)
	}
	promise, err := a.log(ctx, pre)
	if err != nil {
		return nil, a.abandon(ctx, in, pre.cert.Raw, err)
	}
	cert, err := a.certify(promise)
	if err != nil {
		return nil, a.abandon(ctx, in, pre.cert.Raw, err)
	}
	if err := a.record(ctx, cert); err != nil {
		return nil, err
	}
	return a.release(ctx, cert)
}

// draft is a precertificate that meets the profile and that no key has signed.
type draft struct {
	identity profile.Identity
	template template
	tbs      []byte
	unsigned *x509.Certificate // as it was read back from tbs
	at       time.Time
}

// prepare reads the clock, once, and fills in everything that will be signed.
func (a *Authority) prepare(id profile.Identity, key Key) (draft, error) {
	if key.pub == nil || (!key.csr && key.challenge != id.Challenge) {
		return draft{}, fmt.Errorf("key was not proven for this identity: %w", ErrPossession)
	}
	if err := checkKey(key.pub); err != nil {
		return draft{}, err
	}
	now, notBefore, notAfter, err := a.period()
	if err != nil {
		return draft{}, err
	}
	t := template{issuer: a.chain[0].RawSubject, notBefore: notBefore, notAfter: notAfter, spki: key.spki}
	if t.serial, err = newSerial(); err != nil {
		return draft{}, err
	}
	skid, err := subjectKeyID(t.spki)
	if err != nil {
		return draft{}, err
	}
	if t.extensions, err = leafExtensions(skid, a.chain[0].SubjectKeyId, id.SAN, id.Extensions); err != nil {
		return draft{}, fmt.Errorf("encode extensions: %w", err)
	}
	tbs, err := t.encode(a.alg, poison)
	if err != nil {
		return draft{}, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	if len(tbs) > maxCertificate-1<<10 {
		return draft{}, fmt.Errorf("%d bytes of certificate: %w", len(tbs), ErrIdentity)
	}
	unsigned, err := a.lintTBS(tbs, oidPoison)
	return draft{identity: id, template: t, tbs: tbs, unsigned: unsigned, at: now}, err
}

// period is the validity of a certificate issued now: from now, in whole seconds, for the
// validity with both ends included, never beyond the authority's own certificates.
func (a *Authority) period() (now, notBefore, notAfter time.Time, err error) {
	now = a.clock.Now().UTC()
	a.mu.Lock()
	latest := a.latest
	if now.After(latest) {
		a.latest = now
	}
	a.mu.Unlock()
	if now.Before(latest.Add(-maxBackstep)) {
		return now, now, now, fmt.Errorf("it is %s, and was %s before: %w", now, latest, ErrClock)
	}
	notBefore = now.Truncate(time.Second)
	notAfter = notBefore.Add(a.validity - time.Second)
	for _, c := range a.chain {
		if notBefore.Before(c.NotBefore) || !notBefore.Before(c.NotAfter) {
			return now, now, now, fmt.Errorf("%q is valid from %s to %s and it is %s: %w", c.Subject, c.NotBefore, c.NotAfter, now, ErrNotValid)
		}
		if notAfter.After(c.NotAfter) {
			notAfter = c.NotAfter
		}
	}
	return now, notBefore, notAfter, nil
}

// lintTBS holds what is about to be signed to the profile, and returns it as it was read back.
func (a *Authority) lintTBS(tbs []byte, last asn1.ObjectIdentifier) (*x509.Certificate, error) {
	unsigned, err := assemble(tbs, a.alg, make([]byte, 72))
	if err != nil {
		return nil, err
	}
	return lint(unsigned, last, a.chain[0], a.alg, a.validity)
}

// intent is a draft whose serial number and hash are on record.
type intent struct{ draft }

func (a *Authority) intend(ctx context.Context, d draft, grant Grant) (intent, error) {
	err := a.records.Intend(ctx, Intent{
		Serial: d.template.serial, At: d.at, NotBefore: d.template.notBefore, NotAfter: d.template.notAfter,
		Issuer: d.identity.Issuer, Subject: d.identity.Subject, SAN: d.identity.SANText,
		SPKISHA256: sha256.Sum256(d.template.spki), TBSSHA256: sha256.Sum256(d.tbs),
		Grant: grant,
	})
	if errors.Is(err, ErrSerialUsed) {
		return intent{}, err
	}
	if err != nil {
		return intent{}, fmt.Errorf("%w: intent: %w", ErrRecord, err)
	}
	return intent{d}, nil
}

// precertificate is a signed precertificate.
type precertificate struct {
	intent
	cert *x509.Certificate
}

func (a *Authority) precertify(in intent) (precertificate, error) {
	cert, err := a.sign(in.tbs, in.unsigned)
	if err != nil {
		return precertificate{}, fmt.Errorf("sign precertificate: %w", err)
	}
	return precertificate{intent: in, cert: cert}, nil
}

// promised is a precertificate that the log has promised to hold, which has been verified.
type promised struct {
	precertificate
	parts tbsParts // of its TBSCertificate
	sct   []byte
	shown func(context.Context) error // waits until the log shows the entry; see [EarlySCTSource]
}

func (a *Authority) log(ctx context.Context, pre precertificate) (promised, error) {
	ctx, cancel := context.WithTimeout(ctx, a.logTimeout)
	defer cancel()
	sct, shown, err := Submit(ctx, a.scts, append([]*x509.Certificate{pre.cert}, a.chain...))
	if err != nil {
		return promised{}, fmt.Errorf("%w: %w", ErrTransparency, err)
	}
	parts, err := splitTBS(pre.tbs)
	if err != nil {
		return promised{}, err
	}
	logged, err := parts.join(nil)
	if err != nil {
		return promised{}, err
	}
	t := pre.template
	if err := a.promises.verify(sct, logged, a.chain[0].RawSubjectPublicKeyInfo, t.notBefore, t.notAfter); err != nil {
		return promised{}, fmt.Errorf("%w: %w", ErrTransparency, err)
	}
	return promised{precertificate: pre, parts: parts, sct: sct, shown: shown}, nil
}

// certificate is a final certificate that corresponds to its precertificate and is not on record.
type certificate struct {
	promised
	cert *x509.Certificate
}

// certify builds the final TBSCertificate from the bytes of the precertificate's, so that nothing
// else can differ, and checks by another path that nothing does.
func (a *Authority) certify(p promised) (certificate, error) {
	list, err := sctList(p.sct)
	if err != nil {
		return certificate{}, err
	}
	var b cryptobyte.Builder
	addExtension(&b, list)
	last, err := b.Bytes()
	if err != nil {
		return certificate{}, fmt.Errorf("encode SCT list: %w", err)
	}
	tbs, err := p.parts.join(last)
	if err != nil {
		return certificate{}, err
	}
	if err := Correspond(p.tbs, tbs); err != nil {
		return certificate{}, err
	}
	unsigned, err := a.lintTBS(tbs, oidSCTList)
	if err != nil {
		return certificate{}, err
	}
	cert, err := a.sign(tbs, unsigned)
	if err != nil {
		return certificate{}, fmt.Errorf("sign certificate: %w", err)
	}
	return certificate{promised: p, cert: cert}, nil
}

// sign is the one place where the key signs. It returns the certificate, whose signature has been
// verified: a faulty signer is found here. unsigned is what was read back from the same bytes.
func (a *Authority) sign(tbs []byte, unsigned *x509.Certificate) (*x509.Certificate, error) {
	h := a.alg.hash.New()
	h.Write(tbs)
	sig, err := a.key.Sign(rand.Reader, h.Sum(nil), crypto.SignerOpts(a.alg.hash))
	if err != nil {
		return nil, err
	}
	if err := a.chain[0].CheckSignature(a.alg.x509, tbs, sig); err != nil {
		return nil, fmt.Errorf("the signature just made does not verify: %w", err)
	}
	der, err := assemble(tbs, a.alg, sig)
	if err != nil {
		return nil, err
	}
	signed := *unsigned
	signed.Raw, signed.RawTBSCertificate, signed.Signature = der, tbs, sig
	return &signed, nil
}

// record settles an issuance.
func (a *Authority) record(ctx context.Context, c certificate) error {
	err := a.records.Settle(context.WithoutCancel(ctx), Outcome{
		Serial: c.template.serial, At: a.clock.Now().UTC(), Precertificate: c.precertificate.cert.Raw, Certificate: c.cert.Raw,
	})
	if err != nil {
		return fmt.Errorf("%w: certificate %x: %w", ErrRecord, c.template.serial, err)
	}
	return nil
}

// release lets a certificate go that is on record, when the log shows its entry.
func (a *Authority) release(ctx context.Context, c certificate) ([]*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, a.logTimeout)
	defer cancel()
	if err := c.shown(ctx); err != nil {
		a.logger.WarnContext(ctx, "a certificate is on record and was not handed out: the log does not show its entry",
			"serial", c.template.serial.Text(16), "err", err)
		return nil, fmt.Errorf("%w: certificate %x, on record and not handed out: %w", ErrTransparency, c.template.serial, err)
	}
	a.logger.LogAttrs(ctx, slog.LevelInfo, "certificate issued",
		slog.String("serial", c.template.serial.Text(16)), slog.String("issuer", c.identity.Issuer),
		slog.String("san", c.identity.SANText), slog.Time("not_after", c.template.notAfter))
	return append([]*x509.Certificate{c.cert}, a.chain...), nil
}

// abandon settles an issuance that failed and returns the reason. pre is the precertificate if one
// was signed.
func (a *Authority) abandon(ctx context.Context, in intent, pre []byte, reason error) error {
	err := a.records.Settle(context.WithoutCancel(ctx), Outcome{
		Serial: in.template.serial, At: a.clock.Now().UTC(), Precertificate: pre, Failure: reason.Error(),
	})
	if err != nil {
		return errors.Join(reason, fmt.Errorf("%w: abandoned %x: %w", ErrRecord, in.template.serial, err))
	}
	return reason
}
