package rekorv1

import (
	"bytes"
	"container/list"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/sigbox/sigbox/tlog"
)

// cachedSETs is how many signatures are kept: about 1 MB.
const cachedSETs = 4096

// setSigner makes signed entry timestamps. A SET is not stored: it is made when asked for and
// kept for a while, so that an entry that is read often costs one signature.
type setSigner struct {
	key   crypto.Signer
	pub   *ecdsa.PublicKey
	logID string

	// A key of this process signs twice instead of being verified: see makeSure.
	twice  bool
	signed atomic.Uint32 // how many signatures were made
	doubt  atomic.Bool   // one of them was wrong: all are verified from then on

	mu    sync.Mutex
	order *list.List // of *setEntry, the latest used first
	byKey map[[32]byte]*list.Element
}

type setEntry struct {
	payload [32]byte // SHA-256 of what is signed
	sig     []byte
}

func newSETSigner(key crypto.Signer, pub *ecdsa.PublicKey, logID string) *setSigner {
	_, twice := key.(*ecdsa.PrivateKey)
	return &setSigner{key: key, pub: pub, logID: logID, twice: twice, order: list.New(), byKey: map[[32]byte]*list.Element{}}
}

// integratedTime is the time of an entry as Rekor states it, in Unix seconds.
func integratedTime(leaf tlog.Leaf) int64 { return leaf.TimeMS / 1000 }

// payload is what a SET signs: the canonical JSON (RFC 8785) of body, time, log and virtual index.
func (s *setSigner) payload(leaf tlog.Leaf, index int64) []byte {
	b := make([]byte, 0, 256+4*len(leaf.Data)/3)
	b = append(b, `{"body":"`...)
	b = base64.StdEncoding.AppendEncode(b, leaf.Data)
	b = append(b, `","integratedTime":`...)
	b = strconv.AppendInt(b, integratedTime(leaf), 10)
	b = append(b, `,"logID":"`...)
	b = append(b, s.logID...)
	b = append(b, `","logIndex":`...)
	b = strconv.AppendInt(b, index, 10)
	return append(b, '}')
}

// sign returns the SET of a leaf at a virtual index: ECDSA over SHA-256, ASN.1 DER.
func (s *setSigner) sign(leaf tlog.Leaf, index int64) ([]byte, error) {
	digest := sha256.Sum256(s.payload(leaf, index))
	if sig := s.cached(digest); sig != nil {
		return sig, nil
	}
	random := rand.Reader
	if s.twice {
		random = nil // deterministic (RFC 6979)
	}
	sig, err := s.key.Sign(random, digest[:], crypto.SHA256)
	if err == nil {
		err = s.makeSure(digest[:], sig)
	}
	if err != nil {
		return nil, fmt.Errorf("sign entry timestamp of index %d: %w", index, err)
	}
	s.keep(digest, sig)
	return sig, nil
}

// verifyEach says which of the signatures of a key of this process are verified: the first and each
// that many later.
const verifyEach = 64

// makeSure checks a new signature before anybody sees it: one made by faulty hardware can give the key
// away. Signing once more and comparing costs a third of verifying and finds whatever goes wrong once;
// what goes wrong the same way each time is found by the signatures that are verified. Where a signer
// is not deterministic, each is. See docs/design/0004.
func (s *setSigner) makeSure(digest, sig []byte) error {
	if s.twice && s.signed.Add(1)%verifyEach != 1 && !s.doubt.Load() {
		again, err := s.key.Sign(nil, digest, crypto.SHA256)
		if err != nil {
			return err
		}
		if !bytes.Equal(again, sig) {
			s.doubt.Store(true)
			return errors.New("two signatures of one text differ, which must be the same")
		}
		return nil
	}
	if !ecdsa.VerifyASN1(s.pub, digest, sig) {
		s.doubt.Store(true)
		return errors.New("the new signature does not verify with the log's key")
	}
	return nil
}

func (s *setSigner) cached(digest [32]byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.byKey[digest]
	if el == nil {
		return nil
	}
	s.order.MoveToFront(el)
	return el.Value.(*setEntry).sig
}

func (s *setSigner) keep(digest [32]byte, sig []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[digest] != nil {
		return
	}
	s.byKey[digest] = s.order.PushFront(&setEntry{digest, sig})
	if s.order.Len() > cachedSETs {
		oldest := s.order.Back()
		s.order.Remove(oldest)
		delete(s.byKey, oldest.Value.(*setEntry).payload)
	}
}
