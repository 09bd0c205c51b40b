//go:build simulated

package clock

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// offsetVar names a file that holds how far the clock is ahead of the machine's, as time.ParseDuration reads it
// ("-9480h" is behind). Without the variable it is the machine's clock.
const offsetVar = "SIGBOX_CLOCK_OFFSET"

// Now returns the current time in UTC, moved by what the file says at this moment.
//
// Only tests build a program with this clock, to drive the commands that people type through months. It is no
// option of the released program: whoever could set its clock could have it sign with any time.
func (System) Now() time.Time {
	path := os.Getenv(offsetVar)
	if path == "" {
		return time.Now().UTC()
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		panic(fmt.Sprintf("simulated clock: %v", err))
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(raw)))
	if err != nil {
		panic(fmt.Sprintf("simulated clock: %s: %v", path, err))
	}
	return time.Now().Add(offset).UTC()
}
