package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// scalar is a value that is written as one text. The error of parse goes on from "KEY: ".
type scalar interface{ parse(text, dir string) error }

// The kinds of values beside text, numbers and true or false.
type (
	Origin   string        // scheme://host[:port]
	Address  string        // host:port; an empty host is every interface
	Host     string        // host name or IP address, in lower case
	Name     string        // of a log
	Kind     string        // of entries of a Rekor v1 log
	File     string        // path
	Dir      string        // path
	KeyFile  string        // path, or ${credential:NAME}; see [KeyFile.Path]
	Duration time.Duration // written with a unit: 200ms, 5s, 1m30s
	Size     int64         // bytes; written as a number, or with KiB, MiB, GiB

	InstanceID    string        // 32 hex digits
	Text          string        // printable ASCII without spaces
	IssuerURL     string        // iss of an OpenID Connect issuer
	Network       string        // IP network in CIDR form
	Rate          string        // so many in a period; see [Rate.Quota]
	PeerAddress   string        // host:port of another service
	PeerAddresses []PeerAddress // one, or a list
	Source        string        // path of a directory, or host:port of another service; see [Source.Dir]
)

// URL returns the parsed origin.
func (o Origin) URL() *url.URL {
	u, err := url.Parse(string(o))
	if err != nil { // parse took it
		panic(err)
	}
	return u
}

func (o *Origin) parse(text, _ string) error {
	u, err := url.Parse(text)
	if err == nil && u.User != nil { // not quoted: there may be a password
		return errors.New("has a user in it: want scheme, host and port only")
	}
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("%q is not an origin: want scheme and host, such as https://sigstore.example.com", text)
	case u.Path == "/":
		return fmt.Errorf("%q ends with a slash, which clients would double: write %s://%s", text, u.Scheme, u.Host)
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return fmt.Errorf("%q has a path: clients drop it, or put their own in its place; give the service a host name, and write %s://%s", text, u.Scheme, u.Host)
	case text != strings.ToLower(text):
		return fmt.Errorf("%q has capitals, and clients compare URLs byte by byte: write %s", text, strings.ToLower(text))
	case u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return fmt.Errorf("%q names the port that %s has anyway, which clients leave out: write %s://%s", text, u.Scheme, u.Scheme, strings.TrimSuffix(u.Host, ":"+u.Port()))
	case !validPort(u.Port()) && u.Port() != "" || strings.HasSuffix(u.Host, ":"):
		return fmt.Errorf("%q has no valid port: want 1 to 65535, or none", text)
	case !validHost(u.Hostname()):
		return fmt.Errorf("%q has no valid host name", text)
	}
	*o = Origin(text)
	return nil
}

func (a *Address) parse(text, _ string) error {
	host, port, err := net.SplitHostPort(text)
	switch {
	case err != nil && strings.Contains(text, "://"):
		return fmt.Errorf("%q is a URL: want HOST:PORT, such as 127.0.0.1:8080", text)
	case err != nil && strings.Count(text, ":") > 1:
		return fmt.Errorf("%q is not an address: want HOST:PORT, an IPv6 address in brackets, such as [::1]:8080", text)
	case err != nil:
		return fmt.Errorf("%q is not an address: want HOST:PORT, such as 127.0.0.1:8080", text)
	case !validPort(port) && port != "0":
		return fmt.Errorf("%q has no valid port: want a number from 1 to 65535, or 0 for any that is free", text)
	case host != "" && !validHost(strings.ToLower(host)):
		return fmt.Errorf("%q has no valid host", text)
	}
	*a = Address(text)
	return nil
}

func (h *Host) parse(text, _ string) error {
	switch {
	case strings.Contains(text, "/"):
		return fmt.Errorf("%q is a URL: want the host name alone", text)
	case !validHost(text) && validHost(strings.ToLower(text)):
		return fmt.Errorf("%q has capitals: write %s", text, strings.ToLower(text))
	case !validHost(text):
		return fmt.Errorf("%q is not a host name: want one such as rekor.example.com, without port", text)
	}
	*h = Host(text)
	return nil
}

var (
	hostName = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	logName  = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
)

func validHost(h string) bool {
	return len(h) <= 253 && hostName.MatchString(h) || net.ParseIP(h) != nil
}

func validPort(p string) bool {
	n, err := strconv.ParseUint(p, 10, 16)
	return err == nil && n > 0 && p == strconv.FormatUint(n, 10)
}

// CheckName refuses what is not a name for a log.
func CheckName(text string) error {
	var n Name
	return n.parse(text, "")
}

// CheckHost refuses what is not a host name as configurations have it.
func CheckHost(text string) error {
	var h Host
	return h.parse(text, "")
}

func (n *Name) parse(text, _ string) error {
	if !logName.MatchString(text) {
		return fmt.Errorf("%q is not a name for a log: want a small letter or digit, then up to 62 of these and . _ -", text)
	}
	*n = Name(text)
	return nil
}

func (f *File) parse(text, dir string) error { return setPath((*string)(f), text, dir) }
func (d *Dir) parse(text, dir string) error  { return setPath((*string)(d), text, dir) }

func (k *KeyFile) parse(text, dir string) error {
	switch r, isRef := parseReference(text); {
	case strings.Contains(text, "-----BEGIN"):
		return errors.New("this is the key itself: put it into a file of mode 0600, and write the path of the file here")
	case isRef && r.kind == "credential" && r.valid():
		*k = KeyFile(text)
		return nil
	case isRef:
		return fmt.Errorf("%s is not a file: want a path, or ${credential:NAME} for a systemd credential", text)
	}
	return setPath((*string)(k), text, dir)
}

// Path returns where the key is.
func (k KeyFile) Path() (string, error) {
	if r, ok := parseReference(string(k)); ok {
		return credentialPath(r.name)
	}
	return string(k), nil
}

func setPath(to *string, text, dir string) error {
	switch {
	case text == "":
		return errors.New("is empty: want a path")
	case strings.HasPrefix(text, "~"):
		return fmt.Errorf("%q begins with ~, which only shells replace: write the whole path", text)
	case strings.HasPrefix(text, "file:"), strings.Contains(text, "://"):
		return fmt.Errorf("%q is a URL: want a path", text)
	case strings.Contains(text, "${"), strings.HasPrefix(text, "$"):
		return fmt.Errorf("%q has a variable in it, and nothing replaces those in paths: write the path itself", text)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' }):
		return fmt.Errorf("%q has a control character in it: want a path", text)
	}
	if !filepath.IsAbs(text) {
		text = filepath.Join(dir, text)
	}
	*to = filepath.Clean(text)
	return nil
}

func (d *Duration) parse(text, _ string) error {
	v, err := time.ParseDuration(text)
	if err != nil || strings.ContainsAny(text, "+eE") {
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			return fmt.Errorf("%q has no unit: write %sms, %ss or %sm", text, text, text, text)
		}
		return fmt.Errorf("%q is not a duration: want a number with a unit, such as 200ms, 5s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string {
	text := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

var sizeForm = regexp.MustCompile(`^([0-9]+) ?(|KiB|MiB|GiB)$`)

func (s *Size) parse(text, _ string) error {
	if m := sizeForm.FindStringSubmatch(text); m != nil {
		shift := map[string]uint{"": 0, "KiB": 10, "MiB": 20, "GiB": 30}[m[2]]
		if n, err := strconv.ParseInt(m[1], 10, 32); err == nil {
			*s = Size(n << shift)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size: want bytes as a number below 2147483648, or with a unit, such as 64KiB or 4MiB", text)
}

func (s Size) String() string {
	for _, u := range []struct {
		name  string
		shift uint
	}{{"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if s != 0 && s&(1<<u.shift-1) == 0 {
			return fmt.Sprint(int64(s>>u.shift), u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
