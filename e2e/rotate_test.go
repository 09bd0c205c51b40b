package e2e

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/fleet"
	"github.com/sigbox/sigbox/internal/pgtest"
)

const rotateRow = "shards rotated under load, two replicas: no request fails; old and new bundles verify"

// clientLoad runs clients over and over. Whatever fails is an error of the test.
type clientLoad struct {
	t    *testing.T
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	runs map[string]int

	changed chan struct{} // holds one where a client has ended since round looked
}

func startClients(t *testing.T, f *fleet.Fleet, scripts map[string]string) *clientLoad {
	t.Helper()
	return startClientsOn(t, func() *rig { return visit(t, f) }, scripts)
}

// startClientsOn is startClients where each client has a rig that is made for it.
func startClientsOn(t *testing.T, visit func() *rig, scripts map[string]string) *clientLoad {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &clientLoad{t: t, stop: stop, runs: map[string]int{}, changed: make(chan struct{}, 1)}
	for name, script := range scripts {
		r := visit()
		env := append(r.env(t, logVars(r, 1)...), "TOKEN="+r.token(t, "dev@example.com"), "V2="+strings.TrimPrefix(logVars(r, 2)[0], "LOG="))
		l.mu.Lock() // the clients before this one run already
		l.runs[name] = 0
		l.mu.Unlock()
		l.done.Go(func() {
			defer l.signal()
			for i := 0; ctx.Err() == nil; i++ {
				if out, err := shell(script, append(env, fmt.Sprint("N=", i))); err != nil {
					t.Errorf("%s, time %d: %v\n%s", name, i+1, err, out)
					return
				}
				l.mu.Lock()
				l.runs[name]++
				l.mu.Unlock()
				l.signal()
			}
		})
	}
	return l
}

// round waits until every client has begun and ended once more.
func (l *clientLoad) round() {
	l.t.Helper()
	before := l.ended()
	for limit := time.After(3 * time.Minute); ; {
		now, done, late := l.ended(), true, false
		for name, n := range before {
			done = done && now[name] >= n+2
		}
		if done {
			return
		}
		select {
		case <-l.changed:
		case <-limit:
			late = true
		}
		if late || l.t.Failed() {
			l.t.Fatalf("not every client has ended twice more: %v, before %v", now, before)
		}
	}
}

// signal wakes round.
func (l *clientLoad) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// ended is how often each client has ended well.
func (l *clientLoad) ended() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.runs)
}

func (l *clientLoad) end() {
	l.stop()
	l.done.Wait()
	fmt.Printf("clients ended well, times: %v\n", l.runs)
}

// rotated are what runs while logs are rotated: the state and the bundles of each time are kept, and
// read the next time, over every switch.
var rotated = map[string]string{
	"rekor-cli": `
[ -f key.pem ] || { openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out pub.pem; }
echo "hello $N" > blob
openssl dgst -sha256 -sign key.pem -out blob.sig blob
sum=$(sha256sum blob | cut -d' ' -f1)
says 'Verification Successful' rekorcli loginfo
says 'Created entry' rekorcli upload --type hashedrekord --artifact-hash "$sum" --signature blob.sig --public-key pub.pem --pki-format x509
uuid=$(sed -n 's#.*/entries/##p' .out)
echo "$uuid $sum" >> all
says 'Current Root Hash' rekorcli verify --type hashedrekord --artifact-hash "$sum" --signature blob.sig --public-key pub.pem --pki-format x509
says "$uuid" rekorcli search --sha "$sum"
index=$(rekorcli get --uuid "$uuid" --format json | grep -o '"LogIndex":[0-9]*' | cut -d: -f2)
says "$uuid" rekorcli get --log-index "$index"
while read -r uuid sum; do says "$sum" rekorcli get --uuid "$uuid"; done < all
says 'Verification Successful' rekorcli loginfo
`,
	"cosign 3": `
echo "hello" > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" --bundle "v1-$N.bundle" blob
for b in v1-*.bundle; do cosign3 verify-blob --bundle "$b" ` + me + ` blob; done
`,
	"cosign 3, Rekor v2": `
echo "hello" > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $V2 --bundle "v2-$N.bundle" blob
for b in v2-*.bundle; do cosign3 verify-blob --bundle "$b" ` + me + ` blob; done
`,
	"cosign 2": `
echo "hello" > blob
cosign2 sign-blob --yes --identity-token "$TOKEN" --output-signature "$N.sig" --output-certificate "$N.pem" --bundle "$N.old" blob
n=0
while [ "$n" -le "$N" ]; do
	cosign2 verify-blob --bundle "$n.old" ` + me + ` blob
	cosign2 verify-blob --signature "$n.sig" --certificate "$n.pem" ` + me + ` blob
	n=$((n+1))
done
`,
}

// TestRotate rotates the logs of a fleet while clients use them. Nothing may fail, before, at and after
// each switch.
func TestRotate(t *testing.T) {
	defer cell(t, "cosign 2, 3, rekor-cli", rotateRow, 0)()
	f := startFleet(t, fleet.Replicated, pgtest.Start(t).URL("postgres"))
	config := f.Of("tlog")[0].Config()
	r := visit(t, f)
	l := startClients(t, f, rotated)
	defer l.end()
	l.round()
	for range 2 {
		fmt.Print(r.sigbox(t, "log", "rotate", "rekor-v1", "--yes", "--config", config))
		l.round()
	}
	rotateV2(t, f, r, l)
	rotateV2Host(t, f, r, l)
	out := r.sigbox(t, "log", "fsck", "--config", config)
	if strings.Count(out, ": ok: ") != 7 {
		t.Errorf("fsck:\n%s", out)
	}
}

// rotateV2 rotates the Rekor v2 log: the key of the new shard is published by a ceremony, clients learn it,
// and then the log switches.
func rotateV2(t *testing.T, f *fleet.Fleet, r *rig, l *clientLoad) {
	t.Helper()
	config := f.Of("tlog")[0].Config()
	env := append(r.env(t, logVars(r, 2)...), "TOKEN="+r.token(t, "dev@example.com"), "CONFIG="+config, "TUFCONFIG="+f.Of("tuf")[0].Config(),
		"KEYS="+filepath.Join(filepath.Dir(config), "offline"))
	r.script(t, `
echo hello > blob
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle before.bundle blob
cp "$TRUST/trusted_root.json" before.json
sigbox log rotate rekor-v2 --yes --config "$CONFIG"
refuses 'not published' sigbox log rotate rekor-v2 --resume --yes --config "$CONFIG"
`, env)
	// Statements of the new shard, and of where the old one is read, come to tuf by themselves.
	await(t, env, `says '/shards/' sigbox tuf status --config "$TUFCONFIG"`)
	r.script(t, `
sigbox tuf request --config "$TUFCONFIG" --out shard.json
id=$(sigbox tuf status shard.json | sed -n 's/^request *\([0-9a-f]*\).*/\1/p')
sigbox tuf sign shard.json --key "$KEYS/tuf-targets.key" --approve "$id"
sigbox tuf publish shard.json --config "$TUFCONFIG"
refuses 'clients have until' sigbox log rotate rekor-v2 --resume --yes --config "$CONFIG"
`, env)
	await(t, env, `sigbox trust export --url "$MIRROR" --out learnt; says '/shards/' cat learnt/trusted_root.json`)
	l.round() // every client has looked since
	r.script(t, `
sigbox log rotate rekor-v2 --resume --yes --soak 0s --config "$CONFIG"
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle after.bundle blob
sigbox trust export --url "$MIRROR" --out after
for b in before after; do cosign3 verify-blob --trusted-root after/trusted_root.json --bundle $b.bundle `+me+` blob; done
cosign3 verify-blob --trusted-root before.json --bundle before.bundle `+me+` blob
refuses 'verify' cosign3 verify-blob --trusted-root before.json --bundle after.bundle `+me+` blob
old=$(grep -o '"baseUrl": "[^"]*/shards/[0-9a-f]*"' after/trusted_root.json | cut -d'"' -f4)
says 'Log frozen' curl -sSf "$old/api/v2/checkpoint"
curl -sSf -o tile "$old/api/v2/tile/0/000.p/2"
test "$(wc -c < tile)" = 64
sigbox log export rekor-v2 --config "$CONFIG" --out exported
curl -sSf "$old/api/v2/checkpoint" | cmp - exported/checkpoint
says 'Log frozen' cat exported/checkpoint
`, env)
	l.round()
}

// rotateV2Host rotates the Rekor v2 log once more, to a shard with a host of its own, which cosign learns from
// the signing configuration. The one before it stays where it is.
func rotateV2Host(t *testing.T, f *fleet.Fleet, r *rig, l *clientLoad) {
	t.Helper()
	config := f.Of("tlog")[0].Config()
	env := append(r.env(t, logVars(r, 2)...), "TOKEN="+r.token(t, "dev@example.com"), "CONFIG="+config, "TUFCONFIG="+f.Of("tuf")[0].Config(),
		"KEYS="+filepath.Join(filepath.Dir(config), "offline"), "HOST="+fleet.OtherHost, "OWN="+strings.Replace(f.URLs["tlog"], "127.0.0.1", fleet.OtherHost, 1))
	r.script(t, `
says 'witnesses can follow: rekor-v2-2 is read at 127.0.0.1 for ever' sigbox log rotate rekor-v2 --host "$HOST" --yes --config "$CONFIG"
`, env)
	await(t, env, `says "$OWN" sigbox tuf status --config "$TUFCONFIG"`)
	r.script(t, `
sigbox tuf request --config "$TUFCONFIG" --out host.json
id=$(sigbox tuf status host.json | sed -n 's/^request *\([0-9a-f]*\).*/\1/p')
sigbox tuf sign host.json --key "$KEYS/tuf-targets.key" --approve "$id"
sigbox tuf publish host.json --config "$TUFCONFIG"
`, env)
	await(t, env, `rm -rf own; sigbox trust export --url "$MIRROR" --out own; says "$OWN" cat own/signing_config_rekor_v2.v0.2.json`)
	l.round()
	r.script(t, `
own() { cosign3 sign-blob --yes --identity-token "$TOKEN" --signing-config own/signing_config_rekor_v2.v0.2.json --trusted-root own/trusted_root.json --bundle "$1" blob; }
rm -rf own; sigbox trust export --url "$MIRROR" --out own
own waiting.bundle
sigbox log rotate rekor-v2 --resume --yes --soak 0s --config "$CONFIG"
own own.bundle
cosign3 sign-blob --yes --identity-token "$TOKEN" $LOG --bundle old-address.bundle blob
for b in before after waiting own old-address; do cosign3 verify-blob --trusted-root own/trusted_root.json --bundle $b.bundle `+me+` blob; done
for b in own old-address; do says "$(printf '%s\\n' "$HOST")" cat $b.bundle; done
says "\"baseUrl\": \"$OWN\"" cat own/trusted_root.json
says 'Log frozen' curl -sSf "$REKOR/api/v2/checkpoint"
test "$(curl -sSf "$REKOR/api/v2/checkpoint" | head -1)" = 127.0.0.1
test "$(curl -sSf "$OWN/api/v2/checkpoint" | head -1)" = "$HOST"
`, env)
	l.round()
}

// await runs a script again and again until it ends well.
func await(t *testing.T, env []string, script string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		out, err := shell(script, env)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within two minutes: %v\n%s", err, out)
		}
	}
}
