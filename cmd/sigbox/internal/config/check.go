package config

import (
	"fmt"
	"net"
	"slices"
	"strings"
)

// Services are the names of the sections that are services, in the order they are started.
var Services = []string{"issuer", "tlog", "ca", "tuf"}

// Services lists the services that the configuration has.
func (c *Config) Services() (list []string) {
	for _, s := range Services {
		if c.has(s) {
			list = append(list, s)
		}
	}
	return list
}

// File returns the path that the configuration was read from.
func (c *Config) File() string { return c.file }

func (c *Config) has(service string) bool {
	switch service {
	case "issuer":
		return c.Issuer != nil
	case "tlog":
		return c.TLog != nil
	case "ca":
		return c.CA != nil
	case "tuf":
		return c.TUF != nil
	}
	return false
}

// Only takes all services but those named out of the configuration. Its error is about the names.
func (c *Config) Only(names []string) error {
	for _, n := range names {
		if !slices.Contains(Services, n) {
			return fmt.Errorf("%q is no service: want %s", n, orList([]string{"ca", "tlog", "tuf"}))
		}
		if !c.has(n) {
			return fmt.Errorf("%s has no section %s, so that it cannot be run", c.file, n)
		}
	}
	if !slices.Contains(names, "issuer") {
		c.Issuer = nil
	}
	if !slices.Contains(names, "tlog") {
		c.TLog = nil
	}
	if !slices.Contains(names, "ca") {
		c.CA = nil
	}
	if !slices.Contains(names, "tuf") {
		c.TUF = nil
	}
	if err := c.ctReachable(); err != nil {
		return c.Err([]Problem{c.Problem("ca.ct", "%v", err)})
	}
	if c.trustsNobody() {
		return c.Err([]Problem{c.Problem("ca.issuers", noIssuers)})
	}
	return nil
}

const noIssuers = "is missing: name the file that says whose tokens are taken, Fulcio's config.yaml, or list issuers under ca.presets"

// trustsNobody says that the configuration has an authority that would take no token.
func (c *Config) trustsNobody() bool {
	return c.CA != nil && c.CA.Issuers == "" && len(c.CA.Presets) == 0 && c.Issuer == nil && len(c.CA.DevelopmentIssuers()) == 0
}

// inherit fills in what the sections take over from the top of the file.
func (c *Config) inherit() {
	own := func(url *Origin, listen *Address) {
		if *url == "" {
			*url = c.PublicURL
		}
		if *listen == "" {
			*listen = c.Listen
		}
	}
	if c.CA != nil {
		own(&c.CA.PublicURL, &c.CA.Listen)
	}
	if c.TUF != nil {
		own(&c.TUF.PublicURL, &c.TUF.Listen)
	}
	if c.Issuer != nil {
		own(&c.Issuer.PublicURL, &c.Issuer.Listen)
	}
	if t := c.TLog; t != nil {
		own(&t.PublicURL, &t.Listen)
		t.inherit()
	}
}

func (t *TLog) inherit() {
	if t.Authorities == "" && t.CT != nil {
		t.Authorities = t.CT.Roots
	}
	if t.PublicURL == "" {
		return // a problem already
	}
	host := func(h *Host) {
		if *h == "" {
			*h = Host(t.PublicURL.URL().Hostname())
		}
	}
	if t.RekorV1 != nil {
		for i := range t.RekorV1.Shards {
			host(&t.RekorV1.Shards[i].Host)
		}
	}
	if t.RekorV2 != nil {
		host(&t.RekorV2.Host)
	}
	if t.CT != nil {
		host(&t.CT.Host)
	}
}

// check looks for values that are good by themselves and do not go together.
func check(c *Config, p *problems) {
	where := func(key string) position { return c.at[key] }
	if len(c.Services()) == 0 {
		p.add(position{1, 1}, "", "has no service: want at least one of the sections ca, tlog and tuf")
	}
	if c.Operations != nil {
		for _, s := range c.Services() {
			if l := c.listen(s); l != "" && l == c.Operations.Listen {
				p.add(where("operations.listen"), "operations.listen", "is the address of %s too: choose another port", s)
				break
			}
		}
	}
	if i := c.Issuer; i != nil && i.Listen != "" && !i.Listen.Loopback() && !i.BeyondLoopback && !p.about("issuer.beyond_loopback") {
		p.add(where("issuer"), "issuer", "signs in anybody, and %s can be reached from other machines: give it a listen on loopback, or remove the section; "+
			"\"sigbox config explain issuer.beyond_loopback\" says when neither is needed", i.Listen)
	}
	checkPeers(c, p, where)
	if c.TLog != nil {
		checkTLog(c, p, where)
		checkTimeouts(p, where, "tlog.database", c.TLog.Database)
		if c.TLog.Guard != nil {
			checkTimeouts(p, where, "tlog.guard.database", c.TLog.Guard.Database)
		}
	}
	if c.CA != nil {
		checkIssuerKeys(p, where, c.CA.IssuerKeys)
		checkPresets(p, where, c.CA.Presets)
		if c.trustsNobody() && !p.about("ca.issuers") && !p.about("ca.presets") {
			p.add(where("ca"), "ca.issuers", noIssuers)
		}
		checkTimeouts(p, where, "ca.database", c.CA.Database)
	}
	if c.TUF != nil {
		checkTimeouts(p, where, "tuf.database", c.TUF.Database)
	}
}

// URL returns the public URL of a service that the configuration has.
func (c *Config) URL(service string) Origin {
	switch service {
	case "issuer":
		return c.Issuer.PublicURL
	case "tlog":
		return c.TLog.PublicURL
	case "ca":
		return c.CA.PublicURL
	case "tuf":
		return c.TUF.PublicURL
	}
	panic("there is no service " + service)
}

// listen returns the address of a service, "" for one that is not there.
func (c *Config) listen(service string) Address {
	switch {
	case service == "tlog" && c.TLog != nil:
		return c.TLog.Listen
	case service == "ca" && c.CA != nil:
		return c.CA.Listen
	case service == "tuf" && c.TUF != nil:
		return c.TUF.Listen
	case service == "issuer" && c.Issuer != nil:
		return c.Issuer.Listen
	}
	return ""
}

func checkTLog(c *Config, p *problems, where func(string) position) {
	t := c.TLog
	if t.RekorV1 == nil && t.RekorV2 == nil && t.CT == nil {
		p.add(where("tlog"), "tlog", "has no log: want at least one of rekor_v1, rekor_v2 and ct")
	}
	if g := t.Guard; g != nil && !g.None && !p.about("tlog.guard") {
		switch {
		case g.File != "" && g.Database != nil:
			p.add(where("tlog.guard"), "tlog.guard", "has file and database: choose one; where several replicas write, database")
		case g.File == "" && g.Database == nil:
			p.add(where("tlog.guard"), "tlog.guard", "has neither file nor database: a database that loses acknowledged entries would go unnoticed; "+
				"name one, or write \"guard: none\" to do without")
		case g.Database != nil && t.Database != nil && g.Database.URL != "" && g.Database.URL == t.Database.URL:
			p.add(where("tlog.guard.database"), "tlog.guard.database", "is the database of the logs: what is lost there would be lost here too; name another server")
		}
	}
	for key, w := range t.writers() {
		checkWriters(t, p, where, key, w)
	}
	names, origins := map[string]string{}, map[string]string{}
	unique := func(seen map[string]string, value, key, what string) {
		if value == "" {
			return
		}
		if other, taken := seen[value]; taken {
			p.add(where(key), key, "%s %q is that of %s too: every log needs one of its own", what, value, other)
			return
		}
		seen[value] = key
	}
	for _, l := range t.Logs() {
		nameKey, originKey := l.Section+".name", l.Section
		if where(nameKey) == (position{}) {
			nameKey = l.Section
		}
		unique(names, string(l.Name), nameKey, "the name")
		if l.TreeID > 0 {
			originKey += ".tree_id"
		}
		unique(origins, l.Origin, originKey, "the origin")
	}
	checkNextCTs(t, p, where)
	for i, sh := range t.NextShards() {
		key := fmt.Sprintf("tlog.rekor_v2.shards[%d]", i)
		unique(names, string(sh.Name), key+".name", "the name")
		unique(origins, string(sh.Host), key+".host", "the host")
	}
}

// checkNextCTs wants names that are no paths of others.
func checkNextCTs(t *TLog, p *problems, where func(string) position) {
	if t.CT == nil || t.CT.Name == "" {
		return
	}
	for i, n := range t.CT.Next {
		key := fmt.Sprintf("tlog.ct.next[%d].name", i)
		if n.Name != "" && !strings.HasPrefix(string(n.Name), string(t.CT.Name)+"-") {
			p.add(where(key), key, "%q does not begin with %q: the log is served below its name, so that it has to be that of the first one and something behind it, such as %s-2", n.Name, t.CT.Name+"-", t.CT.Name)
		}
	}
}

// NextShards lists the shards of Rekor v2 that have host names of their own.
func (t *TLog) NextShards() []RekorV2Shard {
	if t.RekorV2 == nil {
		return nil
	}
	return t.RekorV2.Shards
}

// checkIssuerKeys wants each issuer once.
func checkIssuerKeys(p *problems, where func(string) position, list []IssuerKeys) {
	seen := map[IssuerURL]string{}
	for i, k := range list {
		key := fmt.Sprintf("ca.issuer_keys[%d].issuer", i)
		if other, twice := seen[k.Issuer]; twice && k.Issuer != "" {
			p.add(where(key), key, "%s is that of %s too: put all its keys into one file", k.Issuer, other)
		}
		seen[k.Issuer] = key
	}
}

// checkTimeouts refuses timeouts that would end what they are to wait for.
func checkTimeouts(p *problems, where func(string) position, key string, db *Database) {
	if db == nil || db.StatementTimeout == 0 || p.about(key) {
		return
	}
	if db.LockTimeout > db.StatementTimeout {
		at := key + ".lock_timeout"
		if where(at) == (position{}) {
			at = key + ".statement_timeout"
		}
		p.add(where(at), at, "lock_timeout (%s) is longer than statement_timeout (%s), which would end the wait for a lock first", db.LockTimeout, db.StatementTimeout)
	}
}

// Loopback tells whether an address can only be reached from this machine. A name other than
// localhost is not looked up: what it resolves to may change.
func (a Address) Loopback() bool {
	host, _, err := net.SplitHostPort(string(a))
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// Faces of a log: what is stored with it when it is created.
const (
	FaceRekorV1 = "rekor-v1"
	FaceRekorV2 = "rekor-v2"
	FaceCT      = "ct"
)

// LogSpec is what the configuration says of one log.
type LogSpec struct {
	Section string // the key of its section, such as tlog.rekor_v1.shards[0]
	Name    Name
	Face    string
	Origin  string // of its checkpoints; "" where the configuration is incomplete
	Host    Host
	TreeID  int64 // of a Rekor v1 shard
	Key     KeyFile
	Roots   File   // of a CT log
	Path    string // below tlog.public_url, of a CT log that came after another one
	Active  bool   // takes entries: not a shard before the last
}

// Logs lists the logs: the shards of Rekor v1 in their order, Rekor v2, CT. The forms of the origins
// tell clients what a log is: see docs/design/0001.
func (t *TLog) Logs() (list []LogSpec) {
	if t.RekorV1 != nil {
		for i, s := range t.RekorV1.Shards {
			l := LogSpec{
				Section: fmt.Sprintf("tlog.rekor_v1.shards[%d]", i), Name: s.Name, Face: FaceRekorV1, Host: s.Host, TreeID: s.TreeID,
				Key: s.Key, Active: i == len(t.RekorV1.Shards)-1,
			}
			if s.Host != "" && s.TreeID > 0 {
				l.Origin = fmt.Sprintf("%s - %d", s.Host, s.TreeID)
			}
			list = append(list, l)
		}
	}
	if v := t.RekorV2; v != nil {
		list = append(list, LogSpec{Section: "tlog.rekor_v2", Name: v.Name, Face: FaceRekorV2, Origin: string(v.Host), Host: v.Host, Key: v.Key, Active: true})
	}
	if v := t.CT; v != nil {
		l := LogSpec{Section: "tlog.ct", Name: v.Name, Face: FaceCT, Host: v.Host, Key: v.Key, Roots: v.Roots, Active: true}
		if v.Host != "" {
			l.Origin = string(v.Host) + "/ct"
		}
		list = append(list, l)
		for i, n := range v.Next {
			next := l
			next.Section, next.Name, next.Key, next.Path, next.Origin = fmt.Sprintf("tlog.ct.next[%d]", i), n.Name, n.Key, "/"+string(n.Name), ""
			if v.Host != "" && n.Name != "" {
				next.Origin = string(v.Host) + next.Path
			}
			list = append(list, next)
		}
	}
	return list
}
