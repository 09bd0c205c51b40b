package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const tourConfig = `public_url: http://127.0.0.1:5555
instance: 00112233445566778899aabbccddeeff
ca:
  database: host=/run
  key: ca.key
  chain: ca.pem
  issuers: issuers.yaml
tlog:
  public_url: http://127.0.0.1:3000
  database: host=/run
  guard: none
  rekor_v2: {key: rekor.key}
  ct: {key: ct.key, roots: ca.pem}
tuf:
  public_url: http://127.0.0.1:8081
  database: host=/run
  snapshot_key: snapshot.key
  timestamp_key: timestamp.key
`

const tourIssuer = `issuer: {public_url: "http://127.0.0.1:8080", key: issuer.key}
`

func TestTour(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sigbox.yaml")
	for _, test := range []struct {
		name, config string
		args         []string
		want, not    []string
		err          string
	}{
		{
			name: "development", config: tourConfig + tourIssuer,
			want: []string{
				"http://127.0.0.1:5555", "http://127.0.0.1:3000", "signs in ANYBODY",
				"  sigbox trust export --url http://127.0.0.1:8081 --out ./sigbox-trust\n", ". sigbox-trust/env-cosign2.sh", ". sigbox-trust/env-cosign3.sh",
				`"$(sigbox token --url http://127.0.0.1:8080 --email dev@example.com)"`, "--certificate-oidc-issuer http://127.0.0.1:8080 hello.txt",
			},
			not: []string{"tar"},
		},
		{
			name: "containers", config: tourConfig + tourIssuer, args: []string{"--exec", "docker compose exec -T"},
			want: []string{
				`docker compose exec -T tuf sigbox trust export --url http://127.0.0.1:8081 --out "$PWD/sigbox-trust" --tar | tar -x -C sigbox-trust`,
				`"$(docker compose exec -T issuer sigbox token --url http://127.0.0.1:8080 --email dev@example.com)"`,
			},
		},
		{
			name: "an issuer of one's own", config: tourConfig,
			want: []string{"sigbox trust export", "issuers that ", "issuers.yaml names"}, not: []string{"ANYBODY", "sigbox token"},
		},
		{
			name: "a development issuer elsewhere", config: strings.Replace(tourConfig, "  issuers: issuers.yaml\n", "  issuer_keys: [{issuer: \"http://127.0.0.1:9\", keys: jwks.json, development: true}]\n", 1),
			want: []string{"The development issuer http://127.0.0.1:9 signs in ANYBODY."}, not: []string{"issuers that"},
		},
		{name: "a part", config: tourConfig[:strings.Index(tourConfig, "tuf:\n")], err: "needs the sections ca, tlog and tuf"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(test.config), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, errs strings.Builder
			cmd := rootCommand()
			cmd.SetOut(&out)
			cmd.SetErr(&errs)
			cmd.SetArgs(append([]string{"tour", "--config", file}, test.args...))
			err := cmd.ExecuteContext(t.Context())
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("does not say %q:\n%s", want, out.String())
				}
			}
			for _, not := range test.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("says %q:\n%s", not, out.String())
				}
			}
			shellTakes(t, out.String())
		})
	}
}

// shellTakes: every command of the tour is one that sh can read; what is indented is a command.
func shellTakes(t *testing.T, tour string) {
	t.Helper()
	var script strings.Builder
	_, commands, _ := strings.Cut(tour, "What clients need")
	for line := range strings.Lines(commands) {
		if strings.HasPrefix(line, "  ") {
			script.WriteString(line)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-n")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("sh -n: %v: %s\n%s", err, out, script.String())
	}
}
