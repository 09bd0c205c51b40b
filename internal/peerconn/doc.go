// Package peerconn opens gRPC connections to other services of an instance.
//
// Who may be at the other end is for the credentials to say. The package says how an address is used: all
// that a name stands for, in turn, without a proxy and without settings from the DNS, and a peer that has
// gone is noticed without a call.
package peerconn
