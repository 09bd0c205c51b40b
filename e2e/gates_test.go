package e2e

import "testing"

// TestGates: what decides, from a signature, whether something goes on. Every policy and every script is what
// `sigbox clients` writes; what a row changes in one of them stands in the row.
func TestGates(t *testing.T) { runTable(t, gates) }

const gatesLeaveRow = "nothing leaves: what gates admit, again where every name is refused and every address recorded"

// TestGatesLeaveNothing is TestNothingLeaves for the rows in which something is admitted.
func TestGatesLeaveNothing(t *testing.T) {
	if world.recorder != nil {
		t.Skip("this is the inside")
	}
	defer cell(t, "gates", gatesLeaveRow, 1)()
	inside(t, "table", "^TestGates$/^(gitsign:_commit|policy-controller:_(signature|SLSA)|Kyverno:_(ClusterPolicy|Image))")
}

// atGates begins the scripts of gates. The image and those that `image NAME` makes are in one repository.
//
//	files NAME DIR OPTIONS    sigbox clients NAME, for this instance and repository
//	image NAME                a new image; by digest
//	pod IMAGE                 pod.yaml with that image
//	apply POLICY...           Kyverno's verdict on pod.yaml; in its log, why an ImageValidatingPolicy refuses
//	admits N POLICY...        it says pass, N times, and nothing else
//	new FLAGS                 cosign 3 as it is, new bundles
//
// `cosign` in a script is the one whose environment file the script has sourced.
const atGates = `
export SIGSTORE_ID_TOKEN="$TOKEN" PATH="$(dirname "$GITSIGN"):$PATH"
files() { name=$1 dir=$2; shift 2; sigbox clients "$name" --url "$MIRROR" --image "${REPO:-}" --out "$dir" --identity dev@example.com "$@"; }
cosign() { if [ -n "${COSIGN_FULCIO_URL:-}" ]; then within "$COSIGN2" "$@"; else within "$COSIGN3" "$@"; fi </dev/null; }
tester() { within "$TESTER" --log-level error "$@"; }
kyverno() { within "$KYVERNO" "$@"; }
apply() { kyverno apply "$@" --resource pod.yaml --registry --remove-color -v 1; }
admits() { passes=$1; shift; says "pass: $passes, fail: 0, warn: 0, error: 0, skip: 0" apply "$@"; }
image() { tool push "$REPO:$1"; }
pod() { printf 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: app\nspec:\n  containers:\n  - name: app\n    image: %s\n' "$1" > pod.yaml; }
pasted() { ( pasted=$1; shift; . "$pasted" ); }
new() { ( . "$TRUST/env-cosign3.sh"; within "$COSIGN3" "$@" </dev/null ); }
unset COSIGN_PASSWORD
`

// gates is the table of gitsign, policy-controller's tester and Kyverno's command line.
var gates = concat(gitsignGates, testerGates, kyvernoGates)

func concat(tables ...[]scenario) (all []scenario) {
	for _, table := range tables {
		for _, s := range table {
			s.script = atGates + s.script
			if s.v2 != "" {
				s.v2 = atGates + s.v2
			}
			all = append(all, s)
		}
	}
	return all
}
