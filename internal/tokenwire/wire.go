package tokenwire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// MaxFrame bounds a frame, in bytes without its length. A signature of RSA with 16384 bits has 2 KiB.
const MaxFrame = 64 << 10

// Version is that of this protocol. Parent and child are to be of one: they are built and installed together.
const Version = 1

// Operations of a [Request], in the order in which a child takes them: one Open, a Login where the token wants one,
// then any number of the others, at once if need be.
const (
	Open  = "open"  // Module, Token -> Info
	Login = "login" // PIN
	Find  = "find"  // Key -> SPKI
	Sign  = "sign"  // Key, Scheme, Input -> Signature
	Check = "check" // Key: is it still there? Nothing is signed
	Make  = "make"  // Key -> SPKI of a new ECDSA P-256 pair
)

// Schemes of [Sign], and what their Input and Signature are.
const (
	// ECDSA takes a digest and gives r and s, of equal length, one after the other (PKCS #11, CKM_ECDSA).
	ECDSA = "ecdsa"
	// RSA takes a DigestInfo in DER and gives an RSASSA-PKCS1-v1_5 signature (CKM_RSA_PKCS).
	RSA = "rsa-pkcs1"
)

// Request is one request to the child.
type Request struct {
	ID     uint64 `json:"id"` // of this conversation, never 0
	Op     string `json:"op"`
	Module string `json:"module,omitempty"` // path of a shared library
	Token  *Token `json:"token,omitempty"`
	PIN    []byte `json:"pin,omitempty"`
	Key    *Key   `json:"key,omitempty"`
	Scheme string `json:"scheme,omitempty"`
	Input  []byte `json:"input,omitempty"`
}

// Token says which token is meant. What is empty may be anything.
type Token struct {
	Label        string `json:"label,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Slot         *uint  `json:"slot,omitempty"`
}

// Key says which key of the token is meant. One of the two is given, or both.
type Key struct {
	Label string `json:"label,omitempty"` // CKA_LABEL
	ID    []byte `json:"id,omitempty"`    // CKA_ID
}

// Response is the answer to one request: either Error, or what the operation gives.
type Response struct {
	ID        uint64 `json:"id"`
	Error     *Error `json:"error,omitempty"`
	Info      *Info  `json:"info,omitempty"`
	SPKI      []byte `json:"spki,omitempty"` // DER SubjectPublicKeyInfo
	Signature []byte `json:"signature,omitempty"`
}

// Info is what a token says of itself.
type Info struct {
	Version int    `json:"version"` // of the child's protocol
	Label   string `json:"label"`
	Serial  string `json:"serial"`
	Flags   uint   `json:"flags"` // CKF_*
}

// Error is why a request failed.
type Error struct {
	Code uint   `json:"code,omitempty"` // CKR_*; 0 where the module was not to blame
	Kind string `json:"kind,omitempty"` // [NoKey], [Taken] or ""
	Text string `json:"text"`           // never holds a PIN
}

// Kinds of an [Error].
const (
	NoKey = "no key" // there is no such private key
	Taken = "taken"  // there is one already
)

func (e *Error) Error() string { return e.Text }

// Write writes a frame.
func Write(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(text) > MaxFrame {
		return fmt.Errorf("a frame of %d bytes: at most %d are sent", len(text), MaxFrame)
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(text)), uint32(len(text))), text...))
	return err
}

// Read reads a frame into v. It returns io.EOF where there is none to begin with.
func Read(r io.Reader, v any) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > MaxFrame {
		return fmt.Errorf("a frame of %d bytes is announced: at most %d are taken", n, MaxFrame)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return fmt.Errorf("a frame that is cut off: %w", io.ErrUnexpectedEOF)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("a frame that is not understood: %w", err)
	}
	return nil
}
