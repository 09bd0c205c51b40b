package pkcs11

import (
	"errors"
	"sync"
	"time"
)

var (
	// ErrPIN is a PIN that is not tried, or not tried again: nothing mends that but a person and a start of the process.
	ErrPIN = errors.New("PIN not accepted")
	// ErrAway is a token that cannot be used now. It is tried again by the next use.
	ErrAway = errors.New("token not usable")
	// ErrSignature is a signature that does not verify. It is not handed out.
	ErrSignature = errors.New("the token returned a signature that does not verify")
	// ErrNoKey is a key that is not on its token, and ErrTaken one that is there although it is to be made.
	ErrNoKey = errors.New("no such key")
	ErrTaken = errors.New("key exists")
)

// Options of a [Pool]. The zero value is what sigbox has.
type Options struct {
	Program string        // path of the child's program; "": see [ProgramVariable]
	Answer  time.Duration // how long anything may take; 0: 10 s
	Backoff time.Duration // the longest wait between two starts of a child; 0: 10 s
	TryPIN  bool          // also where the token says that few tries are left: a person has asked for it
}

// Pool has a child for each token that is used, and remembers where a PIN was refused.
type Pool struct {
	options Options

	mu      sync.Mutex
	tokens  map[string]*token // by module and what names the token
	refused map[string]error  // by module and serial number: no PIN is tried there any more
}

// NewPool returns a pool without children.
func NewPool(o Options) *Pool {
	if o.Answer == 0 {
		o.Answer = 10 * time.Second
	}
	if o.Backoff == 0 {
		o.Backoff = 10 * time.Second
	}
	return &Pool{options: o, tokens: map[string]*token{}, refused: map[string]error{}}
}

// process is the pool of [Load]. It is the process's and nobody's in it: a PIN is tried once by a process, whoever in it
// loads keys, and a token has one child.
var process = NewPool(Options{})

// Close ends all children. Keys that were loaded cannot be used any more.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.tokens {
		t.close()
	}
}

// token returns the token of a URI.
func (p *Pool) token(u URI) *token {
	u.Object, u.ID, u.PINSource = "", nil, ""
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tokens[u.String()]
	if t == nil {
		t = &token{pool: p, uri: u, name: u.TokenName(), turn: make(chan struct{}, 1)}
		p.tokens[u.String()] = t
	}
	return t
}

// refuse has no PIN tried any more where one was refused.
func (p *Pool) refuse(where string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[where] = err
}

func (p *Pool) refusal(where string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused[where]
}
