package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sigbox/sigbox/internal/private"
)

type (
	// Secret is a reference to a secret, "" for none:
	//
	//	${env:NAME}         an environment variable
	//	${file:PATH}        a private file, as that of tls.key
	//	${credential:NAME}  a systemd credential (LoadCredential= of the unit)
	//
	// A final newline in a file or credential does not count.
	Secret string
	// ConnString is how to connect to a database: a connection string without a password in it, or
	// a reference to one that may have one.
	ConnString string
)

// maxSecret bounds what a reference may lead to, in bytes.
const maxSecret = 64 << 10

type reference struct{ kind, name string }

var (
	referenceForm = regexp.MustCompile(`^\$\{([^:}]*):?([^}]*)\}$`)
	variableName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// systemd.exec(5): a file name.
	credentialName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
)

// parseReference tells whether a text is meant as a reference. It may still be a wrong one.
func parseReference(text string) (reference, bool) {
	m := referenceForm.FindStringSubmatch(text)
	if m == nil {
		return reference{}, false
	}
	return reference{m[1], m[2]}, true
}

func (r reference) valid() bool {
	switch r.kind {
	case "env":
		return variableName.MatchString(r.name)
	case "file":
		return r.name != ""
	case "credential":
		return credentialName.MatchString(r.name)
	}
	return false
}

// absolute returns the reference as text, with the path of a file made absolute.
func (r reference) absolute(dir string) (string, error) {
	if !r.valid() {
		return "", errors.New("want ${env:NAME}, ${file:PATH} or ${credential:NAME}")
	}
	if r.kind == "file" {
		if err := setPath(&r.name, r.name, dir); err != nil {
			return "", err
		}
	}
	return "${" + r.kind + ":" + r.name + "}", nil
}

func (r reference) resolve() (string, error) {
	path := r.name
	switch r.kind {
	case "env":
		v := os.Getenv(r.name)
		if v == "" {
			return "", fmt.Errorf("the environment variable %s is not set", r.name)
		}
		return v, nil
	case "credential":
		var err error
		if path, err = credentialPath(r.name); err != nil {
			return "", err
		}
	}
	return readSecret(path)
}

func credentialPath(name string) (string, error) {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fmt.Errorf("credential %s: CREDENTIALS_DIRECTORY is not set: systemd sets it for units with LoadCredential=", name)
	}
	return filepath.Join(dir, name), nil
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := isPrivate(f); err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if len(b) > maxSecret || text == "" || strings.ContainsAny(text, "\n\x00") {
		return "", fmt.Errorf("%s: want one line of at most %d bytes", path, maxSecret)
	}
	return text, nil
}

// isPrivate refuses a file that is not fit to hold a secret.
func isPrivate(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", f.Name())
	}
	return private.Check(f.Name(), st)
}

func (s *Secret) parse(text, dir string) error {
	r, ok := parseReference(text)
	if !ok { // never quoted: it may be the secret
		return errors.New("a secret does not belong into this file: want ${env:NAME}, ${file:PATH} or ${credential:NAME}")
	}
	abs, err := r.absolute(dir)
	if err != nil {
		return fmt.Errorf("%s is not a reference to a secret: %w", text, err)
	}
	*s = Secret(abs)
	return nil
}

// Value returns the secret.
func (s Secret) Value() (string, error) {
	r, _ := parseReference(string(s))
	return r.resolve()
}

var keyPassword = regexp.MustCompile(`(?i)(^|\s)(ssl)?password\s*=`)

func (c *ConnString) parse(text, dir string) error {
	if r, ok := parseReference(text); ok {
		abs, err := r.absolute(dir)
		if err != nil {
			return fmt.Errorf("%s is not a reference to a connection string: %w", text, err)
		}
		*c = ConnString(abs)
		return nil
	}
	if strings.Contains(text, "${") {
		return errors.New("has a reference inside of a text, which is not replaced: make the whole value one reference, or use the key password")
	}
	isURL := strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
	switch u, err := url.Parse(text); {
	case isURL && err != nil: // the error would quote it, and with it a password
		return errors.New("is not a URL: characters that URLs give a meaning must be written as %XX")
	case !isURL && !strings.Contains(text, "=") || !isURL && strings.Contains(text, "://"):
		return errors.New("is not a connection string: want postgres://USER@HOST:PORT/NAME, or libpq's key=value form")
	case isURL && (hasPassword(u) || u.Query().Has("password") || u.Query().Has("sslpassword")), !isURL && keyPassword.MatchString(text):
		return errors.New("has a password in it, which does not belong into this file: use the key password, or make the whole value a reference such as ${file:PATH}")
	}
	*c = ConnString(text)
	return nil
}

func hasPassword(u *url.URL) bool {
	_, has := u.User.Password()
	return has
}

func (c ConnString) value() (string, error) {
	if r, ok := parseReference(string(c)); ok {
		return r.resolve()
	}
	return string(c), nil
}

// ConnString returns the connection string that serve uses, password included: it is not to be
// shown.
func (d *Database) ConnString() (string, error) {
	text, err := d.URL.value()
	if err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	if d.Password == "" {
		return text, nil
	}
	password, err := d.Password.Value()
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return withPassword(text, password)
}

// MigrateConnString returns the one that migrate uses.
func (d *Database) MigrateConnString() (string, error) {
	if d.MigrateURL == "" {
		return d.ConnString()
	}
	text, err := d.MigrateURL.value()
	if err != nil {
		return "", fmt.Errorf("migrate_url: %w", err)
	}
	return text, nil
}

func withPassword(text, password string) (string, error) {
	if !strings.Contains(text, "://") {
		return text + " password='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password) + "'", nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", errors.New("url: is not a URL")
	}
	q := u.Query()
	q.Set("password", password)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
