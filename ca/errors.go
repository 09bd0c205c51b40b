package ca

import "errors"

// Errors of a request that is wrong by itself. Faces match them with errors.Is.
var (
	ErrPublicKey   = errors.New("ca: public key cannot be parsed")
	ErrInsecureKey = errors.New("ca: public key is insecure")
	ErrCSR         = errors.New("ca: certificate signing request cannot be parsed")
	ErrPossession  = errors.New("ca: possession of the private key was not shown")
	ErrAlgorithm   = errors.New("ca: signing algorithm not permitted")
	ErrIdentity    = errors.New("ca: identity does not fit into a certificate")
)

// Errors of the authority. The request may be fine.
var (
	ErrTransparency = errors.New("ca: the precertificate could not be logged") // down, slow, or a promise that does not hold
	ErrLogEnded     = errors.New("ca: the transparency log is frozen")         // wrapped together with ErrTransparency
	ErrNotValid     = errors.New("ca: the authority's certificates are not valid now")
	ErrClock        = errors.New("ca: the clock went backwards")
	ErrProfile      = errors.New("ca: certificate does not meet the profile") // a bug; nothing was signed
	ErrRecord       = errors.New("ca: issuance could not be recorded")
	ErrSerialUsed   = errors.New("ca: serial number was used before")
)
