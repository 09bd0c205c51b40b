package stack

import (
	"crypto"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/keys"
	"github.com/sigbox/sigbox/tlog"
)

// TestChooseShard: what the configuration and the command say of the next shard, and who wins.
func TestChooseShard(t *testing.T) {
	state := func(name, face, origin string) LogState {
		return LogState{Description: tlog.Description{Name: name, Face: face, Origin: origin}}
	}
	one := map[string]LogState{
		"rekor-v1": state("rekor-v1", config.FaceRekorV1, "sigstore.example.com - 7"), "rekor-v2": state("rekor-v2", config.FaceRekorV2, "sigstore.example.com"),
	}
	two := map[string]LogState{"rekor-v2": one["rekor-v2"], "early": state("early", config.FaceRekorV2, "sigstore.example.com#0123456789abcdef")}
	planned := []config.RekorV2Shard{{Name: "early", Host: "log1.example.com"}, {Name: "late", Host: "log2.example.com"}}
	for name, tc := range map[string]struct {
		from    string
		planned []config.RekorV2Shard
		there   map[string]LogState
		want    NewShard
		got     NewShard
		err     string
	}{
		"nothing said":                 {"rekor-v2", nil, one, NewShard{}, NewShard{Name: "rekor-v2-2"}, ""},
		"Rekor v1":                     {"rekor-v1", planned, one, NewShard{}, NewShard{Name: "rekor-v1-2"}, ""},
		"Rekor v1 with a host":         {"rekor-v1", planned, one, NewShard{Host: "log1.example.com"}, NewShard{}, "tell shards by their tree ids"},
		"by the command":               {"rekor-v2", nil, one, NewShard{"x", "log1.example.com"}, NewShard{"x", "log1.example.com"}, ""},
		"the first of the list":        {"rekor-v2", planned, one, NewShard{}, NewShard{"early", "log1.example.com"}, ""},
		"the next of the list":         {"rekor-v2", planned, two, NewShard{}, NewShard{"late", "log2.example.com"}, ""},
		"one of the list":              {"rekor-v2", planned, one, NewShard{Name: "late"}, NewShard{"late", "log2.example.com"}, ""},
		"one that is not listed":       {"rekor-v2", planned, one, NewShard{Name: "x"}, NewShard{Name: "x"}, ""},
		"the list says the same":       {"rekor-v2", planned, one, NewShard{"late", "log2.example.com"}, NewShard{"late", "log2.example.com"}, ""},
		"the list says otherwise":      {"rekor-v2", planned, one, NewShard{Host: "log3.example.com"}, NewShard{}, "gives early the host log1.example.com, and not log3"},
		"a URL":                        {"rekor-v2", nil, one, NewShard{Host: "https://log1.example.com"}, NewShard{}, "want the host name alone"},
		"the host of the shard before": {"rekor-v2", nil, one, NewShard{Host: "sigstore.example.com"}, NewShard{}, "is the host of rekor-v2"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &Logs{planned: tc.planned, where: "sigbox.yaml"}
			got, err := l.choose(tc.want, tc.there[tc.from], tc.there)
			if tc.err == "" && (err != nil || got != tc.got) || tc.err != "" && !strings.Contains(fmt.Sprint(err), tc.err) {
				t.Errorf("%+v, %v; want %+v %s", got, err, tc.got, tc.err)
			}
		})
	}
}

// TestShardHosts: a shard with a host of its own leaves the one before it where it is, and one without
// moves it.
func TestShardHosts(t *testing.T) {
	one, two := shardOf(t, "one"), shardOf(t, "two")
	id := idOfLog(two)
	for name, tc := range map[string]struct{ host, origin, register, before, after string }{
		"shared": {"", "localhost", fmt.Sprintf("localhost#%x", id[:8]), fmt.Sprintf("/shards/%x", idOfLog(one)), "http://localhost:8080"},
		"own":    {"log2.localhost", "log2.localhost", "log2.localhost", "", "http://log2.localhost:8080"},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := one.shard("two", tc.host, two.Signer)
			if err != nil || made.Origin != tc.origin || made.Config.Registered() != tc.register || made.Config.Signer.Verifier().Origin() != tc.origin {
				t.Fatalf("made %q, registered %q, %v", made.Origin, made.Config.Registered(), err)
			}
			// As another process finds it.
			d := tlog.Description{Name: "two", Face: one.Face, Origin: made.Config.Registered(), KeySHA256: idOfLog(made), Follows: "one"}
			found, err := one.next(d, func(ServedLog, string) (crypto.Signer, error) { return two.Signer, nil })
			if err != nil || found.Config.Registered() != tc.register || idOfLog(found) != idOfLog(made) {
				t.Fatalf("found %q, %v", found.Config.Registered(), err)
			}
			before := one
			before.Displaced = before.displacedBy(d)
			if url := before.url("http://localhost:8080"); url != "http://localhost:8080"+tc.before {
				t.Errorf("the one before is at %s", url)
			}
			if url := found.url("http://localhost:8080"); url != tc.after {
				t.Errorf("the new one is at %s", url)
			}
		})
	}
}

func idOfLog(l ServedLog) [32]byte { return l.Config.Signer.Verifier().KeyID() }

func TestAtHost(t *testing.T) {
	for _, tc := range []struct{ origin, host, want string }{
		{"https://sigstore.example.com", "log.example.com", "https://log.example.com"},
		{"https://sigstore.example.com:8443", "log.example.com", "https://log.example.com:8443"},
		{"http://127.0.0.1:80", "::1", "http://[::1]:80"},
		{"http://127.0.0.1", "::1", "http://[::1]"},
		{"http://[::1]:8080", "::1", "http://[::1]:8080"},
		{"https://sigstore.example.com", "", "https://sigstore.example.com"},
	} {
		if got := atHost(tc.origin, tc.host); got != tc.want {
			t.Errorf("%s at %q: %s, want %s", tc.origin, tc.host, got, tc.want)
		}
	}
}

// TestRotationPublished: what a trust root must say before a log switches.
func TestRotationPublished(t *testing.T) {
	from, to := [32]byte{1}, [32]byte{2}
	shared := &Rotation{
		From: LogState{Description: tlog.Description{Name: "one", Face: config.FaceRekorV2, Origin: "a.example.com", KeySHA256: from}},
		To:   tlog.Description{Name: "two", Face: config.FaceRekorV2, Origin: "a.example.com#02", KeySHA256: to},
	}
	own := &Rotation{From: shared.From, To: shared.To}
	own.To.Origin = "b.example.com"
	path := fmt.Sprintf("/shards/%x", from)
	for name, tc := range map[string]struct {
		r              *Rotation
		from, to, want string
	}{
		"shared":                     {shared, "https://a.example.com:1" + path, "https://a.example.com:1", ""},
		"shared, not moved":          {shared, "https://a.example.com:1", "https://a.example.com:1", "has one at https://a.example.com:1, and it will be at https://a.example.com:1/shards/01"},
		"own":                        {own, "https://a.example.com:1", "https://b.example.com:1", ""},
		"own, at the old host":       {own, "https://a.example.com:1", "https://a.example.com:1", "has two at https://a.example.com:1, and it will be at https://b.example.com:1"},
		"own, the old one elsewhere": {own, "https://c.example.com:1", "https://b.example.com:1", "has one at https://c.example.com:1, and it will be at https://a.example.com:1"},
		"no new key":                 {own, "https://a.example.com:1", "", "does not have the key of two yet"},
		"no old key":                 {own, "", "https://b.example.com:1", "does not have the key of one"},
	} {
		if err := tc.r.published(tc.from, tc.to); tc.want == "" && err != nil || !strings.Contains(fmt.Sprint(err), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestKeyOfNobodyElse: a new shard never takes the key of a role, whatever it is called.
func TestKeyOfNobodyElse(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name+".pem") }
	mine := newKey(t, keys.NewECDSA)
	for name, key := range map[string]crypto.Signer{
		"log": newKey(t, keys.NewECDSA), "stamps": mine, "copy": mine, "stopped": newKey(t, keys.NewECDSA), "rsa": newKey(t, keys.NewRSA),
	} {
		if err := keys.Save(file(name), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file("broken"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := fmt.Sprintf("public_url: https://a.example.com\ntlog:\n  database: \"host=db\"\n  guard: none\n  rekor_v2: {key: %s}\n  ct: {key: nowhere.pem, roots: r.pem}\n"+
		"ca: {database: \"host=db\", key: nowhere.pem, chain: c.pem, issuers: i.yaml, tsa: {key: %s, chain: t.pem}}\n", file("log"), file("stamps"))
	c, err := config.Parse(filepath.Join(dir, "sigbox.yaml"), []byte(cfg))
	if err != nil {
		t.Fatal(err)
	}
	l := &Logs{roleKeys: c.KeyFiles(), keyPath: siblingPath}
	after := ServedLog{LogSpec: c.TLog.Logs()[0]}
	for name, want := range map[string]string{
		"stamps":  "is the key of ca.tsa.key, and",
		"copy":    "is the key of ca.tsa.key, and",
		"log":     "is the key of tlog.rekor_v2.key, and",
		"tsa":     "is the key of the role tsa", // that another configuration may name
		"ca":      "is the key of the role ca",
		"rsa":     "is not an ECDSA P-256 key",
		"broken":  "it is no key for the new shard",
		"stopped": "",
		"fresh":   "",
	} {
		path, err := l.freeKeyPath(after, name)
		if want == "" && (err != nil || path != file(name)) || want != "" && !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%s: %s, %v, want %q", name, path, err, want)
		}
	}
}
