// Package rpcerr is the one table from a log's errors to the status that a gRPC client is told, and
// the one line about it in our own log. A face that owes its clients other codes or words for an
// error, because another server set them first, looks there first and here for the rest.
//
// What a client reads never holds an internal error.
package rpcerr
