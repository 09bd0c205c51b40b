package stack

import (
	"context"
	"fmt"
	"net"

	"github.com/sigbox/sigbox/cmd/sigbox/internal/config"
	"github.com/sigbox/sigbox/oidc/devidp"
)

// addIssuer adds the development issuer.
func (s *Server) addIssuer(ctx context.Context) error {
	c := s.cfg.Issuer
	key, err := loadKey(c.Key)
	if err != nil {
		return fmt.Errorf("issuer.key: %w", err)
	}
	s.keys.add("issuer.key", key)
	url := string(c.PublicURL)
	if s.idp, err = devidp.New(devidp.Config{Issuer: url, Key: key, Clock: s.clock, Logger: s.log, AllowedHosts: aliases(url)}); err != nil {
		return err
	}
	if !c.Listen.Loopback() {
		s.log.WarnContext(ctx, "THE DEVELOPMENT ISSUER SIGNS IN ANYBODY, and other machines can reach it (issuer.beyond_loopback): whoever does is anybody they say they are, "+
			"to everything that trusts this instance", "listen", c.Listen, "issuer", url)
	}
	d := s.door(c.Listen)
	s.idp.Register(d.mux)
	d.services = append(d.services, endpoint{"Development issuer", url + "/.well-known/openid-configuration"})
	return nil
}

// aliases are the Host headers that a browser on this machine may send beside those of a URL.
func aliases(origin string) []string {
	u := config.Origin(origin).URL()
	if u.Port() == "" {
		return nil
	}
	return []string{net.JoinHostPort("localhost", u.Port()), net.JoinHostPort("127.0.0.1", u.Port())}
}
