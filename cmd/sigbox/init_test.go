//go:build postgres

package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sigbox/sigbox/internal/pgtest"
)

// tree returns the mode and the content of every file below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name] = st.Mode().String()
		if st.Mode().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files[name] += fmt.Sprintf(" %x", sha256.Sum256(raw))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// drawn are the parts of names that come from keys and random numbers.
var drawn = regexp.MustCompile(`[0-9a-f]{16,}`)

// shape is a tree without what is drawn at random: names and modes.
func shape(files map[string]string) (list []string) {
	for name, content := range files {
		mode, _, _ := strings.Cut(content, " ")
		list = append(list, drawn.ReplaceAllString(name, "ID")+" "+mode)
	}
	slices.Sort(list)
	return list
}

// rows returns the rows of every table of our schemas, in an order of their own.
func rows(t *testing.T, server *pgtest.Server, database string) map[string][]string {
	t.Helper()
	c := server.Connect(t, database)
	tables, err := query(t, c, "SELECT table_schema || '.' || table_name FROM information_schema.tables "+
		"WHERE table_schema IN ('ca', 'tlog', 'tuf', 'guard') AND table_type = 'BASE TABLE' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for _, table := range tables {
		if out[table], err = query(t, c, "SELECT x::text FROM "+table+" x ORDER BY 1"); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func query(t *testing.T, c *pgx.Conn, sql string) ([]string, error) {
	t.Helper()
	r, err := c.Query(t.Context(), sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(r, pgx.RowTo[string])
}

// counts are how many rows each table has.
func counts(rows map[string][]string) (list []string) {
	for _, table := range slices.Sorted(maps.Keys(rows)) {
		list = append(list, fmt.Sprintf("%s %d", table, len(rows[table])))
	}
	return list
}

// initArgs are those of an instance for development at an address.
func initArgs(dir, address, url string) []string {
	return []string{"init", "--dev", "--dir", dir, "--url", "http://" + address, "--database", url}
}

// TestInitDev: one command makes an instance that serves and that clients trust; again, it changes
// nothing, on disk or in the database.
func TestInitDev(t *testing.T) {
	server := pgtest.Shared(t)
	database, address := server.Database(t), freeAddr(t)
	dir, url := filepath.Join(t.TempDir(), "sigbox"), server.URL(database)
	args := []string{"init", "--dev", "--dir", dir, "--url", "http://" + address, "--database", url, "--ca-peer", freeAddr(t), "--tlog-peer", freeAddr(t)}
	stdout, stderr, code := run(t, args...)
	if code != 0 || !strings.Contains(stdout, "serve --config "+filepath.Join(dir, "sigbox.yaml")) {
		t.Fatalf("init: %d\n%s%s", code, stdout, stderr)
	}
	if out, stderr, code := run(t, "config", "check", "--config", filepath.Join(dir, "sigbox.yaml")); code != 0 {
		t.Errorf("config check: %d\n%s%s", code, out, stderr)
	}
	files, data := tree(t, dir), rows(t, server, database)
	for _, again := range [][]string{args, {"init", "--dir", dir}} {
		stdout, stderr, code := run(t, again...)
		if code != 0 || !strings.Contains(stdout, "nothing was changed") {
			t.Errorf("again: %d\n%s%s", code, stdout, stderr)
		}
	}
	if now := tree(t, dir); !maps.Equal(files, now) {
		t.Errorf("the directory changed:\n%v\n%v", files, now)
	}
	if now := rows(t, server, database); !maps.EqualFunc(data, now, slices.Equal) {
		t.Errorf("the database changed:\n%v\n%v", data, now)
	}
	mirror := addMirror(t, dir)
	if stdout, stderr, code := run(t, "init", "--dir", dir); code != 0 || !strings.Contains(stdout, "nothing was changed") {
		t.Errorf("before serve: %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(mirror); err == nil {
		t.Error("init has written the mirror, which is serve's")
	}
	trusted(t, dir, "http://"+address)
	if _, err := os.Stat(filepath.Join(mirror, "timestamp.json")); err != nil {
		t.Errorf("serve has not written the mirror: %v", err)
	}
	if stdout, stderr, code := run(t, "init", "--dir", dir); code != 0 || !strings.Contains(stdout, "nothing was changed") {
		t.Errorf("after serve: %d\n%s%s", code, stdout, stderr)
	}
}

// addMirror names a directory that the TUF repository is written to as well.
func addMirror(t *testing.T, dir string) (mirror string) {
	t.Helper()
	file := filepath.Join(dir, "sigbox.yaml")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(raw), "\ntuf:\n", "\ntuf:\n  mirror: mirror\n", 1)
	if text == string(raw) {
		t.Fatalf("no section tuf in\n%s", raw)
	}
	write(t, file, text)
	return filepath.Join(dir, "mirror")
}

// TestInitSaidAgain: what was said the first time can be said again, without the kind, of both kinds.
func TestInitSaidAgain(t *testing.T) {
	server := pgtest.Shared(t)
	for _, row := range []struct {
		name string
		kind []string
		url  string
		code int
	}{
		{"dev", []string{"--dev"}, "http://127.0.0.1:8099", 0},
		{"production", []string{"--production", "--behind-proxy", "--guard", "none"}, "https://sigstore.example.com", exitWaiting},
	} {
		t.Run(row.name, func(t *testing.T) {
			said := []string{"init", "--dir", filepath.Join(t.TempDir(), "sigbox"), "--url", row.url, "--listen", "127.0.0.1:8099", "--database", server.URL(server.Database(t))}
			for _, args := range [][]string{append(said[:len(said):len(said)], row.kind...), said} {
				if stdout, stderr, code := run(t, args...); code != row.code {
					t.Errorf("%v: exit code %d, want %d\n%s%s", args, code, row.code, stdout, stderr)
				}
			}
		})
	}
}

// trusted runs an instance and has a client take its trust root, from the first root that init wrote.
func trusted(t *testing.T, dir, url string) {
	t.Helper()
	r := startCommand(t, sigbox(t, "serve", "--config", filepath.Join(dir, "sigbox.yaml")))
	stdout, stderr, code := run(t, "trust", "export", "--url", url, "--root", filepath.Join(dir, "public", "root.json"), "--out", filepath.Join(t.TempDir(), "trust"))
	if code != 0 || !strings.Contains(stdout, "root.json version 1") {
		t.Errorf("trust export: %d\n%s%s", code, stdout, stderr)
	}
	if code, body := readyz(t, url); code != 200 || body.Status != "ok" {
		t.Errorf("/readyz: %d %+v", code, body)
	}
	if code := r.stop(t, os.Interrupt); code != 0 {
		t.Errorf("serve: exit code %d\n%s", code, r.stderr)
	}
}

// TestInitResumes: killed after each thing that it makes, init ends where it ends without that.
func TestInitResumes(t *testing.T) {
	server := pgtest.Shared(t)
	whole, parts := server.Database(t), server.Database(t)
	one, other := filepath.Join(t.TempDir(), "sigbox"), filepath.Join(t.TempDir(), "sigbox")
	if stdout, stderr, code := run(t, initArgs(one, "127.0.0.1:8099", server.URL(whole))...); code != 0 {
		t.Fatalf("init: %d\n%s%s", code, stdout, stderr)
	}
	made := resume(t, initArgs(other, "127.0.0.1:8099", server.URL(parts))...)
	if made < 35 {
		t.Errorf("killed %d times only", made)
	}
	if a, b := shape(tree(t, one)), shape(tree(t, other)); !slices.Equal(a, b) {
		t.Errorf("the directories differ:\n%s\n\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
	if a, b := counts(rows(t, server, whole)), counts(rows(t, server, parts)); !slices.Equal(a, b) {
		t.Errorf("the databases differ:\n%v\n%v", a, b)
	}
	if out, stderr, code := run(t, "log", "fsck", "--config", filepath.Join(other, "sigbox.yaml")); code != 0 {
		t.Errorf("log fsck: %d\n%s%s", code, out, stderr)
	}
}

// resume runs the program again and again, killing it after one line, until it ends by itself; it
// returns how often it was killed. Half written files are put where it may have left some.
func resume(t *testing.T, args ...string) (kills int) {
	t.Helper()
	dir := args[slices.Index(args, "--dir")+1]
	for range 200 {
		cmd := sigbox(t, args...)
		cmd.Env = append(cmd.Env, "SIGBOX_TEST_DIE_AT=1")
		stdout, stderr, code := finish(t, cmd)
		if code != -1 {
			t.Fatalf("after %d kills: exit code %d\n%s%s", kills, code, stdout, stderr)
		}
		if !strings.HasPrefix(stdout, "made ") && !strings.HasPrefix(stdout, "schema ") && !strings.HasPrefix(stdout, "published ") {
			return kills
		}
		kills++
		for _, sub := range []string{"", "ca", "public"} {
			_ = os.WriteFile(filepath.Join(dir, sub, ".new-1234"), []byte("half"), 0o600) // the directory may not be there yet
		}
	}
	t.Fatal("init does not come to an end")
	return 0
}

// TestInitIntoMounts: the directories that containers keep apart are there before init is, and init has
// another way to the database than the services.
func TestInitIntoMounts(t *testing.T) {
	server := pgtest.Shared(t)
	database, dir := server.Database(t), filepath.Join(t.TempDir(), "sigbox")
	for _, sub := range []string{"ca", "tlog", "tuf", "issuer", "public", "peers", "offline"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	args := initArgs(dir, "127.0.0.1:8099", fmt.Sprintf("postgres://%s/%s?sslmode=disable", server.Address(), database))
	for _, want := range []string{"Made an instance", "nothing was changed"} {
		cmd := sigbox(t, args...)
		cmd.Env = append(cmd.Env, "SIGBOX_MIGRATE_URL="+server.URL(database))
		if stdout, stderr, code := finish(t, cmd); code != 0 || !strings.Contains(stdout, want) {
			t.Fatalf("init: %d, want %q\n%s%s", code, want, stdout, stderr)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "sigbox.yaml"))
	if err != nil || !strings.Contains(string(raw), "url: postgres://sigbox_ca@"+server.Address()+"/"+database) {
		t.Errorf("%v\n%s", err, raw)
	}
}

// TestInitRefuses: nothing is made of choices that do not hold, and what is there is not changed.
func TestInitRefuses(t *testing.T) {
	server := pgtest.Shared(t)
	url := server.URL(server.Database(t))
	made := filepath.Join(t.TempDir(), "sigbox")
	if stdout, stderr, code := run(t, initArgs(made, "127.0.0.1:8099", url)...); code != 0 {
		t.Fatalf("init: %d\n%s%s", code, stdout, stderr)
	}
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "thesis.tex"), "x")
	for _, row := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no kind", []string{"--url", "http://127.0.0.1:1"}, 1, "--dev or --production"},
		{"both kinds", []string{"--dev", "--production"}, 1, "none of the others can be"},
		{"no URL", []string{"--dev", "--database", url}, 1, "--url, or --ca-url"},
		{"no database", []string{"--dev", "--url", "http://127.0.0.1:1"}, 1, "--database, or --ca-database"},
		{"a URL with a path", []string{"--dev", "--url", "http://127.0.0.1:1/x", "--database", url}, 2, "public_url"},
		{"a database that is no URL", []string{"--dev", "--url", "http://127.0.0.1:1", "--database", "host=x password=hunter2"}, 1, "a database is named by a URL"},
		{"no guard", []string{"--production", "--url", "https://s.example.com", "--database", url, "--behind-proxy"}, 1, "--guard"},
		{"neither TLS nor a proxy", []string{"--production", "--url", "https://s.example.com", "--database", url, "--guard", "none"}, 1, "--behind-proxy"},
		{"TLS and a proxy", []string{"--production", "--url", "https://s.example.com", "--database", url, "--guard", "none", "--behind-proxy", "--tls-cert", "c", "--tls-key", "k"}, 1, "choose one"},
		{"a certificate without key", []string{"--production", "--url", "https://s.example.com", "--database", url, "--guard", "none", "--tls-cert", "c"}, 1, "go together"},
		{"an issuer in production", []string{"--production", "--ca-url", "https://s.example.com", "--tlog-url", "https://s.example.com", "--tuf-url", "https://s.example.com", "--issuer-url", "https://s.example.com",
			"--database", url, "--guard", "none", "--behind-proxy"}, 1, "no development issuer"},
		{"an issuer that others reach", []string{"--dev", "--url", "http://127.0.0.1:1", "--listen", "0.0.0.0:1", "--database", url}, 2, "issuer: signs in anybody"},
		{"the guard in the database of the logs", []string{"--dev", "--url", "http://127.0.0.1:1", "--database", url, "--guard", url}, 1, "what is lost there would be lost here too"},
		{"somebody else's directory", []string{"--dev", "--dir", foreign, "--url", "http://127.0.0.1:1", "--database", url}, 1, "thesis.tex"},
		{"another URL", []string{"--dir", made, "--url", "http://127.0.0.1:1"}, 1, "made with other choices"},
		{"another kind", []string{"--dir", made, "--production"}, 1, "production: false there, true asked for"},
		{"another database", []string{"--dir", made, "--database", "postgres://db.example.com/x"}, 1, "databases.ca: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sigbox")
			args := append([]string{"init", "--dir", dir}, row.args...)
			before := tree(t, made)
			_, stderr, code := run(t, args...)
			if code != row.code || !strings.Contains(stderr, row.want) || strings.Contains(stderr, "hunter2") {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, row.code, row.want, stderr)
			}
			if files, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(files) > 1 { // lock
				t.Errorf("it made %v %v", files, err)
			}
			if !maps.Equal(before, tree(t, made)) {
				t.Error("the instance changed")
			}
		})
	}
}

// TestInitUsers: each service's user is let in with the password that is in its directory, writes to its
// own schema, and sees no other.
func TestInitUsers(t *testing.T) {
	server := passwordServer(t)
	dir := filepath.Join(t.TempDir(), "sigbox")
	args := initArgs(dir, "127.0.0.1:8099", strings.Replace(adminOf(server, "postgres"), "postgres@", "postgres:hunter2@", 1))
	if stdout, stderr, code := run(t, args...); code != 0 || strings.Contains(stdout+stderr, "hunter2") {
		t.Fatalf("init: %d\n%s%s", code, stdout, stderr)
	}
	for name, content := range tree(t, dir) {
		if !strings.HasPrefix(content, "-") {
			continue
		}
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err != nil || strings.Contains(string(raw), "hunter2") {
			t.Errorf("%s has the administrator's password in it, %v", name, err)
		}
	}
	tables := map[string]string{"ca": "ca.ca_intent", "tlog": "tlog.tlog_leaf", "tuf": "tuf.tuf_metadata"}
	for service := range tables {
		c := asService(t, server, dir, service)
		for other, table := range tables {
			_, err := query(t, c, "SELECT count(*)::text FROM "+table)
			if (err == nil) != (other == service) {
				t.Errorf("%s reads %s: %v", service, table, err)
			}
		}
	}
	t.Run("another instance", func(t *testing.T) {
		again := initArgs(filepath.Join(t.TempDir(), "sigbox"), "127.0.0.1:8099", adminOf(server, server.Database(t)))
		_, stderr, code := run(t, again...)
		if code != 1 || !strings.Contains(stderr, "was there already and is not let in with the password in") {
			t.Errorf("%d\n%s", code, stderr)
		}
	})
}

// passwordServer is a server that asks everybody but its superuser for a password.
func passwordServer(t *testing.T) *pgtest.Server {
	t.Helper()
	hba := filepath.Join(t.TempDir(), "hba")
	write(t, hba, "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
	for dir := filepath.Dir(hba); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // the server may run as another user
			t.Fatal(err)
		}
	}
	if err := os.Chmod(hba, 0o644); err != nil {
		t.Fatal(err)
	}
	return pgtest.Start(t, "hba_file='"+hba+"'")
}

func adminOf(server *pgtest.Server, database string) string { return server.TCP(database) }

func asService(t *testing.T, server *pgtest.Server, dir, service string) *pgx.Conn {
	t.Helper()
	password, err := os.ReadFile(filepath.Join(dir, service, "database-password"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, fmt.Sprintf("postgres://sigbox_%s:%s@%s/postgres?sslmode=disable", service, strings.TrimSpace(string(password)), server.Address()))
	if err != nil {
		t.Fatalf("%s is not let in: %v", service, err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	wrong, err := pgx.Connect(ctx, fmt.Sprintf("postgres://sigbox_%s:wrong@%s/postgres?sslmode=disable", service, server.Address()))
	if err == nil {
		_ = wrong.Close(ctx)
		t.Errorf("%s is let in with a wrong password", service)
	}
	return c
}
