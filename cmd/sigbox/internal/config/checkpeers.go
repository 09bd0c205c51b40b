package config

import "fmt"

// Peers returns how a service is known to the others, nil where that is not said.
func (c *Config) Peers(service string) *Peers {
	switch {
	case service == "ca" && c.CA != nil:
		return c.CA.Peers
	case service == "tlog" && c.TLog != nil:
		return c.TLog.Peers
	case service == "tuf" && c.TUF != nil:
		return c.TUF.Peers
	}
	return nil
}

// checkPeers looks at what ties the services together.
func checkPeers(c *Config, p *problems, where func(string) position) {
	for _, s := range c.Services() {
		peers, key := c.Peers(s), s+".peers"
		if peers == nil || p.about(key) {
			continue
		}
		at := where(key)
		if peers.Listen != "" {
			at = where(key + ".listen")
		}
		switch {
		case s == "tuf" && peers.Listen != "":
			p.add(at, key+".listen", "tuf serves nothing to other services, it asks them: remove the line")
		case s == "tlog" && peers.Listen == "":
			p.add(at, key, "has no listen, so that no other service can reach the logs: add one, or remove the section")
		case peers.Listen != "" && peers.Listen == c.listen(s):
			p.add(at, key+".listen", "is the address of %s too: choose another port", s)
		case peers.Listen != "" && c.Operations != nil && peers.Listen == c.Operations.Listen:
			p.add(at, key+".listen", "is the address of operations too: choose another port")
		}
	}
	checkCTClient(c, p, where)
	checkSources(c, p, where)
	if c.Instance == "" && !p.about("instance") {
		for _, key := range c.speaks() {
			p.add(position{1, 1}, "instance", "is missing: %s needs it, since what services say about their keys names the instance; "+
				"take 32 random hex digits once for all of them, as \"sigbox init\" does", key)
			break
		}
	}
}

// speaks lists the keys of what makes or takes trust statements.
func (c *Config) speaks() (keys []string) {
	if c.TUF != nil {
		keys = append(keys, "tuf")
	}
	for _, s := range []string{"ca", "tlog"} {
		if p := c.Peers(s); p != nil && p.Listen != "" {
			keys = append(keys, s+".peers.listen")
		}
	}
	if c.CA != nil && c.CA.Statements != "" {
		keys = append(keys, "ca.statements")
	}
	if c.TLog != nil && c.TLog.Statements != "" {
		keys = append(keys, "tlog.statements")
	}
	return keys
}

func checkCTClient(c *Config, p *problems, where func(string) position) {
	if c.CA == nil || p.about("ca.ct") {
		return
	}
	ct := c.CA.CT
	if err := c.ctReachable(); err != nil && !p.about("tlog.ct") {
		at := where("ca")
		if ct != nil {
			at = where("ca.ct")
		}
		p.add(at, "ca.ct", "%v", err)
	}
	if ct != nil && ct.Addresses != nil && c.CA.Peers == nil && !p.about("ca.peers") {
		p.add(where("ca.ct.address"), "ca.ct.address", "needs ca.peers, the certificate that the log knows the authority by")
	}
	here := c.LocalCT()
	if here == nil || ct == nil || here.Name == "" {
		return
	}
	if _, is := c.TLog.CTNamed(ct.Log); !is {
		key := "ca.ct.log"
		if where(key) == (position{}) {
			key = "ca.ct"
		}
		p.add(where(key), key, "names the log %q, and tlog.ct.name is %q%s", ct.Log, here.Name, namesOf(here.Next))
	}
}

// namesOf adds the names of the CT logs that came later to that of the first one.
func namesOf(next []NextCT) (text string) {
	for _, n := range next {
		text += fmt.Sprintf(", and there is %q", n.Name)
	}
	return text
}

// LocalCT returns the CT log of this file, nil for none.
func (c *Config) LocalCT() *CT {
	if c.TLog == nil {
		return nil
	}
	return c.TLog.CT
}

// ctReachable says why the certificate authority has no CT log.
func (c *Config) ctReachable() error {
	switch {
	case c.CA == nil || c.LocalCT() != nil:
		return nil
	case c.CA.CT == nil:
		return fmt.Errorf("is missing: no certificate is issued without a CT log, and tlog.ct does not run in this process")
	case c.CA.CT.Addresses == nil:
		return fmt.Errorf("has no address, and tlog.ct does not run in this process: add the address of the log's peers listener")
	}
	return nil
}

func checkSources(c *Config, p *problems, where func(string) position) {
	if c.TUF == nil {
		return
	}
	seen := map[Source]bool{}
	for i, s := range c.TUF.Sources {
		key := fmt.Sprintf("tuf.sources[%d]", i)
		switch {
		case p.about(key):
			continue
		case seen[s]:
			p.add(where(key), key, "%s is in the list twice", s)
		case !s.Dir() && c.TUF.Peers == nil && !p.about("tuf.peers"):
			p.add(where(key), key, "%s needs tuf.peers, the certificate that other services know tuf by", s)
		}
		seen[s] = true
	}
}
