package ca

import (
	"bytes"
	"context"
	"math/big"
	"strings"
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
	Grant               // what let the token through
}

// Grant is what let a token through: the rules on who may sign (ca/rules) of its issuer, all of which
// allowed it. The zero value says that its issuer has none. Nobody changes what Rules points at.
type Grant struct {
	RulesSHA256 [32]byte // of the issuer's rules, as they were configured
	Rules       []string // their names, in the order in which they were asked
}

// Columns returns a grant as stores keep it: the hash, and the names with a line feed between two, which
// no name holds. nil and "" where there were no rules.
func (g *Grant) Columns() (sum []byte, names string) {
	if len(g.Rules) == 0 {
		return nil, ""
	}
	return bytes.Clone(g.RulesSHA256[:]), strings.Join(g.Rules, "\n")
}

// GrantOf is the way back from [Grant.Columns].
func GrantOf(sum []byte, names string) (g Grant) {
	if names != "" {
		copy(g.RulesSHA256[:], sum)
		g.Rules = strings.Split(names, "\n")
	}
	return g
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
