// Package quota bounds how often a client address, an identity and its issuer may write: so many
// requests in a period, all at once or spread, each of them given back when it was our fault that it
// came to nothing.
//
// Whoever is vouched for (by a verified token, or a certificate of an authority that the log knows) pays
// from the quota of the identity, and not from that of the address, so that two of them behind one
// address do not starve each other. Everybody else pays from the address and, once a signature has told
// the key, from that of the key too. What a log holds already is paid by the address alone: anybody can send
// what a log shows, and nobody is to pay for what others send.
//
// A table has one number for each key that has been charged lately, and forgets the oldest when there
// are too many of them: who writes from so many addresses has as many quotas in any case. Quotas are of
// this process. Each of n replicas has its own, so that a client that is spread over them has n times as
// much.
//
// golang.org/x/time/rate is not used: its reservations cannot be cancelled once they have been acted
// upon, and one limiter takes ten times the memory of the number here (the generic cell rate algorithm).
package quota
