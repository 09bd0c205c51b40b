// Package fleet runs `sigbox serve` in the shapes that companies run it: one process, three, and three
// with replicas behind a real proxy. All of it is made by `sigbox init --dev`.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sigbox/sigbox/e2e/internal/instance"
)

// Shape is how the services are spread over processes.
type Shape struct {
	Name     string
	Apart    bool // each service is a process of its own
	Replicas int  // of ca, tlog and tuf; more than one are behind haproxy
}

// The shapes of docs/design/0009.
var (
	OneProcess     = Shape{Name: "one process", Replicas: 1}
	ThreeProcesses = Shape{Name: "three processes", Apart: true, Replicas: 1}
	Replicated     = Shape{Name: "three services, two replicas of each behind haproxy", Apart: true, Replicas: 2}
)

// services in the order in which they are started.
var services = []string{"issuer", "tlog", "ca", "tuf"}

// Options say what a fleet runs on.
type Options struct {
	Binary   string   // path of sigbox
	Dir      string   // must not exist
	Database string   // connection string of a superuser, of a server that is the fleet's own
	Guard    string   // the same of another server
	Env      []string // the whole environment of each process
	Token    string   // PKCS #11 URI of a token that the services' keys are made on; "" for files

	Change func(config map[string]any) // changes what init wrote; may be nil
}

// Fleet is the processes of one sigbox.
type Fleet struct {
	Shape
	URLs    map[string]string // public origin of each service
	Members []*Member

	dir   string
	proxy *proxy // nil without replicas
}

// Member is one process.
type Member struct {
	Name     string // "tlog 2"
	Services []string
	Replica  int // from 1
	*instance.Process

	opts   Options
	config string
	listen map[string]string
	before string // what earlier processes of it wrote to standard error
}

// Start makes the instance and runs it. Stop ends it.
func (s Shape) Start(ctx context.Context, o Options) (_ *Fleet, err error) {
	f := &Fleet{Shape: s, URLs: map[string]string{}, dir: o.Dir}
	if err := f.place(o); err != nil {
		return nil, err
	}
	if err := f.init(ctx, o); err != nil {
		return nil, err
	}
	if err := f.configure(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Stop())
		}
	}()
	for _, m := range f.Members {
		if err := m.Start(ctx); err != nil {
			return nil, err
		}
	}
	if s.Replicas > 1 {
		if f.proxy, err = startProxy(ctx, f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// place decides where everything listens and what its URLs are.
func (f *Fleet) place(o Options) error {
	for _, service := range services {
		addr, err := instance.FreeAddr()
		if err != nil {
			return err
		}
		f.URLs[service] = "http://" + addr
		replicas := f.Replicas
		if service == "issuer" { // has state of its own: who is signing in
			replicas = 1
		}
		for n := 1; n <= replicas; n++ {
			if replicas > 1 {
				if addr, err = instance.FreeAddr(); err != nil {
					return err
				}
			}
			f.member(o, service, n).listen[service] = addr
		}
	}
	return nil
}

// member returns the process that a replica of a service runs in.
func (f *Fleet) member(o Options, service string, replica int) *Member {
	if !f.Apart && len(f.Members) > 0 {
		m := f.Members[0]
		m.Services = append(m.Services, service)
		return m
	}
	name := fmt.Sprint(service, " ", replica)
	if !f.Apart {
		name = "all"
	}
	m := &Member{
		Name: name, Services: []string{service}, Replica: replica, opts: o,
		config: filepath.Join(o.Dir, fmt.Sprintf("sigbox-%s-%d.yaml", service, replica)), listen: map[string]string{},
	}
	f.Members = append(f.Members, m)
	return m
}

func (f *Fleet) init(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	args := []string{"init", "--dev", "--dir", o.Dir, "--database", o.Database, "--guard", o.Guard}
	for _, s := range services {
		args = append(args, "--"+s+"-url", f.URLs[s])
	}
	if o.Token != "" {
		args = append(args, "--token", o.Token)
	}
	cmd := exec.CommandContext(ctx, o.Binary, args...)
	cmd.Env = o.Env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("sigbox init: %w\n%s", err, out)
	}
	return nil
}

// Start runs the process; it must not be running.
func (m *Member) Start(ctx context.Context) (err error) {
	args := []string{"serve", "--config", m.config}
	for _, s := range m.Services {
		args = append(args, "--only", s)
	}
	if m.Process != nil {
		m.before += m.Process.Log()
	}
	if m.Process, err = instance.Launch(ctx, m.opts.Binary, args, m.opts.Env); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return nil
}

// Config is the configuration file of the process.
func (m *Member) Config() string { return m.config }

// Settled waits until the proxy, if there is one, sends requests to every replica.
func (f *Fleet) Settled(ctx context.Context) error {
	if f.proxy == nil {
		return nil
	}
	return f.proxy.settled(ctx)
}

// Restart ends the process as an orchestrator does and starts it again.
func (m *Member) Restart(ctx context.Context) error {
	if err := m.Stop(); err != nil {
		return fmt.Errorf("%s: %w", m.Name, err)
	}
	return m.Start(ctx)
}

// Of returns the processes that run a service.
func (f *Fleet) Of(service string) (list []*Member) {
	for _, m := range f.Members {
		for _, s := range m.Services {
			if s == service {
				list = append(list, m)
			}
		}
	}
	return list
}

// Restart restarts one process after the other.
func (f *Fleet) Restart(ctx context.Context) error {
	for _, m := range f.Members {
		if err := m.Restart(ctx); err != nil {
			return err
		}
		if err := f.Settled(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Use has the processes that are started from now on be another binary's.
func (f *Fleet) Use(binary string) {
	for _, m := range f.Members {
		m.opts.Binary = binary
	}
}

// Stop ends everything.
func (f *Fleet) Stop() error {
	var errs []error
	for i := len(f.Members) - 1; i >= 0; i-- {
		if m := f.Members[i]; m.Process != nil {
			errs = append(errs, m.Stop())
		}
	}
	if f.proxy != nil {
		errs = append(errs, f.proxy.stop())
	}
	return errors.Join(errs...)
}

// Log returns what all processes wrote to standard error.
func (f *Fleet) Log() (text string) {
	for _, m := range f.Members {
		if m.Process != nil {
			text += "== " + m.Name + "\n" + m.before + m.Log()
		}
	}
	if f.proxy != nil {
		text += "== haproxy\n" + f.proxy.daemon.Log()
	}
	return text
}
