// Package web is the timestamp authority's face. Over HTTP POST /api/v1/timestamp takes a TimeStampReq
// in DER (application/timestamp-query) or Sigstore's JSON form (application/json), GET
// /api/v1/timestamp/certchain gives the chain as PEM, leaf first.
//
// Paths, status codes and error bodies are those of sigstore/timestamp-authority v2 (swagger
// there); RFC 3161 3.4 is the transport. Every answer has a Content-Length: gitsign needs it.
// What is wrong with a request is told in upstream's few fixed texts, the reason goes to the log.
//
// gRPC is our own service sigbox.tsa.v1.Timestamps, since upstream has none: the same DER in a message, the
// same checks, quotas and texts, and codes in place of statuses.
//
// The package decides nothing about time or certificates; tsa does.
package web
