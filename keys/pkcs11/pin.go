package pkcs11

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sigbox/sigbox/internal/private"
	"github.com/sigbox/sigbox/internal/tokenwire"
)

// maxPIN bounds a PIN, in bytes. Tokens say theirs (CK_TOKEN_INFO ulMaxPinLen): SoftHSM takes 255.
const maxPIN = 255

// readPIN reads the PIN from a private file of one line. Its errors do not quote what is in the file.
func readPIN(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("PIN: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("PIN: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("PIN: %s is not a file", path)
	}
	if err := private.Check(path, st); err != nil {
		return nil, fmt.Errorf("PIN: %w", err)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxPIN+3))
	if err != nil {
		return nil, fmt.Errorf("PIN: %w", err)
	}
	pin := bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r"))
	if len(pin) == 0 || len(pin) > maxPIN || bytes.ContainsAny(pin, "\n\r\x00") {
		return nil, fmt.Errorf("PIN: %s: want one line of 1 to %d bytes", path, maxPIN)
	}
	return pin, nil
}

// fewTries says why a PIN is not tried, from what the token says of its tries; nil for go on. accepted is for one that
// this process has logged in with before: then a wrong PIN that somebody else entered meanwhile does not keep it out.
func fewTries(flags uint, accepted, insist bool) error {
	switch {
	case flags&tokenwire.UserPINLocked != 0:
		return errors.New("the token is locked: too many wrong PINs were entered. Its security officer can set a new PIN")
	case flags&tokenwire.UserPINToBeChange != 0:
		return errors.New("the token wants its PIN changed first: do that with its own tools, " +
			"and write the new one to the file that pin-source names")
	case insist:
		return nil
	case flags&tokenwire.UserPINFinalTry != 0:
		return errors.New("the token takes one more try, and is locked if that is wrong. So the PIN is not tried: " + howToInsist)
	case flags&tokenwire.UserPINCountLow != 0 && !accepted:
		return errors.New("a wrong PIN was entered since the last right one. So the PIN is not tried, " +
			"since a service that is started again and again would lock the token: " + howToInsist)
	}
	return nil
}

const howToInsist = "put the right one into the file that pin-source names, and log in once with sigbox key check FILE --try-pin"

// aboutPIN says whether a token has said what is wrong with the PIN: CKR_PIN_INCORRECT to CKR_PIN_LOCKED.
func aboutPIN(code uint) bool { return code >= 0xA0 && code <= 0xA4 }

// notAboutPIN says whether a login failed before anybody looked at the PIN, so that another try is no risk.
func notAboutPIN(code uint) bool {
	switch code {
	case tokenwire.DeviceRemoved, tokenwire.TokenNotPresent, tokenwire.TokenNotRecognized, tokenwire.SlotIDInvalid, tokenwire.SessionClosed,
		tokenwire.SessionHandleInvalid, tokenwire.NotInitialized:
		return true
	}
	return false
}
