// Package config is the configuration file of `sigbox serve`: one YAML document, decoded strictly
// into documented structs.
//
// The structs are the reference. Their comments say unit and consequence, their tags the default and
// the bounds; [Explain] and [Reference] are made from both, so that no other text has to be kept in
// step. [Load] reports every problem of a file at once, each with file, line and key. It looks at
// nothing that the file names.
//
// A secret is never in the file, only a reference to it: see [Secret].
package config
