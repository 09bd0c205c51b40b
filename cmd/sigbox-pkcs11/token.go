//go:build cgo

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// token is the one token of this process, reached through its module.
type token struct {
	mu     sync.Mutex
	module *pkcs11.Ctx
	slot   uint
	idle   []pkcs11.SessionHandle
	keys   map[string]pkcs11.ObjectHandle // private keys that were found
}

func (t *token) opened() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.module != nil
}

// open loads the module and finds the token.
func (t *token) open(path string, want *tokenwire.Token) (*tokenwire.Info, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := pkcs11.New(path)
	if m == nil {
		return nil, fmt.Errorf("%s cannot be loaded: it is no PKCS #11 module, or a library that it needs is missing", path)
	}
	if err := m.Initialize(); err != nil {
		return nil, fmt.Errorf("initialise %s: %w", path, err)
	}
	slots, err := m.GetSlotList(true)
	if err != nil {
		return nil, fmt.Errorf("list slots: %w", err)
	}
	var found []pkcs11.TokenInfo
	var there []string
	for _, slot := range slots {
		info, err := m.GetTokenInfo(slot)
		if err != nil {
			continue // another token than ours may be out of order
		}
		there = append(there, fmt.Sprintf("%q", info.Label))
		if is(want, info, slot) {
			found, t.slot = append(found, info), slot
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no such token (there: %s): %w", strings.Join(there, ", "), pkcs11.Error(pkcs11.CKR_TOKEN_NOT_PRESENT))
	case 1:
	default:
		return nil, fmt.Errorf("%d tokens are meant: add serial= or slot-id= to the URI", len(found))
	}
	t.module = m
	return &tokenwire.Info{Version: tokenwire.Version, Label: found[0].Label, Serial: found[0].SerialNumber, Flags: found[0].Flags}, nil
}

func is(want *tokenwire.Token, info pkcs11.TokenInfo, slot uint) bool {
	same := func(want, have string) bool { return want == "" || want == strings.TrimRight(have, " \x00") }
	return want != nil && same(want.Label, info.Label) && same(want.Serial, info.SerialNumber) &&
		same(want.Manufacturer, info.ManufacturerID) && same(want.Model, info.Model) && (want.Slot == nil || *want.Slot == slot)
}

// login logs in, for all sessions of this process. The login ends with the last session, so one stays open that is not
// used for anything else.
func (t *token) login(pin string) error {
	s, err := t.module.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return fmt.Errorf("open a session: %w", err)
	}
	err = t.module.Login(s, pkcs11.CKU_USER, pin)
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return nil
	}
	return err
}

// session lends a session to f. One that failed is closed: an operation may be half done in it.
func (t *token) session(f func(pkcs11.SessionHandle) error) error {
	t.mu.Lock()
	var s pkcs11.SessionHandle
	have := len(t.idle) > 0
	if have {
		s, t.idle = t.idle[len(t.idle)-1], t.idle[:len(t.idle)-1]
	}
	t.mu.Unlock()
	if !have {
		var err error
		if s, err = t.module.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION); err != nil {
			return fmt.Errorf("open a session: %w", err)
		}
	}
	if err := f(s); err != nil {
		_ = t.module.CloseSession(s)
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.idle = append(t.idle, s)
	return nil
}

// objects finds at most three objects.
func (t *token) objects(s pkcs11.SessionHandle, template ...*pkcs11.Attribute) ([]pkcs11.ObjectHandle, error) {
	if err := t.module.FindObjectsInit(s, template); err != nil {
		return nil, err
	}
	list, _, err := t.module.FindObjects(s, 3)
	return list, errors.Join(err, t.module.FindObjectsFinal(s))
}

func template(class uint, k tokenwire.Key) []*pkcs11.Attribute {
	list := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if k.Label != "" {
		list = append(list, pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.Label))
	}
	if k.ID != nil {
		list = append(list, pkcs11.NewAttribute(pkcs11.CKA_ID, k.ID))
	}
	return list
}

func keyName(k tokenwire.Key) string {
	if k.ID == nil {
		return fmt.Sprintf("label %q", k.Label)
	}
	return fmt.Sprintf("label %q, id %x", k.Label, k.ID)
}

var (
	errNoKey = errors.New("the token has no private key")
	errTaken = errors.New("there is a key with that name already")
)

// private finds the one private key that is meant.
func (t *token) private(s pkcs11.SessionHandle, k tokenwire.Key) (pkcs11.ObjectHandle, error) {
	list, err := t.objects(s, template(pkcs11.CKO_PRIVATE_KEY, k)...)
	switch {
	case err != nil:
		return 0, fmt.Errorf("look for the key: %w", err)
	case len(list) == 0:
		return 0, fmt.Errorf("%w with %s", errNoKey, keyName(k))
	case len(list) > 1:
		return 0, fmt.Errorf("the token has more than one private key with %s: add id= to the URI", keyName(k))
	}
	return list[0], nil
}

// errGone is a key that is not found where it was found before.
var errGone = pkcs11.Error(pkcs11.CKR_OBJECT_HANDLE_INVALID)

func (t *token) check(k tokenwire.Key) error {
	return t.session(func(s pkcs11.SessionHandle) error {
		_, err := t.private(s, k)
		if errors.Is(err, errNoKey) {
			err = fmt.Errorf("%w: %w", err, errGone)
		}
		return err
	})
}

// handle is that of a private key, found once: tokens with many objects are slow to search.
func (t *token) handle(s pkcs11.SessionHandle, k tokenwire.Key) (pkcs11.ObjectHandle, error) {
	name := k.Label + "\x00" + string(k.ID)
	t.mu.Lock()
	h, ok := t.keys[name]
	t.mu.Unlock()
	if ok {
		return h, nil
	}
	h, err := t.private(s, k)
	if errors.Is(err, errNoKey) {
		err = fmt.Errorf("%w: %w", err, errGone)
	}
	if err == nil {
		t.mu.Lock()
		t.keys[name] = h
		t.mu.Unlock()
	}
	return h, err
}

func (t *token) sign(k tokenwire.Key, scheme string, input []byte) (sig []byte, err error) {
	mechanism, ok := map[string]uint{tokenwire.ECDSA: pkcs11.CKM_ECDSA, tokenwire.RSA: pkcs11.CKM_RSA_PKCS}[scheme]
	if !ok {
		return nil, fmt.Errorf("%q is not a scheme", scheme)
	}
	err = t.session(func(s pkcs11.SessionHandle) error {
		h, err := t.handle(s, k)
		if err != nil {
			return err
		}
		if err := t.module.SignInit(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, h); err != nil {
			return err
		}
		sig, err = t.module.Sign(s, input)
		return err
	})
	return sig, err
}

// p256 is the OID of the curve, the value of CKA_EC_PARAMS (RFC 5480 2.1.1.1).
var p256 = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

// make makes a pair whose private half stays on the token.
func (t *token) make(k tokenwire.Key) ([]byte, error) {
	s, err := t.module.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return nil, fmt.Errorf("open a session for writing: %w", err)
	}
	defer func() { _ = t.module.CloseSession(s) }()
	for _, class := range []uint{pkcs11.CKO_PRIVATE_KEY, pkcs11.CKO_PUBLIC_KEY} {
		for _, taken := range []tokenwire.Key{{Label: k.Label}, {ID: k.ID}} {
			if taken.Label == "" && taken.ID == nil {
				continue
			}
			list, err := t.objects(s, template(class, taken)...)
			if err != nil {
				return nil, fmt.Errorf("look whether the name is free: %w", err)
			}
			if len(list) > 0 {
				return nil, fmt.Errorf("%w (%s): use it as it is, or choose another name", errTaken, keyName(taken))
			}
		}
	}
	id := k.ID
	if id == nil {
		id = make([]byte, 16) // what pairs the two halves
		_, _ = rand.Read(id)  // never fails
	}
	both := func(more ...*pkcs11.Attribute) []*pkcs11.Attribute {
		return append(more, pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, k.Label), pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	_, _, err = t.module.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_EC_KEY_PAIR_GEN, nil)},
		both(pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, p256), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true)),
		both(pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true)))
	if err != nil {
		return nil, fmt.Errorf("make a pair: %w", err)
	}
	return t.find(tokenwire.Key{Label: k.Label, ID: id})
}
