package follow_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/sigbox/sigbox/internal/sqlite"
	"github.com/sigbox/sigbox/keys"
	pb "github.com/sigbox/sigbox/proto/sigbox/tlog/v1"
	"github.com/sigbox/sigbox/tlog"
	"github.com/sigbox/sigbox/tlog/checkpoint"
	"github.com/sigbox/sigbox/tlog/follow"
	"github.com/sigbox/sigbox/tlog/logrpc"
	"github.com/sigbox/sigbox/tlog/logtest"
	"github.com/sigbox/sigbox/tlog/sqlitestore"
)

// orders are what a child process is told. It writes a line whenever it got somewhere, and ends when
// its standard input does.
type orders struct {
	Role    string // "follow" or "serve"
	Address string
	Key     string // file of the log's key
	File    string // the follower's journal, or the server's database
}

const ordersVariable = "SIGBOX_TEST_ORDERS"

func TestMain(m *testing.M) {
	if text := os.Getenv(ordersVariable); text != "" {
		if err := obey(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func obey(text string) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	key, err := keys.Load(o.Key)
	if err != nil {
		return err
	}
	signer, err := checkpoint.NewSigner(logtest.Origin, logtest.Origin, key)
	if err != nil {
		return err
	}
	if o.Role == "serve" {
		return o.serve(ctx, signer)
	}
	return o.follow(ctx, signer.Verifier())
}

func (o orders) follow(ctx context.Context, v *checkpoint.Verifier) error {
	j, state, err := openJournal(o.File)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(o.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	err = follow.Run(ctx, follow.Config{
		Client: pb.NewLogsClient(conn), Log: name, Verifier: v,
		Save: func(_ context.Context, b follow.Batch) error {
			err := j.save(b)
			fmt.Println(b.State.Size)
			return err
		},
	}, state)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serve runs the service over a log in SQLite, and appends to it.
func (o orders) serve(ctx context.Context, signer *checkpoint.Signer) error {
	db, err := sqlite.Open(ctx, o.File)
	if err != nil {
		return err
	}
	store, err := sqlitestore.Open(ctx, db, name)
	if err != nil {
		return err
	}
	log, err := tlog.Open(ctx, store, tlog.Config{Name: name, Signer: signer})
	if err != nil {
		return err
	}
	go func() { _ = log.Run(ctx) }()
	service, err := logrpc.New(logrpc.Config{
		Logs:   []logrpc.Log{{Name: name, Origin: logtest.Origin, Engine: log}},
		Logger: slog.New(slog.DiscardHandler), Pace: time.Millisecond,
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", o.Address)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	service.RegisterGRPC(s)
	go func() { _ = s.Serve(ln) }()
	for i := 0; ctx.Err() == nil; i++ {
		r, err := log.Append(ctx, logtest.Entry(fmt.Sprintf("process %d entry %d", os.Getpid(), i)))
		if err == nil {
			fmt.Println(r.Checkpoint.Size)
		}
	}
	return nil
}

// child is a process that was given orders.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string // what it says; closed at its end
}

func startChild(t testing.TB, o orders) *child {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ordersVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: in, lines: make(chan string, 1<<20)}
	t.Cleanup(c.kill)
	go func() {
		defer close(c.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.lines <- lines.Text()
		}
	}()
	return c
}

// await waits for so many lines.
func (c *child) await(t testing.TB, n int) {
	t.Helper()
	for range n {
		select {
		case _, ok := <-c.lines:
			if !ok {
				t.Fatal("the child ended")
			}
		case <-time.After(time.Minute):
			t.Fatal("the child has said nothing for a minute")
		}
	}
}

// kill ends the child as kill -9 does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	for range c.lines { // to the end
	}
	_ = c.cmd.Wait() // says that it was killed
}

// journal is a file with one line for each batch, entries first and then the state after them. A line
// that is not complete was not written: that is the transaction.
type journal struct{ file *os.File }

type record struct {
	Leaves [][]byte
	First  int64
	State  follow.State
}

// openJournal reads the last state, and cuts off what a kill left half written.
func openJournal(path string) (*journal, follow.State, error) {
	records, length, err := readJournal(path)
	if err != nil {
		return nil, follow.State{}, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, follow.State{}, err
	}
	if err := file.Truncate(length); err != nil {
		return nil, follow.State{}, err
	}
	if len(records) == 0 {
		return &journal{file}, follow.State{}, nil
	}
	return &journal{file}, records[len(records)-1].State, nil
}

func readJournal(path string) (records []record, length int64, err error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, 0, err
	}
	for {
		line, rest, whole := bytes.Cut(data, []byte("\n"))
		if !whole {
			return records, length, nil
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, 0, err
		}
		records, length, data = append(records, r), length+int64(len(line))+1, rest
	}
}

// save writes in pieces, so that a kill can come between them.
func (j *journal) save(b follow.Batch) error {
	r := record{State: b.State, First: b.State.Size - int64(len(b.Entries))}
	for _, e := range b.Entries {
		r.Leaves = append(r.Leaves, e.Leaf)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	half := len(line) / 2
	for _, part := range [][]byte{line[:half], line[half:], []byte("\n")} {
		if _, err := j.file.Write(part); err != nil {
			return err
		}
	}
	return nil
}
