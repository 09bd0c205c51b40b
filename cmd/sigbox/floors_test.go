package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// The floors of DESIGN.md section 2: imports point down only.
const (
	ground  = iota // formats, keys, clock, HTTP and SQL basics
	domain         // what the services decide; knows no SQL and no HTTP
	adapter        // stores, guards, client caches
	face           // APIs; know no store and not each other
	command        // wiring
	support        // for tests; imported by no other package
)

const module = "github.com/sigbox/sigbox"

// floors gives every package its floor by the longest pattern that matches; a package that
// matches none fails the test, so that a new one is placed on purpose.
var floors = []struct {
	pattern string // path.Match below the module
	floor   int
}{
	{"internal/*", ground}, {"keys", ground}, {"keys/pkcs11", ground}, {"migrations", ground}, {"proto/sigbox/*/*", ground},
	{"tlog/tile", ground}, {"tlog/checkpoint", ground}, {"tlog/shardpath", ground},
	{"tlog", domain}, {"tlog/entry", domain}, {"tlog/entry/*", domain}, {"ca", domain}, {"ca/pki", domain}, {"ca/profile", domain}, {"ca/rules", domain},
	{"tlog/rpcerr", domain}, {"tlog/writers", domain}, {"oidc", domain}, {"oidc/presets", domain}, {"tsa", domain}, {"tuf", domain}, {"tuf/trustroot", domain}, {"tuf/statement", domain}, {"tuf/record", domain}, {"tuf/ceremony", domain}, {"tuf/airgap", domain}, {"tuf/foreign", domain}, {"expiry", domain},
	{"*/*store", adapter}, {"ca/ctclient", adapter}, {"tlog/*guard", adapter}, {"tlog/tiledir", adapter}, {"tuf/clientcache", adapter}, {"tuf/mirrordir", adapter}, {"tuf/foreignrepo", adapter}, {"tlog/follow", adapter},
	{"ca/fulcio", face}, {"tsa/web", face}, {"tuf/web", face}, {"tuf/handover", face}, {"oidc/devidp", face},
	{"tlog/rekorv1", face}, {"tlog/rekorv2", face}, {"tlog/ctlog", face}, {"tlog/tiles", face}, {"tlog/logrpc", face},
	{"cmd/*", command}, {"cmd/*/internal/*", command},
	{"tlog/storetest", support}, {"tlog/logtest", support}, {"tlog/differential", support}, {"ca/differential", support}, {"ca/storetest", support}, {"tuf/storetest", support}, {"tuf/tuftest", support}, {"proto/internal/generate", support},
}

// allowed are the arrows and libraries that the rules would refuse, each with its reason.
var allowed = map[string]string{
	"oidc -> net/http": "an issuer's keys are fetched over HTTP, through a client the wiring bounds (coreos/go-oidc takes no other)",
}

func floorOf(t *testing.T, pkg string) int {
	for _, f := range floors {
		if ok, err := path.Match(f.pattern, pkg); err != nil {
			t.Fatal(err)
		} else if ok {
			return f.floor
		}
	}
	t.Errorf("package %s has no floor: give it one in floors_test.go, or move it", pkg)
	return command
}

func TestArrowsPointDown(t *testing.T) {
	for _, p := range listPackages(t) {
		from := strings.TrimPrefix(p.ImportPath, module+"/")
		floor := floorOf(t, from)
		for _, imp := range p.Imports {
			to, ours := strings.CutPrefix(imp, module+"/")
			if allowed[from+" -> "+to] != "" {
				continue
			}
			if !ours {
				if floor == domain && (imp == "net/http" || imp == "database/sql" || strings.HasPrefix(imp, "github.com/jackc/pgx")) {
					t.Errorf("%s imports %s: a domain package knows no SQL and no HTTP", from, imp)
				}
				continue
			}
			if reason := wrong(from, floor, to, floorOf(t, to)); reason != "" {
				t.Errorf("%s imports %s: %s", from, to, reason)
			}
		}
	}
}

// TestNoModulesInProcess: sigbox has no way to load a PKCS #11 module into itself, and needs no cgo; its child has.
func TestNoModulesInProcess(t *testing.T) {
	const loader = "github.com/miekg/pkcs11"
	for program, want := range map[string]bool{"sigbox": false, "sigbox-pkcs11": true} {
		cmd := exec.Command("go", "list", "-deps", module+"/cmd/"+program)
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=1") // what needs cgo is left out otherwise
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(strings.Fields(string(out)), loader); got != want {
			t.Errorf("%s has %s: %v, want %v", program, loader, got, want)
		}
	}
}

func wrong(from string, floor int, to string, toFloor int) string {
	switch {
	case toFloor == support && floor != support:
		return "test support is for tests"
	case toFloor > floor:
		return "an arrow that points up a floor"
	case floor == face && toFloor == face && !strings.HasPrefix(from, to+"/"):
		return "faces do not know each other"
	case floor == face && toFloor == adapter:
		return "a face knows no store"
	case floor == adapter && toFloor == adapter:
		return "adapters do not know each other"
	}
	return ""
}

// TestWrongSeesEachRule breaks every rule once.
func TestWrongSeesEachRule(t *testing.T) {
	for _, tc := range []struct {
		from, to        string
		floor, toFloor  int
		wantRefusalOnly bool
	}{
		{"tlog", "tlog/rekorv1", domain, face, true},
		{"tlog/rekorv1", "tlog/rekorv2", face, face, true},
		{"tlog/rekorv1", "tlog/memstore", face, adapter, true},
		{"ca/sqlstore", "tuf/sqlstore", adapter, adapter, true},
		{"cmd/sigbox", "tlog/logtest", command, support, true},
		{"tlog/rekorv1", "tlog", face, domain, false},
	} {
		if got := wrong(tc.from, tc.floor, tc.to, tc.toFloor) != ""; got != tc.wantRefusalOnly {
			t.Errorf("%s -> %s: refused = %v", tc.from, tc.to, got)
		}
	}
}

type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if !slices.ContainsFunc(pkgs, func(p listed) bool { return p.ImportPath == module+"/tlog" }) {
		t.Fatal("go list did not list package tlog: the test saw nothing")
	}
	return pkgs
}
