package ca

import (
	"context"
	"math/big"
	"time"
)

// Store keeps a row for every serial number that the key may have signed. Its methods return
// after the row is durable. Implementations: ca/sqlstore, ca/pgstore.
type Store interface {
	// Intend records what is about to be signed. ErrSerialUsed if the serial number is known.
	Intend(ctx context.Context, in Intent) error
	// Settle records how the issuance of a serial number went. It is called once for each.
	Settle(ctx context.Context, out Outcome) error
}

// Intent is what is known before the key is used.
type Intent struct {
	Serial     *big.Int
	At         time.Time // the clock reading of the issuance
	NotBefore  time.Time
	NotAfter   time.Time
	Issuer     string   // the token's issuer
	Subject    string   // the token's subject
	SAN        string   // the certified name, as text
	SPKISHA256 [32]byte // of the certified key
	TBSSHA256  [32]byte // of the precertificate's TBSCertificate
}

// Outcome is what came of an intent. Precertificate and Certificate are DER, nil where the
// issuance did not get so far; then Failure says why, for operators.
type Outcome struct {
	Serial         *big.Int
	At             time.Time
	Precertificate []byte
	Certificate    []byte
	Failure        string
}

// State says how far an issuance got.
type State string

// States of a record.
const (
	Intended     State = "intended"     // the key may or may not have signed a precertificate
	Precertified State = "precertified" // a precertificate was signed, no certificate
	Issued       State = "issued"       // a certificate was signed, and may have been handed out
)

// Record is one issuance as a store exports it.
type Record struct {
	ID int64 // ascending in the order of intents
	Intent
	State          State
	SettledAt      time.Time // zero while intended
	Precertificate []byte
	Certificate    []byte
	Failure        string
}
