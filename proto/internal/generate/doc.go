// Command generate writes the Go code of the .proto files under proto/, beside them. `make proto`
// runs it.
//
// It needs no protoc: the files are compiled by a Go library, their imports are taken from the
// generated packages that go.mod names, and the plugins are tools of go.mod too. So go.mod pins
// every version, and the package's test makes the code again and compares it byte for byte.
package main
