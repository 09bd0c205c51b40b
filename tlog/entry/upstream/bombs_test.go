package upstream_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/sigbox/sigbox/tlog/entry"
	"github.com/sigbox/sigbox/tlog/entry/entrytest"
	"github.com/sigbox/sigbox/tlog/entry/upstream"
)

func allKinds() entry.Kinds { return upstream.Kinds() }

// What one entry may cost at most, all that was ever allocated, freed or not.
const (
	mostAllocated = 32 << 20
	mostTime      = time.Second
)

type bomb struct {
	from string // a kept proposal
	path string // of what is replaced in it
	data []byte
	want string // in the refusal
}

// TestBombs: what unpacks, nests or promises without end costs little and is refused.
func TestBombs(t *testing.T) {
	good := kept(t)
	for name, b := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			path := strings.Split(b.path, ".")
			proposed := edit(t, good[b.from], path, set(b.data))
			proposed = edit(t, proposed, append(path[:len(path)-1:len(path)-1], "hash"), set(removed)) // of the good one
			if len(proposed) > 4<<20 {
				t.Fatalf("%d bytes: no server reads it", len(proposed))
			}
			var v struct{ Kind string }
			if err := json.Unmarshal(proposed, &v); err != nil {
				t.Fatal(err)
			}
			spec := entrytest.Spec(t, proposed)
			within(t, func() {
				_, err := allKinds().Parse(entry.Kind{Name: v.Kind, Version: "0.0.1"}, spec)
				if !errors.Is(err, entry.ErrInvalid) || !strings.Contains(err.Error(), b.want) {
					t.Errorf("error = %v, want %q", err, b.want)
				}
				if strings.Contains(fmt.Sprint(entry.Cause(err)), "panic:") {
					t.Errorf("panicked: %v", entry.Cause(err))
				}
			})
		})
	}
}

// within runs f, which may cost no more than one entry may.
func within(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := cpuTime(t)
	f()
	took := cpuTime(t) - start
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > mostAllocated {
		t.Errorf("%d MiB allocated", n>>20)
	}
	if took > mostTime {
		t.Errorf("%v of processor time", took)
	}
}

// cpuTime is what this process has used, which other processes do not lengthen.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func bombs(t *testing.T) map[string]bomb {
	out := map[string]bomb{}
	jar := func(name, want string, data []byte) { out["jar: "+name] = bomb{"jar", "archive.content", data, want} }
	apk := func(name, want string, data []byte) {
		out["apk: "+name] = bomb{"alpine", "package.content", data, want}
	}
	rpm := func(name, want string, data []byte) { out["rpm: "+name] = bomb{"rpm", "package.content", data, want} }
	jars(t, jar)
	apks(t, apk)
	rpms(t, rpm)
	pgps(t, out)
	helms(t, out)
	cose := func(name string, data []byte) { out["cose: "+name] = bomb{"cose", "message", data, "cose: "} }
	cose("nesting", append(bytes.Repeat([]byte{0x81}, 10_000), 0x80))
	cose("tags", append(bytes.Repeat([]byte{0xd2}, 10_000), 0x80))
	cose("indefinite array", append([]byte{0xd2, 0x9f}, bytes.Repeat([]byte{0x80}, 100_000)...))
	cose("array of 2^62", []byte{0xd2, 0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0})
	cose("text of 2^31", []byte{0xd2, 0x84, 0x43, 0xa1, 1, 0x26, 0xa0, 0x5a, 0x80, 0, 0, 0})
	cose("map of 900,000", append([]byte{0xd2, 0x84, 0x40, 0xba, 0, 6, 0xdd, 0xd0}, bytes.Repeat([]byte{0, 0}, 450_000)...))
	cose("payload of nothing", []byte{0xd2, 0x84, 0x43, 0xa1, 1, 0x26, 0xa0, 0xf6, 0x40})
	out["cose: too long"] = bomb{"cose", "message", make([]byte, 1_000_001), "larger than"}
	out["rfc3161: too long"] = bomb{"rfc3161", "tsr.content", make([]byte, 10<<10+1), "larger than"}
	out["rfc3161: length of 2 GiB"] = bomb{"rfc3161", "tsr.content", []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, "rfc3161: "}
	out["rfc3161: indefinite length"] = bomb{"rfc3161", "tsr.content", []byte{0x30, 0x80, 0x30, 0x80, 0, 0, 0, 0}, "rfc3161: "}
	out["rfc3161: not granted"] = bomb{"rfc3161", "tsr.content", []byte{0x30, 5, 0x30, 3, 2, 1, 2}, "not granted"}
	out["rfc3161: granted, no token"] = bomb{"rfc3161", "tsr.content", []byte{0x30, 5, 0x30, 3, 2, 1, 0}, "rfc3161: "}
	out["rfc3161: nesting"] = bomb{"rfc3161", "tsr.content", nested(t, 2000), "rfc3161: "}
	return out
}

func nested(t *testing.T, n int) (der []byte) {
	for range n {
		l := len(der)
		der = append([]byte{0x30, 0x82, byte(l >> 8), byte(l)}, der...)
	}
	if len(der) > 10<<10 {
		der = der[len(der)-10<<10:]
	}
	return der
}

type file struct {
	name string
	data []byte
}

func zipOf(t *testing.T, files ...file) []byte {
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if len(f.data) == 0 { // a compressor for each is slow
			h.Method = zip.Store
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func jars(t *testing.T, add func(name, want string, data []byte)) {
	signed := []file{{"META-INF/MANIFEST.MF", []byte("Manifest-Version: 1.0\r\n\r\n")}, {"META-INF/A.SF", nil}, {"META-INF/A.RSA", nil}}
	with := func(more ...file) []byte { return zipOf(t, append(signed[:3:3], more...)...) }
	add("48 MB of zeros", "exceeds", with(file{"a.class", make([]byte, 48<<20)}))
	add("2 MiB in META-INF", "exceeds", with(file{"META-INF/x.txt", make([]byte, 2<<20)}))
	add("2 MiB of manifest", "exceeds", zipOf(t, signed[1], signed[2], file{"META-INF/MANIFEST.MF", make([]byte, 2<<20)}))
	add("100,000 sections", "sections", zipOf(t, signed[1], signed[2], file{"META-INF/MANIFEST.MF", bytes.Repeat([]byte("Name:a\n\n"), 100_000)}))
	var many []file
	for i := range 10_001 {
		many = append(many, file{name: fmt.Sprint(i)})
	}
	add("10,001 files", "more than 10000 files", with(many...))
	add("a file twice", "twice", with(file{name: "a"}, file{name: "a"}))
	add("a manifest twice", "twice", with(file{name: "meta-inf/manifest.mf"}))
	add("../", "leads out", with(file{name: "a/../../b"}))
	add("absolute", "leads out", with(file{name: "/etc/passwd"}))
	add("backslash", "leads out", with(file{name: `..\a`}))
	add("no signature", "0 signature files", zipOf(t, signed[0]))
	add("two signatures", "2 signature files", with(file{name: "META-INF/B.SF"}, file{name: "META-INF/B.RSA"}))
	add("empty signature", "jar: ", with())
	add("no zip", "not a zip", []byte("PK\x03\x04"))
	lies := with(file{"a.class", make([]byte, 48<<20)})
	i := bytes.LastIndex(lies, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(lies[i+24:], 10) // its size unpacked
	add("48 MB that say they are 10 bytes", "", lies)
	overlap := with(file{"a", bytes.Repeat([]byte("x"), 1000)}, file{"b", bytes.Repeat([]byte("x"), 1000)})
	i = bytes.LastIndex(overlap, []byte("PK\x01\x02"))
	j := bytes.LastIndex(overlap[:i], []byte("PK\x01\x02"))
	copy(overlap[i+42:i+46], overlap[j+42:j+46]) // where its header is
	add("overlap", "overlap", overlap)
	zip64 := with(file{"a", []byte("x")})
	i = bytes.LastIndex(zip64, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(zip64[i+20:], 0xffffffff)
	binary.LittleEndian.PutUint32(zip64[i+24:], 0xffffffff)
	add("zip64 that is not there", "", zip64)
	renamed := with(file{"a.class", []byte("x")})
	copy(renamed[bytes.LastIndex(renamed, []byte("PK\x01\x02"))+46:], "b.class")
	add("another name in the directory", "another name", renamed)
	hidden := with(file{"b.class", []byte("x")}) // whose header, for those who read from the front, is that of a.class
	i = bytes.LastIndex(hidden, []byte("PK\x03\x04"))
	outer := append(bytes.Clone(hidden[i:i+30]), "a.class"...)
	binary.LittleEndian.PutUint16(outer[28:], 37)
	j = bytes.Index(hidden, []byte("PK\x01\x02"))
	hidden = slices.Concat(hidden[:i], outer, hidden[i:])
	k := bytes.LastIndex(hidden, []byte("PK\x05\x06"))
	binary.LittleEndian.PutUint32(hidden[k+16:], uint32(j+len(outer)))
	add("a header in a header", "another name", hidden)
	gone := with(file{"a", []byte("x")})
	i = bytes.LastIndex(gone, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(gone[i+42:], 1<<30)
	add("header outside", "no header", gone)
}

func gzipOf(t *testing.T, data []byte) []byte {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func tarOf(t *testing.T, files ...file) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func apks(t *testing.T, add func(name, want string, data []byte)) {
	sig := gzipOf(t, tarOf(t, file{".SIGN.RSA.x", []byte("x")}))
	info := func(text string) []byte {
		return append(bytes.Clone(sig), gzipOf(t, tarOf(t, file{".PKGINFO", []byte(text)}))...)
	}
	huge := gzipOf(t, make([]byte, 48<<20))
	add("48 MB of signature", "signature exceeds", huge)
	add("48 MB of control", "control exceeds", append(bytes.Clone(sig), huge...))
	add("100,000 members", "signature", bytes.Repeat(gzipOf(t, nil), 100_000))
	add("2 MiB of .PKGINFO", "exceeds", info(strings.Repeat("a = b\n", 2<<20/6)))
	add("300 KiB of .PKGINFO", ".PKGINFO exceeds", info(strings.Repeat("a = b\n", 300<<10/6)))
	laughs := "a0 = ha\n"
	for i := range 60 {
		laughs += fmt.Sprintf("a%d = %%(a%d)s%%(a%d)s\n", i+1, i, i)
	}
	add("values that refer to values", "reference", info(laughs))
	for name, size := range map[string]string{"1 GiB": "10000000000", "8 GiB": "77777777777"} {
		lie := tarOf(t, file{".SIGN.RSA.x", []byte("x")})
		copy(lie[124:136], size+"\x00")
		sumHeader(lie[:512])
		add(name+" in a tar header", "larger than the archive", append(gzipOf(t, lie), sig...))
	}
	add("sparse file of 1 GiB", "", append(gzipOf(t, sparse(t)), sig...))
	add("sparse file of 1 GiB, as GNU tar wrote it once", "", append(gzipOf(t, gnuSparse()), sig...))
	add("headers about headers, without a file", "", append(gzipOf(t, bytes.Repeat(tarBlock("x", 'x', []byte("9 a=bcde\n")), 900)), sig...))
	add("names about names", "", append(gzipOf(t, bytes.Repeat(tarBlock("././@LongLink", 'L', []byte("name\x00")), 900)), sig...))
	add("no signature", "alpine: no signature", append(gzipOf(t, tarOf(t)), gzipOf(t, tarOf(t, file{".PKGINFO", []byte("datahash = 00\n")}))...))
	add("no .PKGINFO", "alpine: .PKGINFO", append(bytes.Clone(sig), sig...))
	add("wrong datahash", "alpine: checksum", append(info("datahash = 00\n"), "data"...))
	add("no gzip", "no gzip member", []byte("x"))
	add("one member", "no gzip member for its control", sig)
}

// sparse is a tar archive with a sparse file (PAX, GNU 1.0) of 1 GiB.
func sparse(t *testing.T) []byte {
	var buf bytes.Buffer
	pax := ""
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=.SIGN.RSA.x", "GNU.sparse.realsize=1073741824"} {
		n := len(kv) + 2
		n += len(fmt.Sprint(n + 2))
		pax += fmt.Sprintf("%d %s\n", n, kv)
	}
	buf.Write(tarBlock("x", 'x', []byte(pax)))
	m := make([]byte, 512)
	copy(m, "1\n1073741823\n1\n")
	buf.Write(tarBlock("GNUSparseFile/x", '0', append(m, 'x')))
	buf.Write(make([]byte, 1024))
	return buf.Bytes()
}

// gnuSparse is the same in the old form: one byte at the end of 1 GiB.
func gnuSparse() []byte {
	b := tarBlock(".SIGN.RSA.x", 'S', []byte("x"))
	h := b[:512]
	copy(h[257:], "ustar  \x00")
	copy(h[386:], "07777777777\x0000000000001\x00")
	copy(h[483:], "10000000000\x00")
	sumHeader(h)
	return append(b, make([]byte, 1024)...)
}

// tarBlock is a header of tar with its data.
func tarBlock(name string, typ byte, data []byte) []byte {
	h := make([]byte, 512)
	copy(h, name)
	copy(h[100:], "0000644\x00")
	copy(h[124:], fmt.Sprintf("%011o\x00", len(data)))
	h[156] = typ
	copy(h[257:], "ustar\x0000")
	sumHeader(h)
	return slices.Concat(h, data, make([]byte, (512-len(data)%512)%512))
}

func sumHeader(h []byte) {
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func rpms(t *testing.T, add func(name, want string, data []byte)) {
	header := func(tags, size uint32, rest ...byte) []byte {
		b := make([]byte, 96, 200)
		copy(b, "\xed\xab\xee\xdb")
		b = binary.BigEndian.AppendUint32(b, 0x8eade801)
		b = binary.BigEndian.AppendUint32(b, 0)
		b = binary.BigEndian.AppendUint32(b, tags)
		b = binary.BigEndian.AppendUint32(b, size)
		return append(b, rest...)
	}
	tag := func(typ, offset, count uint32) (b []byte) {
		for _, n := range []uint32{1000, typ, offset, count} {
			b = binary.BigEndian.AppendUint32(b, n)
		}
		return b
	}
	add("header of 2 GiB", "larger than the package", header(0, 1<<31))
	add("2^28 tags", "more than 10000 tags", header(1<<28, 0))
	add("tags beyond the end", "larger than the package", header(100, 0))
	add("value beyond the end", "outside", header(1, 8, append(tag(4, 4, 1<<30), make([]byte, 8)...)...))
	add("offset beyond the end", "outside", header(1, 8, append(tag(4, 1<<31, 1), make([]byte, 8)...)...))
	add("bytes beyond the end", "outside", header(1, 8, append(tag(7, 4, 1<<31), make([]byte, 8)...)...))
	add("string without end", "do not end", header(1, 8, append(tag(6, 0, 1), "xxxxxxxx"...)...))
	add("2^31 strings", "do not end", header(1, 8, append(tag(8, 0, 1<<31), make([]byte, 8)...)...))
	add("nothing", "no header", header(0, 0)[:96])
	add("no signature header", "no header", make([]byte, 200))
	add("shorter than its lead", "shorter", []byte("\xed\xab\xee\xdb"))
	var many []byte
	for range 10_000 {
		many = append(many, tag(8, 0, 1)...)
	}
	add("10,000 tags of one long string", "overlap too much", header(10_000, 1<<20, append(many, append(bytes.Repeat([]byte("x"), 1<<20-1), 0)...)...))
}

func pgps(t *testing.T, out map[string]bomb) {
	add := func(name, want string, data []byte) {
		out["pgp key: "+name] = bomb{"rekord-pgp-binary", "signature.publicKey.content", data, want}
	}
	e, err := openpgp.NewEntity("a", "", "a@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var secret bytes.Buffer
	if err := e.SerializePrivate(&secret, nil); err != nil {
		t.Fatal(err)
	}
	add("secret", "type 5", secret.Bytes())
	for range 600 {
		if err := e.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}); err != nil {
			t.Fatal(err)
		}
	}
	var key bytes.Buffer
	if err := e.Serialize(&key); err != nil {
		t.Fatal(err)
	}
	add("600 subkeys", "more than 1000 PGP packets", key.Bytes())
	compressed := []byte{0xcb, 0}
	for range 50 {
		var buf bytes.Buffer
		buf.WriteByte(2) // zlib
		w, err := flate.NewWriter(&buf, 9)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(compressed)
		_ = w.Close()
		compressed = append([]byte{0xc8, 0xff}, binary.BigEndian.AppendUint32(nil, uint32(buf.Len()))...)
		compressed = append(compressed, buf.Bytes()...)
	}
	add("nested compression", "type 8", compressed)
	add("no user id", "pgp", primaryOnly(t, e))
	add("partial lengths without end", "", append([]byte{0xc6}, bytes.Repeat([]byte{0xe0, 0}, 10_000)...))
	add("length of 4 GiB", "", []byte{0xc6, 0xff, 0xff, 0xff, 0xff, 0xff})
	add("armour without end", "armour", []byte("-----BEGIN PGP PUBLIC KEY BLOCK-----\n"+strings.Repeat("A: b\n", 50_000)))
	add("too large", "larger than", make([]byte, 512<<10+1))
	out["pgp signature: compressed"] = bomb{"rekord-pgp-binary", "signature.content", compressed, "type 8"}
	out["pgp signature: too large"] = bomb{"rekord-pgp-binary", "signature.content", make([]byte, 64<<10+1), "larger than"}
	out["ssh: too large"] = bomb{"rekord-ssh-rsa", "signature.publicKey.content", make([]byte, 64<<10+1), "larger than"}
}

func primaryOnly(t *testing.T, e *openpgp.Entity) []byte {
	var buf bytes.Buffer
	if err := e.PrimaryKey.Serialize(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// helms are provenance files with a signature that holds.
func helms(t *testing.T, out map[string]bomb) {
	e, err := openpgp.NewEntity("a", "", "a@example.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, want, yaml string) {
		var buf bytes.Buffer
		w, err := clearsign.Encode(&buf, e.PrivateKey, &packet.Config{DefaultHash: crypto.SHA256})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, "name: x\n\n...\n"+yaml)
		_ = w.Close()
		out["helm: "+name] = bomb{"helm", "chart.provenance.content", buf.Bytes(), want}
	}
	laughs := "a0: &a0 [ha]\n"
	for i := range 30 {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	add("aliases of aliases", "helm: ", laughs)
	add("two files", "exactly one chart", "files:\n  a: sha256:00\n  b: sha256:11\n")
	add("two documents", "helm: ", "files:\n  a: sha256:"+strings.Repeat("00", 32)+"\n...\nfiles:\n  b: sha256:"+strings.Repeat("11", 32)+"\n")
	add("digest of another length", "helm: ", "files:\n  a: sha256:00\n")
	add("no file", "exactly one chart", "files: {}\n")
	add("hash without algorithm", "helm: ", "files:\n  a: x\n")
	add("nesting", "helm: ", strings.Repeat("[", 100_000))
	add("signed by another", "helm: ", "files:\n  a: sha256:00\n")
	out["helm: not clear-signed"] = bomb{"helm", "chart.provenance.content", []byte("files:\n"), "helm: "}
	var other bytes.Buffer
	w, err := armor.Encode(&other, "PGP MESSAGE", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	out["helm: a message"] = bomb{"helm", "chart.provenance.content", other.Bytes(), "helm: "}
}
