package config

// CA is the certificate authority (Fulcio API) and the timestamp authority (RFC 3161).
type CA struct {
	// The origin of the authority's API.
	PublicURL Origin `yaml:"public_url" derived:"the public_url of the file"`
	// The address and port to listen on.
	Listen Address `yaml:"listen" derived:"the listen of the file"`
	// The database of the issuance records.
	Database *Database `yaml:"database" required:"true"`
	// PEM file with the key of the first certificate in chain.
	Key KeyFile `yaml:"key" required:"true"`
	// PEM file with the issuing certificate first, then its issuers, the root last.
	Chain File `yaml:"chain" required:"true"`
	// Fulcio's own config.yaml: the issuers whose tokens are taken. A token of any other is refused. The
	// development issuer does not belong into it: where it runs in the same process it is taken anyway,
	// and else issuer_keys names it. Needed unless that is the only one, or presets lists others. What clients are told
	// to sign in at, through the trust root, follows at the next start.
	Issuers File `yaml:"issuers" live:"true"`
	// Issuers that sigbox knows by name, beside those of the file of issuers: GitHub, GitLab, Jenkins,
	// Kubernetes and others, each on a line of its own, such as "- {name: gitlab-self-managed, url:
	// https://gitlab.example.com}". "sigbox ca presets" lists them.
	Presets []Preset `yaml:"presets" live:"true"`
	// The keys of issuers that are read from files and never fetched: where the network ends before the
	// issuer, or is not to be asked whom to trust. An issuer that changes its keys is believed again
	// when its file is replaced.
	IssuerKeys []IssuerKeys `yaml:"issuer_keys" live:"true"`
	// YAML file with rules on who may sign: for each issuer, as it is written in the file of issuers, a
	// list of rules with name, allow (a CEL expression over claims, issuer, subject and san) and reason.
	// All rules of the token's issuer must allow; the first that does not decides, and its reason is what
	// the caller reads. An issuer without rules is not restricted. Try rules out with
	// "sigbox ca test-rules" and "sigbox ca explain-token".
	Rules File `yaml:"rules" live:"true"`
	// How long a certificate is valid, its first and its last second included: ten minutes are from
	// 12:00:00 to 12:09:59. It never outlives the issuing certificate. Whatever is signed must be in a log or
	// timestamped while it is valid; longer gives a stolen key longer to be used.
	Validity Duration `yaml:"validity" default:"10m" min:"1m" max:"24h"`
	// How the keys of issuers are fetched.
	Fetch *Fetch `yaml:"fetch" live:"true"`
	// The certificate transparency log that every certificate is in before it is handed out. Needed
	// where the file has no tlog.ct, or that runs in another process.
	CT *CTClient `yaml:"ct"`
	// The timestamp authority, on the same port.
	TSA *TSA `yaml:"tsa"`
	// How often certificates may be asked for.
	Quotas *Quotas `yaml:"quotas" live:"true"`
	// How this service is known to the others.
	Peers *Peers `yaml:"peers"`
	// A directory that the service's trust statements are written to at every start, for a tuf that
	// cannot ask for them. Nothing in it is secret.
	Statements Dir `yaml:"statements"`
}

// IssuerKeys are the keys of one issuer.
type IssuerKeys struct {
	// The issuer, as it is written in the file of issuers: what iss in its tokens says.
	Issuer IssuerURL `yaml:"issuer" required:"true"`
	// JSON file with its keys (a JWK set, RFC 7517), as its jwks_uri serves it.
	Keys File `yaml:"keys" required:"true"`
	// Whether it is the development issuer of a sigbox, which signs in anybody, people and workflows
	// alike. It is not in the file of issuers then, whose format has no word for an issuer of several
	// kinds of identities. Write true only where nothing that matters trusts this instance.
	Development bool `yaml:"development"`
}

// Fetch is how the documents of issuers are fetched. Always so: 1 MiB a document, ten seconds for an
// issuer, redirects to the same host only, and to addresses that are not public only for issuers whose
// host the configuration writes out. What the environment says of proxies is not looked at.
type Fetch struct {
	// HTTP proxy that issuers are asked through, such as http://proxy.example.com:3128. It resolves the
	// names: which addresses they may lead to is then its own to decide.
	Proxy Origin `yaml:"proxy"`
	// Hosts that are asked without the proxy, such as an issuer of your own.
	Direct []Host `yaml:"direct"`
	// PEM file with roots that count for every issuer beside the system's, as where a proxy looks into
	// connections. An issuer of your own has its roots beside itself: certificates of a preset, ca-cert in the
	// file of issuers.
	Certificates File `yaml:"certificates"`
	// Networks that are not public and where issuers may be that only a pattern of the file of issuers
	// matches, or that keep their keys there.
	Private []Network `yaml:"private"`
}

// TSA is the timestamp authority. It stamps nothing while its clock is not known to be right: more than a second
// off that of the database, set since they were compared, or not compared for an hour. The database's
// machine needs a clock of its own for that to say anything.
type TSA struct {
	// PEM file with the key of the first certificate in chain.
	Key KeyFile `yaml:"key" required:"true"`
	// PEM file with the stamping certificate first, then its issuers, the root last.
	Chain File `yaml:"chain" required:"true"`
	// How often timestamps may be asked for.
	Quotas *AddressQuotas `yaml:"quotas" live:"true"`
}

// TUF is the TUF repository.
type TUF struct {
	// The origin of the mirror, which is at /tuf below it.
	PublicURL Origin `yaml:"public_url" derived:"the public_url of the file"`
	// The address and port to listen on.
	Listen Address `yaml:"listen" derived:"the listen of the file"`
	// The database of the metadata.
	Database *Database `yaml:"database" required:"true"`
	// PEM file with the key of the role snapshot.
	Snapshot KeyFile `yaml:"snapshot_key" required:"true"`
	// PEM file with the key of the role timestamp.
	Timestamp KeyFile `yaml:"timestamp_key" required:"true"`
	// A directory that the published set is written to as plain files, which any web server can serve
	// as the mirror, this one gone or not. One process writes it at a time.
	Mirror Dir `yaml:"mirror"`
	// Where the trust statements of the other services come from: a list of addresses of their peers
	// listeners and of directories. What comes waits until the holders of the targets keys sign for
	// it. Services in the same process need not be named.
	Sources []Source `yaml:"sources"`
	// How this service is known to the others.
	Peers *Peers `yaml:"peers"`
}

// Issuer is the development issuer (OpenID Connect).
type Issuer struct {
	// The origin of the issuer, which is the iss of its tokens.
	PublicURL Origin `yaml:"public_url" derived:"the public_url of the file"`
	// The address and port to listen on: loopback only, unless beyond_loopback says otherwise.
	Listen Address `yaml:"listen" derived:"the listen of the file"`
	// PEM file with the key that signs tokens: RSA, 2048 bits.
	Key KeyFile `yaml:"key" required:"true"`
	// Whether to listen where other machines, or other containers, reach it. Whoever does is anybody
	// they say they are, to everything that trusts this instance: write true only where the network
	// ends at what you are trying out, and nothing else trusts it.
	BeyondLoopback bool `yaml:"beyond_loopback"`
}

// DevelopmentIssuers lists those of other processes that are trusted without a line in the file of issuers.
func (c *CA) DevelopmentIssuers() (urls []IssuerURL) {
	for _, k := range c.IssuerKeys {
		if k.Development {
			urls = append(urls, k.Issuer)
		}
	}
	return urls
}
