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
	// Fulcio's own config.yaml: the issuers whose tokens are taken. A token of any other is refused.
	Issuers File `yaml:"issuers" required:"true"`
	// The timestamp authority, on the same port.
	TSA *TSA `yaml:"tsa"`
}

// TSA is the timestamp authority.
type TSA struct {
	// PEM file with the key of the first certificate in chain.
	Key KeyFile `yaml:"key" required:"true"`
	// PEM file with the stamping certificate first, then its issuers, the root last.
	Chain File `yaml:"chain" required:"true"`
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
}

// Issuer is the development issuer (OpenID Connect).
type Issuer struct {
	// The origin of the issuer, which is the iss of its tokens.
	PublicURL Origin `yaml:"public_url" derived:"the public_url of the file"`
	// The address and port to listen on: loopback only.
	Listen Address `yaml:"listen" derived:"the listen of the file"`
	// PEM file with the key that signs tokens: RSA, 2048 bits.
	Key KeyFile `yaml:"key" required:"true"`
}
