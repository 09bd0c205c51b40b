package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"

	_ "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf" // registers rekor/v2/*.proto
)

// root is the folder of the .proto files, below the module's root.
const root = "proto"

// sources are the files, below root.
var sources = []string{"sigbox/tlog/v1/log.proto", "sigbox/trust/v1/trust.proto", "sigbox/tsa/v1/tsa.proto"}

// plugins are tools of go.mod.
var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	files, err := generate(ctx, root)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(root, name), files[name], 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", filepath.Join(root, name))
	}
	return nil
}

// generate returns the Go files, named below dir, in which the .proto files are.
func generate(ctx context.Context, dir string) (map[string][]byte, error) {
	req, err := compile(ctx, dir)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, plugin := range plugins {
		answer, err := ask(ctx, plugin, req)
		if err != nil {
			return nil, err
		}
		for _, f := range answer.File {
			out[f.GetName()] = []byte(f.GetContent())
		}
	}
	return out, nil
}

// compile makes the request that protoc would send to a plugin.
func compile(ctx context.Context, dir string) (*pluginpb.CodeGeneratorRequest, error) {
	linked := protocompile.ResolverFunc(func(path string) (protocompile.SearchResult, error) {
		d, err := protoregistry.GlobalFiles.FindFileByPath(path)
		return protocompile.SearchResult{Desc: d}, err
	})
	compiler := protocompile.Compiler{
		Resolver:       protocompile.CompositeResolver{&protocompile.SourceResolver{ImportPaths: []string{dir}}, linked},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, err
	}
	var all []*descriptorpb.FileDescriptorProto
	for _, f := range files {
		all = withImports(all, f)
	}
	return &pluginpb.CodeGeneratorRequest{FileToGenerate: sources, Parameter: proto.String("paths=source_relative"), ProtoFile: all}, nil
}

// withImports appends a file to list, after those that it imports, unless it is there.
func withImports(list []*descriptorpb.FileDescriptorProto, f protoreflect.FileDescriptor) []*descriptorpb.FileDescriptorProto {
	if slices.ContainsFunc(list, func(have *descriptorpb.FileDescriptorProto) bool { return have.GetName() == f.Path() }) {
		return list
	}
	for i := range f.Imports().Len() {
		list = withImports(list, f.Imports().Get(i).FileDescriptor)
	}
	return append(list, protodesc.ToFileDescriptorProto(f))
}

// ask runs a plugin.
func ask(ctx context.Context, plugin string, req *pluginpb.CodeGeneratorRequest) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(req)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "tool", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go tool %s: %w", plugin, err)
	}
	answer := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out, answer); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", plugin, err)
	}
	if answer.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, strings.TrimSpace(answer.GetError()))
	}
	return answer, nil
}
