package setup

import (
	"bytes"
	_ "embed"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/instance"
)

// configFile is the name of the configuration in the directory.
const configFile = "sigbox.yaml"

//go:embed sigbox.yaml.tmpl
var configText string

// configData is what the template of the configuration is filled with.
type configData struct {
	Plan
	One                      bool   // all services have one origin and one address
	URL, Address             string // of all, where One
	CAPeerListen, TLogListen string
	CADatabase, TLogDatabase string // connection strings of serve
	TUFDatabase, GuardURL    string
	GuardFile                string
	Migrate                  Services // names of environment variables
	MigrateGuard             string
}

// config renders the configuration.
func (b *builder) config() ([]byte, error) {
	t, err := template.New(configFile).Funcs(template.FuncMap{"yaml": yamlText}).Parse(configText)
	if err != nil {
		return nil, err
	}
	p := b.plan
	d := configData{
		Plan: p, One: p.URLs.one() && p.Listen.one(), URL: p.URLs.CA, Address: p.Listen.CA,
		CAPeerListen: peerListen(p.CAPeer), TLogListen: peerListen(p.TLogPeer),
		Migrate: Services{CA: "SIGBOX_MIGRATE_URL", TLog: "SIGBOX_MIGRATE_URL", TUF: "SIGBOX_MIGRATE_URL"}, MigrateGuard: "SIGBOX_GUARD_MIGRATE_URL",
	}
	if !p.Databases.one() {
		d.Migrate = Services{CA: "SIGBOX_CA_MIGRATE_URL", TLog: "SIGBOX_TLOG_MIGRATE_URL", TUF: "SIGBOX_TUF_MIGRATE_URL"}
	}
	for _, s := range []struct {
		to       *string
		of, user string
	}{{&d.CADatabase, p.Databases.CA, "sigbox_ca"}, {&d.TLogDatabase, p.Databases.TLog, "sigbox_tlog"}, {&d.TUFDatabase, p.Databases.TUF, "sigbox_tuf"}} {
		if *s.to, err = withUser(s.of, s.user); err != nil {
			return nil, err
		}
	}
	if file, ok := strings.CutPrefix(p.Guard, "file:"); ok {
		d.GuardFile = file
	} else if GuardIsDatabase(p.Guard) {
		if d.GuardURL, err = withUser(p.Guard, "sigbox_guard"); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	err = t.Execute(&out, d)
	return out.Bytes(), err
}

// yamlText writes a text as YAML that cannot be read as anything else.
func yamlText(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-:@?=&%+") == "" && !strings.HasPrefix(s, "-") {
		return s
	}
	return "\"" + strings.NewReplacer("\\", "\\\\", "\"", "\\\"").Replace(s) + "\""
}

// peerListen is where a service listens for others that reach it at an address: that address where it is
// of this machine alone, and otherwise its port on every interface.
func peerListen(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (ip == nil || !ip.IsLoopback()) && host != "localhost" {
		return net.JoinHostPort("0.0.0.0", port)
	}
	return address
}

// checkConfig reads the configuration that the plan makes as serve will, so that what is wrong with the
// choices is found before anything is made of them.
func (b *builder) checkConfig() error {
	text, err := b.config()
	if err != nil {
		return err
	}
	tmp := b.path(instance.Unfinished + configFile)
	if err := os.WriteFile(tmp, text, open); err != nil {
		return err
	}
	_, err = config.Load(tmp)
	var wrong *config.Error
	if errors.As(err, &wrong) {
		for i := range wrong.Problems { // the file is not kept
			wrong.Problems[i].Line = 0
		}
		wrong.File = "the configuration that these flags would make"
	}
	return errors.Join(err, os.Remove(tmp))
}

// loadConfig reads the configuration, as whoever runs the instance may have edited it.
func (b *builder) loadConfig() (*config.Config, error) { return config.Load(b.path(configFile)) }

// withUser returns a connection string for a user whose password is told elsewhere.
func withUser(database, user string) (string, error) {
	u, err := databaseURL(database)
	if err != nil {
		return "", err
	}
	if user == "" {
		u.User = nil
	} else {
		u.User = url.User(user)
	}
	q := u.Query()
	q.Del("user")
	q.Del("password")
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// databaseURL reads a connection string, of which the error never quotes a word.
func databaseURL(database string) (*url.URL, error) {
	u, err := url.Parse(database)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("a database is named by a URL, such as postgres://postgres@127.0.0.1:5432/sigbox; characters that URLs give a meaning are written as %XX")
	}
	return u, nil
}

// WithoutUser returns what init keeps of a connection string: everything but user and password.
func WithoutUser(database string) (string, error) {
	if database == "" {
		return "", nil
	}
	return withUser(database, "")
}

// relative is a path as a person in the directory above would write it.
func (b *builder) relative(name string) string {
	wd, err := os.Getwd()
	if err != nil {
		return b.path(name)
	}
	if rel, err := filepath.Rel(wd, b.path(name)); err == nil && !strings.HasPrefix(rel, "..") {
		return rel
	}
	return b.path(name)
}
