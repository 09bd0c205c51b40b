package config

// Peers is how one service of an instance is known to the others: gRPC with mutual TLS, at a listener
// that serves nothing else and nobody without a certificate of authorities. Services in one process
// call each other without it.
//
// The certificate says which service shows it: beside its host names it holds ca.sigbox.internal,
// tlog.sigbox.internal or tuf.sigbox.internal. Only a ca may append to the CT log here, only a tuf may
// read trust statements.
type Peers struct {
	// The address and port to listen on for other services. tlog needs it, and ca where a tuf asks it
	// for its statements; tuf serves nothing here and must leave it out.
	Listen Address `yaml:"listen"`
	// PEM file with the certificate, for both ends of a connection: the extended key usages server and
	// client, the host names that other services dial, and the name of the service, such as
	// ca.sigbox.internal.
	Certificate File `yaml:"certificate" live:"true" required:"true"`
	// PEM file with the key of the certificate, of no other role.
	Key KeyFile `yaml:"key" live:"true" required:"true"`
	// PEM file with the authorities whose certificates the services show each other. It is for these
	// alone: whoever gets a certificate from one of them with the name of a service is that service.
	Authorities File `yaml:"authorities" live:"true" required:"true"`
}

// CTClient is the certificate transparency log as the certificate authority sees it.
type CTClient struct {
	// The address and port of the log's peers listener, or a list of several for replicas. The host
	// must be in the certificate that is shown there. All addresses that a name resolves to are used
	// in turn, and one that is dead is left out. It is not used where the log is in the same process.
	Addresses PeerAddresses `yaml:"address"`
	// The name of the log, as in tlog.ct.name or tlog.ct.next.
	Log Name `yaml:"log" default:"ct"`
	// PEM file with the public key of the log, as clients have it in their trust root. No certificate
	// is issued on a promise that it does not verify.
	Key File `yaml:"key" required:"true"`
}
