//go:build !cgo

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "sigbox-pkcs11: this one was built without cgo and cannot load a module: build it with CGO_ENABLED=1")
	os.Exit(1)
}
