package main

import (
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s\n%s", url, res.Status, body)
	}
	return string(body)
}

// TestUpFindsItAllAgain is the life of an instance: made, stopped, started again on another port.
func TestUpFindsItAllAgain(t *testing.T) {
	data := newData(t)
	first := start(t, "--data", data, "--listen", freeAddr(t))
	lines := strings.Split(strings.TrimSpace(first.summary), "\n")
	if last := lines[len(lines)-1]; last != "ready "+first.url {
		t.Errorf("last line of stdout is %q", last)
	}
	for _, want := range []string{"development", data, "env-cosign3.sh", "env-cosign2.sh", "--root-checksum", "Made a new instance"} {
		if !strings.Contains(first.summary, want) {
			t.Errorf("the summary does not say %q:\n%s", want, first.summary)
		}
	}
	stable := []string{"/api/v1/log/publicKey", "/api/v1/rootCert", "/api/v1/timestamp/certchain", "/keys", "/tuf/1.root.json", "/api/v1/log", "/ct/v1/get-sth"}
	before := map[string]string{}
	for _, path := range stable {
		before[path] = get(t, first.url+path)
	}
	if !strings.Contains(get(t, first.url+"/trust/signing_config.v0.2.json"), first.url) {
		t.Error("the signing configuration does not name the instance's URL")
	}
	if code := first.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d after SIGTERM:\n%s", code, first.stderr)
	}

	second := start(t, "--data", data, "--listen", freeAddr(t))
	for _, path := range stable {
		if got := get(t, second.url+path); got != before[path] {
			t.Errorf("%s changed across a restart:\n%s\n%s", path, before[path], got)
		}
	}
	config := get(t, second.url+"/trust/signing_config.v0.2.json")
	if !strings.Contains(config, second.url) || strings.Contains(config, first.url+"\"") {
		t.Errorf("the URLs were not published again for the new port:\n%s", config)
	}
	if strings.Contains(second.summary, "Made a new instance") {
		t.Error("the second run says that it made the instance")
	}
	if code := second.stop(t, os.Interrupt); code != 0 {
		t.Errorf("exit code %d after Ctrl-C:\n%s", code, second.stderr)
	}
}

func TestUpFilesAreTheOwnersOnly(t *testing.T) {
	data := newData(t)
	r := start(t, "--data", data, "--listen", freeAddr(t))
	r.stop(t, syscall.SIGTERM)
	seen := 0
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(data, path)
		if private := strings.HasPrefix(rel, "keys") || strings.HasPrefix(rel, "sigbox.db"); private {
			seen++
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %04o", rel, info.Mode().Perm())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 13 {
		t.Errorf("saw %d private files, want 12 keys and the database", seen)
	}
}

// TestUpRefuses: one clear line, an exit code that is not 0, and nothing left behind.
func TestUpRefuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := newData(t)
	running := start(t, "--data", taken, "--listen", freeAddr(t))
	spoiled := func(t *testing.T, file, content string) string {
		data := newData(t)
		r := start(t, "--data", data, "--listen", freeAddr(t))
		r.stop(t, syscall.SIGTERM)
		if err := os.WriteFile(filepath.Join(data, file), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, tc := range []struct {
		name, listen, want string
		data               func(t *testing.T) string
		args               []string
	}{
		{name: "port in use", listen: busy.Addr().String(), want: "is in use"},
		{name: "beyond loopback", listen: "0.0.0.0:0", want: "development issuer"},
		{name: "beyond loopback, every IPv6", listen: "[::]:0", want: "development issuer"},
		{name: "beyond loopback, no host", listen: ":8080", want: "development issuer"},
		{name: "beyond loopback, a name", listen: "sigstore.example.com:8080", want: "development issuer"},
		{name: "no port", listen: "127.0.0.1", want: "HOST:PORT"},
		{name: "registry beyond loopback", args: []string{"--registry", "0.0.0.0:5000"}, want: "registry: "},
		{name: "second process", data: func(*testing.T) string { return taken }, want: "another sigbox is running"},
		{name: "parent is a file", data: func(t *testing.T) string {
			file := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(file, "data")
		}, want: "data directory"},
		{name: "somebody else's directory", data: func(t *testing.T) string {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return dir
		}, want: "not a sigbox data directory"},
		{name: "newer version", data: func(t *testing.T) string {
			return spoiled(t, "instance.json", `{"format":99,"host":"127.0.0.1","tree_id":1}`)
		}, want: "made by a newer sigbox"},
		{name: "corrupt database", data: func(t *testing.T) string {
			return spoiled(t, "sigbox.db", strings.Repeat("not a database ", 1000))
		}, want: "sigbox.db"},
		{name: "database torn in the middle", data: func(t *testing.T) string {
			data := spoiled(t, "trust/x", "")
			f, err := os.OpenFile(filepath.Join(data, "sigbox.db"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte(strings.Repeat("torn", 6000)), 8192); err != nil {
				t.Fatal(err)
			}
			return data
		}, want: "sigbox.db"},
		{name: "database gone", data: func(t *testing.T) string {
			data := spoiled(t, "trust/x", "")
			if err := os.Remove(filepath.Join(data, "sigbox.db")); err != nil {
				t.Fatal(err)
			}
			return data
		}, want: "restore it from a backup"},
		{name: "other host name", listen: "localhost:0", data: func(t *testing.T) string { return spoiled(t, "trust/x", "") }, want: "cannot change"},
		{name: "issuers file missing", args: []string{"--issuers", "/nonexistent.yaml"}, want: "issuers: "},
		{name: "key readable by others", data: func(t *testing.T) string {
			data := spoiled(t, "trust/x", "")
			if err := os.Chmod(filepath.Join(data, "keys", "ct.pem"), 0o644); err != nil {
				t.Fatal(err)
			}
			return data
		}, want: "chmod 600"},
		{name: "key of another instance", data: func(t *testing.T) string {
			data := spoiled(t, "trust/x", "")
			raw, err := os.ReadFile(filepath.Join(taken, "keys", "rekor-v1.pem"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(data, "keys", "rekor-v1.pem"), raw, 0o600); err != nil {
				t.Fatal(err)
			}
			return data
		}, want: "a log keeps its key for life"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parent := t.TempDir()
			data := filepath.Join(parent, "data")
			if tc.data != nil {
				data = tc.data(t)
			}
			if tc.listen == "" {
				tc.listen = freeAddr(t)
			}
			stdout, stderr, code := run(t, append([]string{"up", "--data", data, "--listen", tc.listen}, tc.args...)...)
			if code == 0 || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			last := strings.Split(strings.TrimSpace(stderr), "\n")
			if line := last[len(last)-1]; !strings.HasPrefix(line, "sigbox: ") || !strings.Contains(line, tc.want) {
				t.Errorf("stderr: %s\nwant a last line with %q", stderr, tc.want)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
	if get(t, running.url+"/healthz") == "" {
		t.Error("the running instance was disturbed")
	}
}

func TestUpRefusesTUFRootOverItsData(t *testing.T) {
	root := t.TempDir()
	cmd := sigbox(t, "up", "--data", filepath.Join(root, "data"), "--listen", freeAddr(t))
	cmd.Env = append(cmd.Env, "TUF_ROOT="+root)
	_, stderr, code := finish(t, cmd)
	if code == 0 || !strings.Contains(stderr, "empties TUF_ROOT") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestUpRefusesTUFRootThroughALink(t *testing.T) {
	root := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	cmd := sigbox(t, "up", "--data", filepath.Join(root, "not", "yet", "data"), "--listen", freeAddr(t))
	cmd.Env = append(cmd.Env, "TUF_ROOT="+link)
	_, stderr, code := finish(t, cmd)
	if code == 0 || !strings.Contains(stderr, "empties TUF_ROOT") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestUpStoppedBeforeItIsReady: Ctrl-C is no failure, whenever it comes, and leaves nothing half-made.
func TestUpStoppedBeforeItIsReady(t *testing.T) {
	for _, ms := range []int{20, 60, 100, 150, 250} {
		parent := t.TempDir()
		cmd := sigbox(t, "up", "--data", filepath.Join(parent, "data"), "--listen", freeAddr(t))
		stderr := &lockedBuffer{}
		cmd.Stderr = stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(ms) * time.Millisecond) // whenever it comes
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code > 0 { // below 0: before main was reached
			t.Errorf("after %d ms: exit code %d: %s", ms, code, stderr)
		}
		left, err := filepath.Glob(filepath.Join(parent, ".sigbox-new-*"))
		if err != nil || len(left) > 0 {
			t.Errorf("after %d ms: left behind %v %v", ms, left, err)
		}
	}
}

func TestHostNameInCapitals(t *testing.T) {
	r := start(t, "--data", newData(t), "--listen", "LOCALHOST:0")
	if !strings.HasPrefix(r.url, "http://localhost:") {
		t.Errorf("URL %s, want lower case", r.url)
	}
}

// TestUnknownCommands: a misspelt command is an error, not a page of help and success.
func TestUnknownCommands(t *testing.T) {
	for _, args := range [][]string{{"upp"}, {"trust", "exprot"}} {
		if stdout, stderr, code := run(t, args...); code == 0 || stdout != "" || !strings.Contains(stderr, "unknown command") {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

// TestUpTellsOfStaleCaches: what clients remember of another instance at the same address.
func TestUpTellsOfStaleCaches(t *testing.T) {
	addr := freeAddr(t)
	old := start(t, "--data", newData(t), "--listen", addr)
	home := t.TempDir()
	trust := filepath.Join(t.TempDir(), "trust")
	inHome := func(args ...string) (string, string, int) {
		cmd := sigbox(t, args...)
		cmd.Env = append(cmd.Env, "HOME="+home)
		return finish(t, cmd)
	}
	if _, stderr, code := inHome("trust", "export", "--url", old.url, "--out", trust); code != 0 {
		t.Fatal(stderr)
	}
	if _, stderr, code := inHome("trust", "init", "--mirror", old.url+"/tuf", "--root", filepath.Join(trust, "root.json")); code != 0 {
		t.Fatal(stderr)
	}
	old.stop(t, syscall.SIGTERM)

	data := newData(t)
	for _, wantNotes := range []bool{true, false} {
		cmd := sigbox(t, "up", "--data", data, "--listen", addr)
		cmd.Env = append(cmd.Env, "HOME="+home)
		r := startCommand(t, cmd)
		note := "NOTE: " + filepath.Join(home, ".sigstore", "root") + " remembers another instance"
		if got := strings.Contains(r.summary, note); got != wantNotes {
			t.Errorf("note: %v, want %v:\n%s", got, wantNotes, r.summary)
		}
		if wantNotes { // do what the notes say
			if _, stderr, code := inHome("trust", "init", "--replace", "--mirror", r.url+"/tuf", "--root", filepath.Join(data, "trust", "root.json")); code != 0 {
				t.Fatal(stderr)
			}
		}
		r.stop(t, syscall.SIGTERM)
	}
}
