package quota

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sigbox/sigbox/internal/clock"
)

// direct takes the other end of the connection for the client.
type direct struct{}

func (direct) Client(remote string, _ http.Header) string { return remote }

func newQuotas(r Rates) (*Quotas, *clock.Manual) {
	c := clock.NewManual(time.Unix(1_800_000_000, 0))
	q := New(Config{Service: "test", Clients: direct{}, Clock: c})
	q.Set(r)
	return q, c
}

func arrive(q *Quotas, from string) (*Visit, error) {
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.RemoteAddr = from
	return q.Arrive(r)
}

var (
	dev   = Identity{Name: "dev", Issuer: "https://a", Vouched: true}
	ops   = Identity{Name: "ops", Issuer: "https://a", Vouched: true}
	other = Identity{Name: "other", Issuer: "https://b", Vouched: true}
	key   = Identity{Name: "key"}
)

// visit is a request from an address by an identity, and how it ends.
func visit(q *Quotas, from string, who Identity, end func(*Visit)) (exceeded string) {
	v, err := arrive(q, from)
	if err == nil {
		if err = v.Identify(who); err == nil {
			end(v)
		}
		v.Settle(false)
	}
	var e *ExceededError
	if errors.As(err, &e) {
		return e.Quota
	}
	return ""
}

func created(*Visit)     {}
func duplicate(v *Visit) { v.Duplicate() }
func failed(v *Visit)    { v.Settle(true) }

// TestWhoPays: each row is a series of requests, of which the last is answered as the row says.
func TestWhoPays(t *testing.T) {
	minute := func(n int64) Rate { return Rate{n, time.Minute} }
	type request struct {
		from string
		who  Identity
		end  func(*Visit)
	}
	times := func(n int, r request) (list []request) {
		for range n {
			list = append(list, r)
		}
		return list
	}
	for _, tc := range []struct {
		name   string
		rates  Rates
		before []request
		last   request
		want   string
	}{
		{"no limits", Rates{}, times(1000, request{"192.0.2.1", key, created}), request{"192.0.2.1", key, created}, ""},
		{"the last of an address", Rates{Address: minute(3)}, times(2, request{"192.0.2.1", key, created}), request{"192.0.2.1", key, created}, ""},
		{"one too many of an address", Rates{Address: minute(3)}, times(3, request{"192.0.2.1", key, created}), request{"192.0.2.1", key, created}, "client address"},
		{"another address", Rates{Address: minute(3)}, times(3, request{"192.0.2.1", key, created}), request{"192.0.2.2", key, created}, ""},
		{"IPv6: the same network", Rates{Address: minute(3)}, times(3, request{"2001:db8::1", key, created}), request{"2001:db8::ffff:1", key, created}, "client address"},
		{"IPv6: the next network", Rates{Address: minute(3)}, times(3, request{"2001:db8::1", key, created}), request{"2001:db8:0:1::1", key, created}, ""},
		{"IPv4 in IPv6", Rates{Address: minute(3)}, times(3, request{"::ffff:192.0.2.1", key, created}), request{"192.0.2.1", key, created}, "client address"},
		{"IPv4 in IPv6, another", Rates{Address: minute(3)}, times(3, request{"::ffff:192.0.2.1", key, created}), request{"::ffff:192.0.2.2", key, created}, ""},
		{"no address at all is one client", Rates{Address: minute(3)}, times(3, request{"@", key, created}), request{"", key, created}, "client address"},
		{"one too many of an identity", Rates{Identity: minute(3)}, times(3, request{"192.0.2.1", dev, created}), request{"192.0.2.2", dev, created}, "identity"},
		{"one too many of a key", Rates{Identity: minute(3)}, times(3, request{"192.0.2.1", key, created}), request{"192.0.2.2", key, created}, "identity"},
		{"one too many of an issuer", Rates{Issuer: minute(3)}, times(3, request{"192.0.2.1", dev, created}), request{"192.0.2.2", ops, created}, "issuer"},
		{"another issuer", Rates{Issuer: minute(3)}, times(3, request{"192.0.2.1", dev, created}), request{"192.0.2.2", other, created}, ""},
		{"who cannot be told pays by the address only", Rates{Identity: minute(3)}, times(9, request{"192.0.2.1", Identity{}, created}), request{"192.0.2.1", Identity{}, created}, ""},
		{"an identity that is used up starves nobody at its address", Rates{Address: minute(3), Identity: minute(5)}, times(20, request{"192.0.2.1", dev, created}), request{"192.0.2.1", ops, created}, ""},
		{"an issuer that is used up starves nobody at its address", Rates{Address: minute(3), Issuer: minute(2)}, times(20, request{"192.0.2.1", dev, created}), request{"192.0.2.1", other, created}, ""},
		{"a key that is made up pays at its address too", Rates{Address: minute(3), Identity: minute(50)}, times(3, request{"192.0.2.1", key, created}), request{"192.0.2.1", Identity{Name: "new key"}, created}, "client address"},
		{"without a quota for identities the address pays", Rates{Address: minute(3)}, times(3, request{"192.0.2.1", dev, created}), request{"192.0.2.1", ops, created}, "client address"},
		{"what is in the log already is not paid by its identity", Rates{Identity: minute(3)}, times(9, request{"192.0.2.1", dev, duplicate}), request{"192.0.2.1", dev, created}, ""},
		{"but by the address", Rates{Address: minute(3), Identity: minute(3)}, times(3, request{"192.0.2.1", dev, duplicate}), request{"192.0.2.1", dev, created}, "client address"},
		{"our fault is given back to the address", Rates{Address: minute(3)}, times(9, request{"192.0.2.1", key, failed}), request{"192.0.2.1", key, created}, ""},
		{"our fault is given back to the identity", Rates{Identity: minute(3)}, times(9, request{"192.0.2.1", dev, failed}), request{"192.0.2.1", dev, created}, ""},
		{"our fault is given back to the issuer", Rates{Issuer: minute(3)}, times(9, request{"192.0.2.1", dev, failed}), request{"192.0.2.1", dev, created}, ""},
		{"what the issuer is refused is given back to the identity", Rates{Issuer: minute(1), Identity: minute(2)}, times(9, request{"192.0.2.1", dev, created}), request{"192.0.2.1", dev, created}, "issuer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q, _ := newQuotas(tc.rates)
			for _, r := range tc.before {
				visit(q, r.from, r.who, r.end)
			}
			if got := visit(q, tc.last.from, tc.last.who, tc.last.end); got != tc.want {
				t.Errorf("refused by the quota %q, want %q", got, tc.want)
			}
		})
	}
}

// TestInFlight: who is vouched for holds nothing of the address while the request is under way.
func TestInFlight(t *testing.T) {
	q, _ := newQuotas(Rates{Address: Rate{1, time.Minute}, Identity: Rate{10, time.Minute}})
	for range 5 {
		v, err := arrive(q, "192.0.2.1")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Identify(dev); err != nil {
			t.Fatal(err)
		}
	}
}

// TestEarnedBack: how long a quota is used up is what is said, and not a moment longer.
func TestEarnedBack(t *testing.T) {
	q, c := newQuotas(Rates{Address: Rate{4, time.Minute}})
	exceeded := func() *ExceededError {
		v, err := arrive(q, "192.0.2.1")
		v.Settle(false)
		var e *ExceededError
		errors.As(err, &e)
		return e
	}
	for range 4 {
		if e := exceeded(); e != nil {
			t.Fatal(e)
		}
	}
	c.Advance(500 * time.Millisecond)
	e := exceeded()
	if e == nil || e.Wait != 14500*time.Millisecond || e.Seconds() != 15 {
		t.Fatalf("used up: %+v", e)
	}
	if want := "the quota of this client address is used up (4/1m): try again in 15 s"; e.Error() != want {
		t.Errorf("%q, want %q", e, want)
	}
	st, ok := status.FromError(e)
	if !ok || st.Code() != codes.ResourceExhausted || st.Message() != e.Error() || len(st.Details()) != 1 ||
		st.Details()[0].(*errdetails.RetryInfo).GetRetryDelay().AsDuration() != 15*time.Second {
		t.Errorf("over gRPC: %v", st)
	}
	c.Advance(e.Wait - 1)
	if exceeded() == nil {
		t.Error("earned back too early")
	}
	c.Advance(1)
	if e := exceeded(); e != nil {
		t.Errorf("after the wait: %v", e)
	}
	c.Advance(-time.Hour) // the clock is set back
	if e := exceeded(); e == nil || e.Wait > 15*time.Second {
		t.Errorf("by a clock that was set back: %v", e)
	}
	c.Advance(15 * time.Second)
	if e := exceeded(); e != nil {
		t.Errorf("by a clock that was set back, after a wait: %v", e)
	}
	q.Set(Rates{Address: Rate{4, time.Minute}})
	if exceeded() == nil {
		t.Error("set to what it was, it begins anew")
	}
	q.Set(Rates{Address: Rate{5, time.Minute}})
	if e := exceeded(); e != nil {
		t.Errorf("one that is larger: %v", e)
	}
	q.Set(Rates{})
	for range 9 {
		if e := exceeded(); e != nil {
			t.Errorf("switched off: %v", e)
		}
	}
}

func TestPanicIsGivenBack(t *testing.T) {
	q, _ := newQuotas(Rates{Address: Rate{1, time.Minute}})
	for range 3 {
		func() {
			defer func() { _ = recover() }()
			v, err := arrive(q, "192.0.2.1")
			if err != nil {
				t.Error(err)
			}
			defer v.End()
			panic("in a handler")
		}()
	}
}

// TestNil: a service without quotas.
func TestNil(t *testing.T) {
	var q *Quotas
	v, err := q.Arrive(httptest.NewRequest(http.MethodPost, "/", nil))
	if err != nil || v.Wants() || v.Identify(dev) != nil {
		t.Error("no quotas refuse")
	}
	v.Duplicate()
	v.Settle(true)
	v.End()
	if _, err := q.ArriveRPC(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestBounded: any number of addresses takes no more memory than the table has, and of those that are still
// in it the last ones are not forgotten.
func TestBounded(t *testing.T) {
	c := clock.NewManual(time.Unix(1_800_000_000, 0))
	table := newTable(c, 1000)
	table.set(Rate{1, time.Hour})
	for i := range 100_000 {
		if _, _, wait := table.take(fmt.Sprint(i)); wait > 0 {
			t.Fatalf("address %d waits for %s", i, wait)
		}
		if n := len(table.young) + len(table.old); n > 2000 {
			t.Fatalf("%d numbers are held", n)
		}
	}
	for i := 99_000; i < 100_000; i++ {
		if _, _, wait := table.take(fmt.Sprint(i)); wait == 0 {
			t.Fatalf("address %d has been forgotten", i)
		}
	}
}

// TestAtOnce: of many requests at once, as many pass as are allowed.
func TestAtOnce(t *testing.T) {
	q, _ := newQuotas(Rates{Address: Rate{100, time.Hour}})
	var wg sync.WaitGroup
	passed := make(chan bool, 1000)
	for range 10 {
		wg.Go(func() {
			for range 100 {
				v, err := arrive(q, "192.0.2.1")
				if err == nil {
					passed <- true
				}
				v.Settle(false)
			}
		})
	}
	wg.Wait()
	if len(passed) != 100 {
		t.Errorf("%d requests passed, 100 are allowed", len(passed))
	}
}

// TestGone: to a client that did not wait nothing is given back, whatever it would have been told.
func TestGone(t *testing.T) {
	for name, arrive := range map[string]func(*Quotas, context.Context) (*Visit, error){
		"HTTP": func(q *Quotas, ctx context.Context) (*Visit, error) {
			return q.Arrive(httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil))
		},
		"gRPC": (*Quotas).ArriveRPC,
	} {
		t.Run(name, func(t *testing.T) {
			q, _ := newQuotas(Rates{Address: Rate{3, time.Minute}, Identity: Rate{2, time.Minute}})
			for i, who := range []Identity{dev, dev, dev, key, key, key} {
				ctx, hangUp := context.WithCancel(t.Context())
				v, err := arrive(q, ctx)
				if err != nil {
					t.Fatalf("request %d: %v", i, err)
				}
				err = v.Identify(who)
				hangUp()
				v.Settle(true)
				if wantErr := i%3 == 2; (err != nil) != wantErr {
					t.Errorf("request %d: %v", i, err)
				}
			}
			if _, err := arrive(q, t.Context()); err == nil {
				t.Error("the address has got its charges back")
			}
		})
	}
}
