package e2e

import (
	"context"
	"fmt"
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
}

func startClients(t *testing.T, f *fleet.Fleet, scripts map[string]string) *clientLoad {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &clientLoad{t: t, stop: stop, runs: map[string]int{}}
	for name, script := range scripts {
		r := visit(t, f)
		env := append(r.env(t, logVars(r, 1)...), "TOKEN="+r.token(t, "dev@example.com"), "V2="+strings.TrimPrefix(logVars(r, 2)[0], "LOG="))
		l.runs[name] = 0
		l.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if out, err := shell(script, append(env, fmt.Sprint("N=", i))); err != nil {
					t.Errorf("%s, time %d: %v\n%s", name, i+1, err, out)
					return
				}
				l.mu.Lock()
				l.runs[name]++
				l.mu.Unlock()
			}
		})
	}
	return l
}

// round waits until every client has begun and ended once more.
func (l *clientLoad) round() {
	l.t.Helper()
	want := map[string]int{}
	l.mu.Lock()
	for name, n := range l.runs {
		want[name] = n + 2
	}
	l.mu.Unlock()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		l.mu.Lock()
		done := true
		for name, n := range want {
			done = done && l.runs[name] >= n
		}
		l.mu.Unlock()
		if done {
			return
		}
		if l.t.Failed() || time.Now().After(deadline) {
			l.t.Fatalf("not every client has ended twice: %v, want %v", l.runs, want)
		}
	}
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
	l.round()
	for range 2 {
		fmt.Print(r.sigbox(t, "log", "rotate", "rekor-v1", "--yes", "--config", config))
		l.round()
	}
	l.end()
	out := r.sigbox(t, "log", "fsck", "--config", config)
	if strings.Count(out, ": ok: ") != 5 {
		t.Errorf("fsck:\n%s", out)
	}
}
