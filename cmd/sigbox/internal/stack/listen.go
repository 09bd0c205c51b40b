package stack

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/sigbox/sigbox/internal/httpx"
)

// Limits of every listener. Sigstore clients wait 5 to 90 s for an answer; none sends headers
// near 64 KiB.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	drainTimeout      = 20 * time.Second
	streamPatience    = 15 * time.Second // with a client that takes nothing; less than drainTimeout
	pingAfter         = 30 * time.Second // without a frame, to find dead peers
	pingTimeout       = 15 * time.Second
)

// Listen opens a TCP listener on a loopback address. host is what URLs say: the host part of
// addr as it was written, in lower case: clients compare URLs byte by byte.
func Listen(addr string) (ln net.Listener, host string, err error) {
	host, _, err = net.SplitHostPort(addr)
	if err != nil {
		return nil, "", fmt.Errorf("listen address %q: want HOST:PORT, for example 127.0.0.1:8080", addr)
	}
	if !isLoopback(host) {
		return nil, "", fmt.Errorf("listen address %s is reachable from other machines, and `up` runs a development issuer that signs in anybody: "+
			"listen on 127.0.0.1, and put a tunnel (ssh -L) in front to reach it from elsewhere", addr)
	}
	ln, err = net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, "", fmt.Errorf("address %s is in use by another program: stop it, or choose another port with --listen", addr)
	}
	if err != nil {
		return nil, "", fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return ln, strings.ToLower(host), nil
}

// isLoopback says whether host can only be reached from this machine. A name other than
// localhost is not looked up: what it resolves to may change.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// LoadTLS reads a certificate chain and its key for Serve.
func LoadTLS(certFile, keyFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", certFile, keyFile, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, nil
}

// SelfTLS is the client side of a server's TLS configuration: it takes exactly the certificate that
// the server shows, so that a process can talk to itself whoever signed it. nil stays nil.
func SelfTLS(server *tls.Config) *tls.Config {
	if server == nil {
		return nil
	}
	own := server.Certificates[0].Certificate[0]
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // in favour of the check below, which is stricter
		VerifyPeerCertificate: func(shown [][]byte, _ [][]*x509.Certificate) error {
			if len(shown) == 0 || !bytes.Equal(shown[0], own) {
				return errors.New("another server answers at this instance's address")
			}
			return nil
		},
	}
}

// Serve answers HTTP/1.1 and HTTP/2 on ln until ctx ends, then lets requests under way finish.
// Without a TLS configuration HTTP/2 is spoken in the clear (h2c, prior knowledge).
func Serve(ctx context.Context, ln net.Listener, h http.Handler, secure *tls.Config) error {
	srv := &http.Server{
		Handler: httpx.Linger(h), ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 250, SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	srv.Protocols.SetHTTP1(true)
	// gRPC shares the port: sigstore-java dials the CA URL's authority.
	srv.Protocols.SetHTTP2(secure != nil)
	srv.Protocols.SetUnencryptedHTTP2(secure == nil)
	done := make(chan error, 1)
	go func() {
		if secure != nil {
			srv.TLSConfig = secure
			done <- srv.ServeTLS(ln, "", "")
			return
		}
		done <- srv.Serve(ln)
	}()
	select {
	case err := <-done:
		return fmt.Errorf("serve %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("some requests did not finish within %s", drainTimeout), srv.Close())
	}
	return nil
}
