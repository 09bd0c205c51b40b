package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/cmd/sigbox/internal/stack"
)

// clientsLearn is how long until every client has the trust root of today: a TUF client need not look again
// before the timestamp that it has expires, which is a week; and what runs for long, such as a controller of
// a cluster, keeps what it has read for up to a day more.
const clientsLearn = (7 + 1) * 24 * time.Hour

// planKey says what a rotation would do from where it is, and changes nothing.
func (f *keyRotateFlags) planKey(cmd *cobra.Command, component, path string) error {
	dir, err := stack.ReadInstance(path)
	if err != nil {
		return err
	}
	state, err := stack.RotationState(dir, component)
	if err != nil {
		return err
	}
	return f.planFrom(cmd, component, state)
}

// planFrom says what follows from where the keys are.
func (f *keyRotateFlags) planFrom(cmd *cobra.Command, component string, state rotation.Kind) error {
	from, to, at := state.InUse, state.Last+1, rotation.Step("")
	if t := state.Rotation; t != nil {
		component, from, to, at = t.Component, t.From, t.To, t.Step
	}
	var b strings.Builder
	done := true
	for _, s := range planSteps(component, from, to, f.soak) {
		mark := "to do"
		if done = done && at != "" && reached(at, s.step); done {
			mark = "done"
		}
		fmt.Fprintf(&b, "%s: %s\n", mark, s.words)
	}
	_, err := cmd.OutOrStdout().Write([]byte(b.String()))
	return err
}

func reached(at, step rotation.Step) bool {
	order := map[rotation.Step]int{rotation.Made: 1, rotation.Published: 2, rotation.Switched: 3, rotation.Retired: 4}
	return order[at] >= order[step]
}

type planStep struct {
	step  rotation.Step
	words string
}

// planSteps are the steps in words: what changes, and which clients see what.
func planSteps(component string, from, to int, soak time.Duration) []planStep {
	old, next := fmt.Sprintf("%s %d", component, from), fmt.Sprintf("%s %d", component, to)
	if strings.HasPrefix(component, "tuf-") {
		return []planStep{
			{rotation.Made, fmt.Sprintf("make the key %s, which nobody knows", next)},
			{rotation.Switched, fmt.Sprintf("publish a root that names %s in place of %s, signed with the root keys of before too, and a set that is signed with it: every TUF client goes from root to root by itself, whatever it had before, and nothing has to soak", next, old)},
			{rotation.Retired, fmt.Sprintf("nothing: no client needs %s from then on", old)},
		}
	}
	made := map[string]string{
		"ca-intermediate": "make the key %s and a certificate for it below the root that is there",
		"ca-root":         "make a root and a key below it, %s",
		"tsa":             "make the key %s and a certificate for it below the root that is there",
		"ct":              "make the log %s, with a key and an address of its own",
	}[component]
	switched := map[string]string{
		"ct":  "log certificates in %s; %s is served on, and its SCTs verify",
		"tsa": "stamp with %s; the stamps of %s verify as before",
	}[component]
	if switched == "" {
		switched = "issue certificates with %s; those of %s verify as before"
	}
	wait := fmt.Sprintf("wait for %s, so that clients learn it before they meet it: ", soak)
	if soak == 0 {
		wait = "wait for nothing (--soak 0s): "
	}
	return []planStep{
		{rotation.Made, fmt.Sprintf(made, next) + "; no client sees it"},
		{rotation.Published, fmt.Sprintf("publish %s beside %s in the trust root: clients that fetch it from then on trust both; those that have not verify what there is as before, and would refuse what %s signs", next, old, next)},
		{rotation.Switched, wait + fmt.Sprintf("the last have it after %s, a week for the longest TUF timestamp, which a client may use without a look at the next, and a day for what clients keep in memory", clientsLearn)},
		{rotation.Switched, fmt.Sprintf(switched, next, old)},
		{rotation.Retired, fmt.Sprintf("give %s an end in the trust root, an hour later: what it signed until then verifies for ever, and nothing later", old)},
	}
}
