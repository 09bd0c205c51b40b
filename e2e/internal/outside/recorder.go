package outside

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Recorder notes names and addresses, inside the namespace of Command.
type Recorder struct {
	mu    sync.Mutex
	names map[string]bool
	dials map[netip.AddrPort]bool

	dns    *net.UDPConn
	sock   int
	marked chan struct{} // a marker packet came by
}

// marker is an address of a documentation range (RFC 5737) that nobody else sends to.
var marker = netip.MustParseAddrPort("198.51.100.1:9")

// Record starts the resolver on 127.0.0.1:53 and the watch on lo. They end with the process.
func Record() (*Recorder, error) {
	r := &Recorder{names: map[string]bool{}, dials: map[netip.AddrPort]bool{}, marked: make(chan struct{}, 1)}
	var err error
	if r.dns, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 53}); err != nil {
		return nil, fmt.Errorf("recording resolver: %w", err)
	}
	const all = 0x0300 // ETH_P_ALL in network byte order
	if r.sock, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, all); err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	if err := syscall.SetsockoptInt(r.sock, syscall.SOL_SOCKET, syscall.SO_RCVBUF, 16<<20); err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	go r.resolve()
	go r.watch()
	return r, nil
}

// Settle waits until every packet sent so far is noted: it sends one more and waits for that.
func (r *Recorder) Settle() error {
	select {
	case <-r.marked: // of an earlier call
	default:
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(marker))
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte{0}); err != nil {
		return err
	}
	select {
	case <-r.marked:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("the packet socket is blind")
	}
}

// Names returns the names that were asked for, sorted.
func (r *Recorder) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for n := range r.names {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// Dials returns the addresses to which a TCP connection was opened or a UDP datagram was sent,
// other than answers and the resolver itself, sorted.
func (r *Recorder) Dials() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []netip.AddrPort
	for a := range r.dials {
		out = append(out, a)
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}

// resolve answers every question with REFUSED.
func (r *Recorder) resolve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := r.dns.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		var msg dnsmessage.Message
		if msg.Unpack(buf[:n]) != nil || len(msg.Questions) == 0 {
			continue
		}
		r.mu.Lock()
		for _, q := range msg.Questions {
			r.names[q.Name.String()] = true
		}
		r.mu.Unlock()
		reply := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: msg.ID, Response: true, RCode: dnsmessage.RCodeRefused},
			Questions: msg.Questions,
		}
		if out, err := reply.Pack(); err == nil {
			_, _ = r.dns.WriteToUDPAddrPort(out, from) // the asker may be gone
		}
	}
}

// watch reads every packet on every interface of the namespace.
func (r *Recorder) watch() {
	buf := make([]byte, 128)
	for {
		n, _, err := syscall.Recvfrom(r.sock, buf, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		if to, ok := dialled(buf[:n]); ok && to == marker {
			select {
			case r.marked <- struct{}{}:
			default: // lo shows a packet twice, going out and coming in
			}
		} else if ok {
			r.mu.Lock()
			r.dials[to] = true
			r.mu.Unlock()
		}
	}
}

// dialled reads an Ethernet frame: the destination of a TCP SYN or of a UDP datagram that is
// not to or from port 53.
func dialled(frame []byte) (netip.AddrPort, bool) {
	var none netip.AddrPort
	if len(frame) < 14 {
		return none, false
	}
	packet := frame[14:]
	var proto byte
	var dst netip.Addr
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if len(packet) < 20 || len(packet) < int(packet[0]&15)*4 {
			return none, false
		}
		proto, dst = packet[9], netip.AddrFrom4([4]byte(packet[16:20]))
		packet = packet[int(packet[0]&15)*4:]
	case 0x86dd:
		if len(packet) < 40 {
			return none, false
		}
		proto, dst = packet[6], netip.AddrFrom16([16]byte(packet[24:40]))
		packet = packet[40:]
	default:
		return none, false
	}
	if len(packet) < 8 {
		return none, false
	}
	from, to := binary.BigEndian.Uint16(packet), binary.BigEndian.Uint16(packet[2:])
	switch proto {
	case syscall.IPPROTO_TCP:
		const syn, ack = 0x02, 0x10
		if len(packet) < 14 || packet[13]&(syn|ack) != syn {
			return none, false
		}
	case syscall.IPPROTO_UDP:
		if from == 53 || to == 53 {
			return none, false
		}
	default:
		return none, false
	}
	return netip.AddrPortFrom(dst, to), true
}
