// Package shardpath says where one shard of a Rekor v2 log is served by itself: below /shards/ and its log
// id, on every host of the log. The address of the log is that of the shard that takes entries; one that
// another goes on for at the same host is found here from then on, and the trust root names it here.
package shardpath
