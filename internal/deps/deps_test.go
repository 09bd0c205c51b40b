package deps

import (
	_ "github.com/sigstore/fulcio/pkg/ca"
	_ "github.com/sigstore/fulcio/pkg/config"
	_ "github.com/sigstore/fulcio/pkg/identity/ciprovider"
	_ "github.com/sigstore/fulcio/pkg/identity/email"
	_ "github.com/sigstore/fulcio/pkg/identity/github"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
	_ "pgregory.net/rapid"
)
