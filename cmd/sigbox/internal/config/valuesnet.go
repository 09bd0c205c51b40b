package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

var instanceForm = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (i *InstanceID) parse(text, _ string) error {
	if !instanceForm.MatchString(text) {
		return fmt.Errorf("%q is not the id of an instance: want the 32 hex digits that \"sigbox init\" made, in small letters; quote them if they look like a number", text)
	}
	*i = InstanceID(text)
	return nil
}

func (i *IssuerURL) parse(text, _ string) error {
	u, err := url.Parse(text)
	if err == nil && u.User != nil { // not quoted: there may be a password
		return errors.New("has a user in it: want the URL of the issuer as its tokens have it")
	}
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not an issuer: want its URL as its tokens have it, such as https://gitlab.example.com", text)
	}
	*i = IssuerURL(text)
	return nil
}

func (n *Network) parse(text, _ string) error {
	addr, err := netip.ParseAddr(text)
	if err == nil && addr.Zone() == "" {
		*n = Network(netip.PrefixFrom(addr, addr.BitLen()).String())
		return nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not an IP address or network: want one such as 192.0.2.7 or 10.0.0.0/8; a name is not looked up, since what it leads to may change", text)
	case p.Bits() == 0:
		return fmt.Errorf("%q is every address there is: name the networks that are meant", text)
	case p.Masked() != p:
		return fmt.Errorf("%q names one address and a network: write %s for the network, or %s for the address", text, p.Masked(), p.Addr())
	}
	*n = Network(p.String())
	return nil
}

// Prefix returns the network.
func (n Network) Prefix() netip.Prefix { return netip.MustParsePrefix(string(n)) }

func (a *PeerAddress) parse(text, _ string) error {
	host, port, err := net.SplitHostPort(text)
	switch ip := net.ParseIP(host); {
	case err != nil:
		return new(Address).parse(text, "") // which says what is wrong
	case host == "":
		return fmt.Errorf("%q names no host: want the host that the other service is at", text)
	case !validPort(port):
		return fmt.Errorf("%q has no valid port: want a number from 1 to 65535", text)
	case ip != nil && ip.IsUnspecified():
		return fmt.Errorf("%q is an address to listen on: want the host that the other service is at", text)
	case !validHost(strings.ToLower(host)):
		return fmt.Errorf("%q has no valid host", text)
	}
	*a = PeerAddress(text)
	return nil
}

func (s *Source) parse(text, dir string) error {
	if strings.ContainsAny(text, "/~") || text == "." || text == "" || !strings.Contains(text, ":") {
		if strings.Contains(text, "://") {
			return fmt.Errorf("%q is a URL: want HOST:PORT of a peers listener, or the path of a directory", text)
		}
		return setPath((*string)(s), text, dir)
	}
	return (*PeerAddress)(s).parse(text, dir)
}

// Dir tells whether the source is a directory and not an address.
func (s Source) Dir() bool { return strings.HasPrefix(string(s), "/") }
