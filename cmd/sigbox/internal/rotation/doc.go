// Package rotation replaces a key by the next one in steps, so that no verification fails meanwhile, and
// keeps in a [Journal] where each replacement stands (docs/design/0018).
//
//	begun      the number of the next key is taken
//	made       the key is there, and the certificate that it needs
//	published  clients can learn it; nobody signs with it
//	switched   it signs; clients trust both
//	(retired)  the old key has an end in the trust root: what it signed before verifies for ever
//
// Keys of one kind are numbered: number 1 is the one that the instance was made with. The journal says
// which number signs, so that a switch is one file that is replaced as a whole, and whoever reads it sees
// the keys of before or those of after.
//
// A [Machine] does a step and then writes it down. Every step can be done twice, which is what happens where
// the process was killed in between: whoever goes on does the step again and finds its work. What a step does
// is its [Work], which belongs to the wiring: the package knows no key, no certificate and no repository.
package rotation
