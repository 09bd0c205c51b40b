package standin

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// tree is the root directory of an image: paths in it, without the leading slash.
type tree map[string]node

// node is a file of this machine, or what header and body say.
type node struct {
	host   string
	header tar.Header
	body   string
}

// newTree returns a root as Debian lays it out, with a shell and the commands that scripts use.
func newTree(ctx context.Context) (tree, error) {
	t := tree{}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		t.link("/"+dir, "usr/"+dir)
		t.dir("/usr/"+dir, 0, 0o755)
	}
	t.dir("/tmp", 0, 0o1777)
	t.dir("/run", 0, 0o755)
	t.link("/var/run", "/run")
	t.file("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n", 0o644)
	t.file("/etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
	var programs []string
	for _, name := range []string{"sh", "cat", "chmod", "chown", "cp", "env", "id", "ls", "mkdir", "mv", "printf", "rm", "sleep", "sed", "touch"} {
		programs = append(programs, "/usr/bin/"+name)
	}
	return t, t.programs(ctx, programs...)
}

func (t tree) put(path string, h tar.Header, body string) {
	h.Name = strings.TrimPrefix(path, "/")
	t[h.Name] = node{header: h, body: body}
}

func (t tree) dir(path string, uid int, mode int64) {
	t.put(path+"/", tar.Header{Typeflag: tar.TypeDir, Mode: mode, Uid: uid, Gid: uid}, "")
}

func (t tree) link(path, target string) {
	t.put(path, tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}, "")
}

func (t tree) file(path, body string, mode int64) {
	t.put(path, tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(body))}, body)
}

// copy takes a file or a directory with all below it from this machine, to a path in the image.
func (t tree) copy(host, path string, skip ...string) error {
	return filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, p)
		if err != nil {
			return err
		}
		if d.IsDir() && slices.Contains(skip, rel) {
			return filepath.SkipDir
		}
		return t.one(p, filepath.Join(path, rel), d)
	})
}

func (t tree) one(host, path string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 { // the image may not have what it points to
		if info, err = os.Stat(host); err != nil || info.IsDir() {
			return nil
		}
	}
	h, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	h.Name = strings.TrimPrefix(path, "/")
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", ""
	if info.IsDir() {
		h.Name += "/"
		h.Mode |= 0o555
	} else if !info.Mode().IsRegular() {
		return nil
	}
	t[h.Name] = node{host: host, header: *h}
	return nil
}

// programs takes executables and the shared libraries that they load.
func (t tree) programs(ctx context.Context, paths ...string) error {
	for _, p := range paths {
		if err := t.copy(p, p); err != nil {
			return err
		}
		libs, err := libraries(ctx, p)
		if err != nil {
			return err
		}
		for _, lib := range libs {
			dir, err := filepath.EvalSymlinks(filepath.Dir(lib)) // /lib is a link
			if err != nil {
				return err
			}
			if err := t.copy(lib, filepath.Join(dir, filepath.Base(lib))); err != nil {
				return err
			}
		}
	}
	return nil
}

// libraries returns the paths that the dynamic linker loads for a program; none for a static one.
func libraries(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if err != nil {
		if text := string(out); strings.Contains(text, "not a dynamic executable") || strings.Contains(text, "statically linked") {
			return nil, nil
		}
		return nil, fmt.Errorf("ldd %s: %w: %s", program, err, out)
	}
	var libs []string
	for line := range strings.Lines(string(out)) {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "/") {
				libs = append(libs, word)
				break
			}
			if word == "not" { // found
				return nil, fmt.Errorf("ldd %s: %s", program, strings.TrimSpace(line))
			}
		}
	}
	return libs, nil
}

func (t tree) names() []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// key names the contents: an image of the same key need not be made again.
func (t tree) key() string {
	sum := sha256.New()
	for _, name := range t.names() {
		n := t[name]
		fmt.Fprintln(sum, name, n.header.Typeflag, n.header.Mode, n.header.Uid, n.header.Size, n.header.ModTime.Unix(), n.header.Linkname, n.body)
	}
	return fmt.Sprintf("%x", sum.Sum(nil)[:12])
}

// write writes the tree as a tar archive.
func (t tree) write(w io.Writer) error {
	out := tar.NewWriter(w)
	for _, name := range t.names() {
		if err := t[name].write(out); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return out.Close()
}

func (n node) write(out *tar.Writer) error {
	if err := out.WriteHeader(&n.header); err != nil {
		return err
	}
	if n.header.Typeflag != tar.TypeReg {
		return nil
	}
	if n.host == "" {
		_, err := io.WriteString(out, n.body)
		return err
	}
	f, err := os.Open(n.host)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(out, f)
	return err
}
