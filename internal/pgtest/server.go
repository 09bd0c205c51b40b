package pgtest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sigbox/sigbox/internal/freeport"
)

// Server is a PostgreSQL server with a data directory of its own. It accepts every connection of
// this machine as the superuser postgres; the socket's directory is open to this user only.
type Server struct {
	dir  string // data, socket and log
	bin  string
	port int
	uid  *syscall.Credential // the user it runs as; nil for this process's own
	stay bool                // the directory outlives the test binary

	keeper *exec.Cmd
	alive  *os.File // the server stops when this is closed

	mu   sync.Mutex
	free map[string][]string // databases that wait to be used again, by key
}

// settings are those of every server. The rest are PostgreSQL's own defaults, durability included.
var settings = []string{
	"max_connections=200", "shared_buffers=256MB", "max_wal_size=4GB", "wal_level=replica",
	"log_min_messages=warning", "timezone=UTC", "max_prepared_transactions=0",
}

// newServer makes a data directory and starts a server on it with further settings, which are
// lines of postgresql.conf.
func newServer(extra ...string) (*Server, error) {
	s, err := newDirectory()
	if err != nil {
		return nil, err
	}
	err = s.initialize()
	if err == nil {
		err = s.configure(slices.Concat(settings, s.place(), extra)...)
	}
	if err == nil {
		err = s.start()
	}
	if err != nil {
		return nil, errors.Join(err, s.halt(), os.RemoveAll(s.dir))
	}
	return s, nil
}

// initialize makes the data directory.
func (s *Server) initialize() error {
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "--pgdata", s.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	initdb.Dir, initdb.SysProcAttr = s.dir, &syscall.SysProcAttr{Credential: s.uid}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// keptServer starts a server on a directory that stays, and makes it first if it is not there.
func keptServer(dir string, extra ...string) (s *Server, err error) {
	s = &Server{stay: true, free: make(map[string][]string)}
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if s.dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil { // those above it must let the server's user through
		return nil, err
	}
	if err := os.Chmod(s.dir, 0o700); err != nil {
		return nil, err
	}
	if s.uid, err = owner(s.dir); err != nil {
		return nil, err
	}
	if s.port, err = freeport.Port(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(s.data(), "PG_VERSION")); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(s.initialize(), s.configure(settings...)); err != nil {
			return nil, err
		}
	}
	if err := s.awaitOther(30 * time.Second); err != nil {
		return nil, err
	}
	if err := s.configure(slices.Concat(s.place(), extra)...); err != nil {
		return nil, err
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, s.halt())
	}
	return s, nil
}

// awaitOther waits until the server that ran on the directory before has ended: that of a test
// binary which was killed ends a moment later.
func (s *Server) awaitOther(limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		pid, err := s.pid()
		if err != nil || !alive(pid) { // it has none, or one that a crash has left there
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("another server, process %d, runs on it", pid)
		}
	}
}

// newDirectory returns a server with everything but data.
func newDirectory() (s *Server, err error) {
	s = &Server{free: make(map[string][]string)}
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "sigbox-pg-"); err != nil {
		return nil, err
	}
	if s.uid, err = owner(s.dir); err == nil {
		s.port, err = freeport.Port()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// place are the settings that say where the server listens.
func (s *Server) place() []string {
	return []string{"listen_addresses='127.0.0.1'", "port=" + strconv.Itoa(s.port), "unix_socket_directories='" + s.dir + "'"}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// configure appends lines to postgresql.conf.
func (s *Server) configure(lines ...string) error {
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}

// keeper runs the server and shuts it down when its standard input ends, which happens when the
// test binary exits, whether it returns, panics or is killed. The directory goes too, unless a line
// said that it is to stay.
const keeper = `
trap '' INT TERM HUP
"$1/postgres" -D "$2/data" >>"$2/log" 2>&1 </dev/null &
pid=$!
stay=
while read -r line; do stay=$line; done
kill -QUIT $pid 2>/dev/null
wait $pid
if [ -z "$stay" ]; then rm -rf "$2"; fi
`

// startLimit is how long a server may take to accept connections; one that crashed reads up to
// max_wal_size of its log first.
const startLimit = 2 * time.Minute

// start starts the server and waits until it accepts connections.
func (s *Server) start() error {
	stdin, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	s.keeper = exec.Command("/bin/sh", "-c", keeper, "keeper", s.bin, s.dir)
	s.keeper.Stdin, s.keeper.Dir = stdin, s.dir
	s.keeper.SysProcAttr = &syscall.SysProcAttr{Credential: s.uid, Setpgid: true}
	if err := s.keeper.Start(); err != nil {
		return errors.Join(err, alive.Close())
	}
	s.alive = alive
	if s.stay {
		if _, err := alive.WriteString("stay\n"); err != nil {
			return err
		}
	}
	return s.await(startLimit)
}

// await waits until the server accepts connections.
func (s *Server) await(limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		ready := exec.Command(filepath.Join(s.bin, "pg_isready"), "-q", "-U", "postgres", "-d", "postgres", "-h", s.dir, "-p", strconv.Itoa(s.port))
		if ready.Run() == nil {
			return nil
		}
		if time.Now().After(deadline) {
			log, err := os.ReadFile(filepath.Join(s.dir, "log"))
			return errors.Join(fmt.Errorf("postgres does not accept connections: %s", log), err)
		}
	}
}

// halt shuts the server down without a checkpoint, as a crash of the machine would. The directory
// stays.
func (s *Server) halt() error {
	if s.keeper == nil {
		return nil
	}
	_, err := s.alive.WriteString("stay\n")
	err = errors.Join(err, s.alive.Close(), s.keeper.Wait())
	s.keeper = nil
	return err
}

// kill kills every process of the server with SIGKILL, and waits until they are gone: as long as
// one is left, a new server refuses to use the data directory.
func (s *Server) kill() error {
	pid, err := s.pid()
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return err
	}
	for f := stat(pid); len(f) > 0 && f[0] != "T" && f[0] != "Z"; f = stat(pid) {
		time.Sleep(time.Millisecond) // until it makes no more children
	}
	all := append(children(pid), pid)
	for _, pid := range all {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	err = s.halt()
	for _, pid := range all {
		for alive(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	return err
}

// alive tells whether a process runs; one that only waits to be reaped does not.
func alive(pid int) bool {
	f := stat(pid)
	return len(f) > 0 && f[0] != "Z"
}

// stat returns the fields of /proc/PID/stat behind the command (state, parent, ...), none if there
// is no such process.
func stat(pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
}

// children returns the processes whose parent is pid.
func children(pid int) (list []int) {
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		child, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			continue
		}
		if f := stat(child); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			list = append(list, child)
		}
	}
	return list
}

// URL returns the connection string of a database as the superuser, through the socket.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&port=%d&user=postgres&sslmode=disable", url.PathEscape(database), url.QueryEscape(s.dir), s.port)
}

// TCP returns the same for 127.0.0.1, where a test can put a proxy in between.
func (s *Server) TCP(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", s.Address(), url.PathEscape(database))
}

// Address returns the host and port of the server.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// User returns the user that the server runs as; nil for the one of this process.
func (s *Server) User() *syscall.Credential { return s.uid }

// Dir returns the directory above the data directory, which belongs to the server's user.
func (s *Server) Dir() string { return s.dir }

// binaries finds the newest installed server.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("no PostgreSQL server is installed: install the package postgresql (Debian, Ubuntu) or postgresql-server (Fedora), or put initdb and postgres on the PATH")
}

func version(initdb string) int {
	v, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb))))
	return v
}

// owner gives the directory to the user that the server is to run as: PostgreSQL refuses root.
func owner(dir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root cannot run PostgreSQL, and there is no user postgres (the package postgresql makes one): %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}

// pid returns the process id of the running postmaster.
func (s *Server) pid() (int, error) {
	b, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errors.New("the server is not running")
	}
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strconv.Atoi(line)
}
