// Package setup is `sigbox init`: it makes the directory that `sigbox serve` runs from, with keys,
// certificates, a configuration, database schemas and users, logs, and the first trust root
// (docs/design/0009).
//
//	DIR/init.json     what was asked for, and what was drawn at random; the first file that is made
//	DIR/sigbox.yaml   the configuration, for people to read and to edit
//	DIR/ca/           what a process of that service needs, and so for tlog/, tuf/ and issuer/
//	DIR/public/       what everybody may see, and all services need
//	DIR/peers/        the key of the authority of the services' own certificates
//	DIR/offline/      --dev only: the keys that --production has elsewhere
//	DIR/requests/     --production: what the holders of offline keys are asked for
//	DIR/lock          held while init runs
//
// [Run] goes through steps in a fixed order. Each looks at what is there and makes what is missing, a file
// at a time, each of them whole or not at all; what was drawn at random is on disk before anything is
// derived from it. So a run that was killed, at whatever point, is gone on with by the next, and one after
// success changes nothing. Nothing that is there is ever written over, but for a trust statement that does
// not say any more what the instance is, as long as nobody was asked to sign it.
//
// It wires and decides nothing: certificates are made by ca/pki, schemas by migrations, logs and statements
// by stack, and the trust root by the packages below tuf.
package setup
