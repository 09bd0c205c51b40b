package instance

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// Build makes the binary as it is released, from the repository at root, which may be relative; binary is
// an absolute path. With tags it is another one.
func Build(ctx context.Context, root, binary string, tags ...string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", strings.Join(tags, ","), "-o", binary, "./cmd/sigbox")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build sigbox: %w\n%s", err, out)
	}
	return nil
}
