package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const dir = "../.." // root, from this package

// TestGeneratedCodeIsCurrent makes the code again and compares it with what is committed.
func TestGeneratedCodeIsCurrent(t *testing.T) {
	files, err := generate(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(sources)*len(plugins) {
		t.Errorf("%d files were made, want %d", len(files), len(sources)*len(plugins))
	}
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		if !bytes.Equal(have, want) {
			t.Errorf("%s is not what its .proto file makes: run `make proto`", name)
		}
	}
}

// TestEverySourceIsGenerated finds .proto files that nobody listed, and code without its source.
func TestEverySourceIsGenerated(t *testing.T) {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		source, _, made := strings.Cut(name, "_grpc.pb.go")
		if !made {
			source, _, made = strings.Cut(name, ".pb.go")
		}
		if made {
			name = source + ".proto"
		}
		if strings.HasSuffix(name, ".proto") && !slices.Contains(sources, name) {
			t.Errorf("%s is not among the generator's sources", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
