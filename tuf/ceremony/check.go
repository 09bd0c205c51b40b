package ceremony

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/record"
	"github.com/sigbox/sigbox/tuf/statement"
)

// slack is how far the clocks of signers may differ.
const slack = 15 * time.Minute

// maxGood bounds GoodUntil: a request that lies about must not be good for ever.
const maxGood = 366 * 24 * time.Hour

// check verifies the request and fills in what its bytes say.
func (r *Request) check() error {
	r.parsed = parsed{}
	for _, step := range []func() error{r.checkBase, r.checkRoot, r.checkTargets, r.checkRecord, r.checkApprovals} {
		if err := step(); err != nil {
			if errors.Is(err, ErrUnknownKey) || errors.Is(err, ErrInstance) {
				return err
			}
			return fmt.Errorf("%w: %w", ErrRequest, err)
		}
	}
	return nil
}

// payloadOf returns the bytes that are signed, nil for nil.
func payloadOf[T metadata.Roles](m *metadata.Metadata[T]) []byte {
	if m == nil {
		return nil
	}
	b, err := cjson.EncodeCanonical(m.Signed)
	if err != nil { // it was decoded from JSON
		panic(err)
	}
	return b
}

// checkBase wants a set that signed itself. Whether it is the current one, the repository knows.
func (r *Request) checkBase() (err error) {
	p := &r.parsed
	if r.GoodUntil.Before(r.Made) || r.GoodUntil.After(r.Made.Add(maxGood)) {
		return fmt.Errorf("good until %s, made %s: want at most a year between", statement.Stamp(r.GoodUntil), statement.Stamp(r.Made))
	}
	if r.Base == nil {
		if r.Root == nil || r.Targets == nil {
			return errors.New("a first set needs root and targets")
		}
		return nil
	}
	if p.baseRoot, err = metadata.Root().FromBytes(r.Base.Root); err != nil {
		return fmt.Errorf("base root: %w", err)
	}
	if _, err := tuf.SignersOf(r.Base.Root); err != nil {
		return fmt.Errorf("base root: %w", err)
	}
	if err := p.baseRoot.VerifyDelegate(tuf.Root, p.baseRoot); err != nil {
		return fmt.Errorf("base root is not signed by its own keys: %w", err)
	}
	if p.baseTargets, err = metadata.Targets().FromBytes(r.Base.Targets); err != nil {
		return fmt.Errorf("base targets: %w", err)
	}
	if err := p.baseRoot.VerifyDelegate(tuf.Targets, p.baseTargets); err != nil {
		return fmt.Errorf("base targets are not signed by the keys of the base root: %w", err)
	}
	return checkContents(p.baseTargets, r.Base.Contents)
}

// checkContents wants the content of each target, and no other.
func checkContents(m *metadata.Metadata[metadata.TargetsType], contents []tuf.Blob) error {
	if len(m.Signed.Targets) != len(contents) {
		return fmt.Errorf("targets version %d names %d files, there are %d", m.Signed.Version, len(m.Signed.Targets), len(contents))
	}
	for _, b := range contents {
		entry := m.Signed.Targets[b.Name]
		if entry == nil {
			return fmt.Errorf("%q is no file that targets version %d names", b.Name, m.Signed.Version)
		}
		if err := entry.VerifyLengthHashes(b.Content); err != nil {
			return fmt.Errorf("file %q of targets version %d: %w", b.Name, m.Signed.Version, err)
		}
	}
	return nil
}

// checkRoot wants a root that is exactly what its signers, version and expiry make.
func (r *Request) checkRoot() (err error) {
	p := &r.parsed
	if r.Root == nil {
		return nil
	}
	if p.root, err = metadata.Root().FromBytes(r.Root); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if want := version(p.baseRoot) + 1; p.root.Signed.Version != want {
		return fmt.Errorf("root has version %d, and %d is to follow", p.root.Signed.Version, want)
	}
	signers, err := tuf.SignersOf(r.Root)
	if err != nil {
		return err
	}
	again, err := tuf.UnsignedRoot(signers, p.root.Signed.Version, p.root.Signed.Expires)
	if err != nil {
		return err
	}
	plain, err := metadata.Root().FromBytes(again)
	if err != nil {
		return err
	}
	if !bytes.Equal(payloadOf(plain), payloadOf(p.root)) {
		return errors.New("root holds something that sigbox does not write")
	}
	return r.checkSignatures("root", payloadOf(p.root), p.root.Signatures, r.rootKeys())
}

func version(m *metadata.Metadata[metadata.RootType]) int64 {
	if m == nil {
		return 0
	}
	return m.Signed.Version
}

// checkTargets wants targets that are exactly what the record composes to.
func (r *Request) checkTargets() (err error) {
	p := &r.parsed
	if r.Targets == nil {
		if r.Root == nil || r.Contents != nil || r.Record != nil || r.Statements != nil {
			return errors.New("it has neither root nor targets, or parts of targets alone")
		}
		return nil
	}
	if p.targets, err = metadata.Targets().FromBytes(r.Targets); err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	want := int64(1)
	if p.baseTargets != nil {
		want = p.baseTargets.Signed.Version + 1
	}
	if p.targets.Signed.Version != want {
		return fmt.Errorf("targets has version %d, and %d is to follow", p.targets.Signed.Version, want)
	}
	if err := checkContents(p.targets, r.Contents); err != nil {
		return err
	}
	rec, err := record.Parse(r.Record)
	if err != nil {
		return err
	}
	e, err := rec.Edition()
	if err != nil {
		return err
	}
	again, contents, err := tuf.UnsignedTargets(e.Targets, want, p.targets.Signed.Expires)
	if err != nil {
		return err
	}
	plain, err := metadata.Targets().FromBytes(again)
	if err != nil {
		return err
	}
	if !bytes.Equal(payloadOf(plain), payloadOf(p.targets)) {
		return errors.New("targets is not what its record composes to: somebody changed it, or another version of sigbox made it (use that one)")
	}
	r.Contents = contents // sorted
	return r.checkSignatures("targets", payloadOf(p.targets), p.targets.Signatures, r.targetsKeys())
}

// checkRecord wants a record of the instance that follows the one before and is backed by statements.
func (r *Request) checkRecord() error {
	prev := record.New(r.Instance, "")
	if r.Base != nil {
		var err error
		if prev, err = record.Parse(r.Base.Record); err != nil {
			return fmt.Errorf("base: %w", err)
		}
	}
	next := prev
	if r.Targets != nil {
		var err error
		if next, err = record.Parse(r.Record); err != nil {
			return err
		}
	}
	for _, rec := range []record.Record{prev, next} {
		if rec.Instance != r.Instance {
			return fmt.Errorf("%w: it says %s, and its record says %s", ErrInstance, r.Instance, rec.Instance)
		}
	}
	if err := next.Follows(prev); err != nil {
		return err
	}
	for _, raw := range r.Statements {
		s, err := statement.Open(raw)
		if err != nil {
			return err
		}
		r.parsed.statements = append(r.parsed.statements, s)
	}
	return next.Backed(prev, r.parsed.statements)
}

// CheckTime refuses a request that is over, or that was made in the future.
func (r *Request) CheckTime(now time.Time) error {
	if now.After(r.GoodUntil) {
		how := " with sigbox tuf request"
		if r.Base == nil { // sigbox init or sigbox tuf init made it
			how = ", made as this first one was"
		}
		return fmt.Errorf("%w: it was good until %s: ask for a new one%s", ErrExpired, statement.Stamp(r.GoodUntil), how)
	}
	if r.Made.After(now.Add(slack)) {
		return fmt.Errorf("%w: it was made at %s, and the clock of this machine says %s: one of the two clocks is wrong", ErrExpired, statement.Stamp(r.Made), statement.Stamp(now))
	}
	return nil
}
