// Package clients writes, for one instance, the exact files and settings of every program that signs or
// verifies with it, and says what that program cannot do.
//
// # To add or change a consumer
//
// Everything about a consumer is in one file, consumers/NAME.txt; there is no list to add it to. It begins
// with lines "key: value" and goes on with the files that `sigbox clients NAME` writes, each a text/template
// under a line "-- PATH --" (see [parse] for the keys, [Instance] for the fields):
//
//	title: cosign 3
//	group: command line
//	about: Signs and verifies blobs, images and attestations.
//	needs: root.json env-cosign3.sh
//	no v2: why the matrix has no yes there (keys: no|partly sign|verify|attest|offline|v1|v2)
//	cannot: one thing that it cannot do, a line each
//	-- sign.sh --
//	. {{.File "env-cosign3.sh" | sh}}
//	cosign sign --yes {{.Image | sh}}
//
// "-- PATH verbatim --" is text that is no template, and "-- PATH from NAME --" the template
// consumers/shared/NAME. Braces for others are written {{"{{"}}.
//
// Every value that is printed ends in a function that says how it is quoted, or the template is refused
// when it is read (quote.go): sh for a word of a shell, yaml or json for a scalar, groovy for Jenkins, git for
// a file of git's configuration, b64 for base64 and lines for the same in lines, "pem 4" for PEM in a YAML block
// of four spaces, object for a JSON file. Nothing else goes between quotes.
//
// A template names no version of a client and no date. {{version "cosign-3"}} gives the version that was
// run, and is an error while there is no result file of it; the line below the title says it too.
//
// # Results
//
// Package internal/runs holds what the end-to-end tests saw. A client of the tests whose program is wrapped
// (e2e/internal/ran) has its commands in the row of the README's table that the test fills; the file is
// internal/runs/results/NAME.json with the same NAME as here.
//
// Instances come from [FromTrust]: of what a TUF client has verified, or of what this process serves.
package clients
