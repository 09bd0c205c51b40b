package config

// Config is the file that sigbox serve, migrate and log read. A path in it that is not absolute
// begins at the directory of the file. Every key is checked: one that sigbox does not know is an
// error, not a comment.
//
// The sections ca, tlog, tuf and issuer are the services. One that is not there is not run; --only
// runs fewer of those that are.
//
// While serve runs, it looks at the file once a second, and at the files that live keys name; SIGHUP makes
// it look at once. Live keys are taken over, files too; of others it says that they count from the next
// start. Where something is wrong, all of what was loaded before goes on to count.
type Config struct {
	// The origin that clients know the services by: scheme, host and, if it is not the scheme's own,
	// port; no path and no slash at its end. It goes into what is published, and its host into the
	// names of new logs; it is never taken from a listener or a Host header. A service at a host name
	// of its own says so in its section. Wrong here, clients are sent to where nothing answers.
	PublicURL Origin `yaml:"public_url" required:"true"`
	// The address and port to listen on, for all services that name none of their own. Beyond
	// loopback clients need HTTPS: set tls, or put a proxy that speaks it in front.
	Listen Address `yaml:"listen" default:"127.0.0.1:8080"`
	// HTTPS on every listener but that of operations. Without it HTTP is served in the clear, with
	// HTTP/2 (h2c) for gRPC.
	TLS *TLS `yaml:"tls"`
	// Health and metrics at an address of their own. Without it /healthz, /readyz and /metrics are
	// where the services are, for everyone to read.
	Operations *Operations `yaml:"operations"`
	// How long to go on serving after SIGTERM while /readyz answers 503, so that a load balancer
	// notices and sends no more. Set it to a little more than the balancer's check interval times the
	// checks that must fail. Requests under way are finished in any case.
	ShutdownDelay Duration `yaml:"shutdown_delay" default:"0s" min:"0s" max:"5m"`
	// The proxies that stand in front: a list of IP addresses and networks, such as 10.0.0.0/8. What one
	// of them says in Forwarded or X-Forwarded-For is taken for the client's address, in log lines and
	// for quotas. Nothing else is decided by it.
	TrustedProxies []Network `yaml:"trusted_proxies" live:"true"`
	// What is written to standard error.
	Logging Logging `yaml:"logging"`
	// The random id of this instance, 32 hex digits, which "sigbox init" makes: equal in all services
	// and replicas, and in no other instance. What services say about their keys names it, so that it
	// means nothing elsewhere. Needed as soon as there is a tuf to tell.
	Instance InstanceID `yaml:"instance"`

	// The certificate authority and the timestamp authority.
	CA *CA `yaml:"ca"`
	// The transparency logs.
	TLog *TLog `yaml:"tlog"`
	// The TUF repository, through which clients learn what to trust.
	TUF *TUF `yaml:"tuf"`
	// The development issuer, which signs in anybody. Leave it out, unless nothing that matters
	// trusts this instance: it is refused where the listener is beyond loopback.
	Issuer *Issuer `yaml:"issuer"`

	file string
	at   map[string]position
}

// TLS is a certificate with its key.
type TLS struct {
	// PEM file with the server's certificate and the intermediates that lead to a root that clients
	// trust. Its names must include the host of every public_url.
	Certificate File `yaml:"certificate" live:"true" required:"true"`
	// PEM file with the key of the certificate.
	//
	// This holds for every private file that is named here: nobody but its owner may read it (mode
	// 0600 or 0400). Where it belongs to another user, as secrets that Kubernetes or Compose mount do,
	// its group may read it too (0440), since this process could not otherwise. One that everybody can
	// read, or that the group can write, is refused.
	Key KeyFile `yaml:"key" live:"true" required:"true"`
}

// Operations is the listener for probes and monitoring.
type Operations struct {
	// The address and port of /healthz, /readyz and /metrics, in plain HTTP. They are then not
	// served elsewhere. Anyone who reaches it can read how much is signed, so keep it inside.
	Listen Address `yaml:"listen" required:"true"`
}

// Logging is what is written to standard error.
type Logging struct {
	// The least severe lines that are written.
	Level string `yaml:"level" live:"true" default:"info" one:"debug|info|warn|error"`
	// One line for each request, at level info: id, method, route, status, bytes, time taken and the
	// address of the client; never a header, a query or a body. Requests of probes and monitoring are
	// at level debug, and so are all where this is false.
	Requests bool `yaml:"requests" live:"true" default:"true"`
	// json writes one JSON object a line, text writes key=value for people.
	Format string `yaml:"format" default:"json" one:"json|text"`
}

// Database is one PostgreSQL database, version 14 or newer. A setting in it that would lose
// acknowledged entries (fsync, full_page_writes or synchronous_commit off, a pooler in transaction
// mode) is refused when sigbox starts. In place of these keys the url alone may be written.
type Database struct {
	// The connection string as libpq reads it: postgres://USER@HOST:PORT/NAME?sslmode=verify-full, or
	// a reference to it, ${env:NAME}, ${file:PATH} or ${credential:NAME}. A password written here is
	// refused: use a reference, password, or passfile=PATH in the string. Where it says nothing,
	// libpq's environment variables count.
	//
	// Its user must be a member of the schema's writer role (sigbox_tlog_writer for the logs), which
	// can add and not change or delete; "sigbox migrate" makes it one.
	URL ConnString `yaml:"url" required:"true"`
	// Reference to the password of url: ${env:NAME}, ${file:PATH} or ${credential:NAME}.
	Password Secret `yaml:"password"`
	// The connection string that "sigbox migrate" uses, of a user that may make roles and schemas, or
	// a reference to it. Nothing else reads it, so that serve need not have it.
	MigrateURL ConnString `yaml:"migrate_url" derived:"url"`
	// Connections for writing, for each process. One batch of one log uses one at a time.
	Writers int64 `yaml:"writers" default:"4" min:"1" max:"100"`
	// Connections for reading, for each process. Together with writers, times the processes, they
	// must fit into the server's max_connections.
	Readers int64 `yaml:"readers" default:"8" min:"1" max:"1000"`
	// How long a batch waits for the row that another replica has locked, before it is tried again.
	// It is also how soon a replica that stalled with the lock is noticed.
	LockTimeout Duration `yaml:"lock_timeout" default:"5s" min:"10ms" max:"1m"`
	// How long one statement may take. A full disk or a lock held by a hand shows after this.
	StatementTimeout Duration `yaml:"statement_timeout" default:"10s" min:"100ms" max:"5m"`
	// How long a transaction may wait for its own process. The session of a process that stalled for
	// longer is ended, by the server or by another replica, so that others go on.
	IdleTimeout Duration `yaml:"idle_timeout" default:"5s" min:"100ms" max:"1m"`
	// How long to wait for the answer to COMMIT, which with a synchronous standby includes the
	// standby. Afterwards the outcome is unknown, and found out under the lock.
	CommitTimeout Duration `yaml:"commit_timeout" default:"30s" min:"1s" max:"10m"`
}

// Guard is a register outside of the database that remembers the last head of each log, and so
// notices a database that lost acknowledged entries: a restored backup, a fail-over to a standby that
// was behind. Such a log serves reads and refuses writes, and says ROLLBACK DETECTED.
//
// Write one of file and database, or the word none in place of the keys. With none, a database that
// goes back in time makes the log fork, and nobody notices before a client does.
type Guard struct {
	// A directory on another volume than the database's. It is made if it is not there, and is for
	// one process: a second one on it is refused. It sees what its own process saw; where several
	// replicas write, use database.
	File Dir `yaml:"file"`
	// A second PostgreSQL, which all replicas share: on another server than the logs, never restored
	// or failed over together with them. A small one is enough. Its user must be a member of
	// sigbox_guard_writer.
	Database *Database `yaml:"database"`

	// None is set by the word none.
	None bool `yaml:"-"`
}
