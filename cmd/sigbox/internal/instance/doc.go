// Package instance is the data directory of `sigbox up`: what is in it, who may open it, and how
// it comes to be.
//
//	instance.json     what this instance is: format, host, tree id, when and where it last ran
//	lock              held by the one process that has the directory open
//	sigbox.db         the logs, the issuance records and the TUF metadata (SQLite)
//	keys/*.pem        one private key per role, mode 0600
//	certs/*.pem       the CA and timestamp authority chains
//	guard/            the last head of each log, outside the database
//	trust/            what clients need, written anew at each start
//
// A new directory is made beside its final place and renamed into it when it is complete, so that
// a failed first run leaves nothing behind.
package instance
