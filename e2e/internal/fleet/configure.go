package fleet

import (
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"

	"github.com/sigbox/sigbox/e2e/internal/instance"
)

// configure writes a configuration for each process: the one that init made, but for the addresses,
// which replicas on one machine cannot share.
func (f *Fleet) configure() error {
	raw, err := os.ReadFile(filepath.Join(f.dir, "sigbox.yaml"))
	if err != nil {
		return err
	}
	peers := map[string][]string{}
	for _, m := range f.Members {
		for _, s := range m.Services {
			addr, err := instance.FreeAddr()
			if err != nil {
				return err
			}
			m.listen[s+" peers"] = addr
			peers[s] = append(peers[s], addr)
		}
	}
	for _, m := range f.Members {
		var file map[string]any
		if err := yaml.Unmarshal(raw, &file); err != nil {
			return fmt.Errorf("sigbox.yaml: %w", err)
		}
		if err := m.edit(file, peers); err != nil {
			return fmt.Errorf("sigbox.yaml: %w", err)
		}
		if m.opts.Change != nil {
			m.opts.Change(file)
		}
		out, err := yaml.Marshal(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(m.config, out, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// edit puts addresses in. A section that is not there is an error: nothing here may pass by not
// being what it is said to be.
func (m *Member) edit(file map[string]any, peers map[string][]string) error {
	file["shutdown_delay"] = shutdownDelay.String()
	for _, s := range m.Services {
		section, err := sub(file, s)
		if err != nil {
			return err
		}
		section["listen"] = m.listen[s]
		if s == "issuer" {
			continue
		}
		own, err := sub(section, "peers")
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		if s == "tuf" {
			section["sources"] = append(append([]string{}, peers["ca"]...), peers["tlog"]...)
			continue
		}
		own["listen"] = m.listen[s+" peers"]
	}
	ca, err := sub(file, "ca")
	if err != nil {
		return err
	}
	ct, err := sub(ca, "ct")
	if err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	ct["address"] = peers["tlog"]
	return nil
}

func sub(in map[string]any, key string) (map[string]any, error) {
	v, ok := in[key].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("there is no section %s", key)
	}
	return v, nil
}
