// Package airgap takes an instance's trust out to a file and into a mirror behind an air gap: the part of
// tuf/airgap that knows the network, files and the mirror's database.
//
// [Export] fetches what a client would, through verified TUF updates, and the heads of the logs that the
// trusted root names, with proofs that they extend those of the export before. [Mirror] is the directory of a
// mirror: its two keys, the root that it was given, its repository and what was imported.
package airgap
