package setup

import "context"

// makeTrust makes the trust statements, and the first set of the TUF repository from them.
func (b *builder) makeTrust(context.Context) error { return nil }
