// Package foreignrepo reads the files of other people's TUF repositories, for tuf/foreign: over HTTP, or from a
// directory that somebody carried to where there is no network.
//
// It verifies nothing: what it returns is bounded in size and in time, and no path leaves the repository.
package foreignrepo
