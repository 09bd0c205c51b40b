// Package ctclient logs precertificates in a certificate transparency log that runs in other processes:
// a ca.SCTSource over sigbox.tlog.v1.Logs, gRPC, with one or several equal replicas of the log.
//
// Replicas are asked in turn. One that refuses connections or does not answer within [Config.Hedge]
// delays a request by no more than that: the next one is asked too, the first answer counts, and the
// slow one is asked last for a while. That is safe because the log holds a precertificate once,
// however often it is appended, and answers with the same promise.
//
// What comes back is not verified here: the authority verifies every promise with the key that clients
// have. [Client.Check] finds out at start that the log has that key.
package ctclient
