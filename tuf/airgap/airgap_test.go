package airgap_test

import (
	"archive/tar"
	"bytes"
	"crypto"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/sigbox/sigbox/tuf"
	"github.com/sigbox/sigbox/tuf/airgap"
	"github.com/sigbox/sigbox/tuf/tuftest"
)

// TestRoundTrip: two exports, one after the other, are taken in as they were written.
func TestRoundTrip(t *testing.T) {
	o := newOutside(t)
	first := o.export(nil)
	raw, err := o.build(first)
	if err != nil {
		t.Fatal(err)
	}
	f, err := o.read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Follows(nil); err != nil {
		t.Error(err)
	}
	if f.Have != 1 || f.Want != 1 || !slices.Equal(f.Bundles(), []string{"app.sigstore.json"}) {
		t.Errorf("%d of %d signatures, bundles %q", f.Have, f.Want, f.Bundles())
	}
	o.grow(6)
	o.clock.Advance(30 * 24 * time.Hour)
	if err := o.repo.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, err = o.build(o.export(first.envelope))
	if err != nil {
		t.Fatal(err)
	}
	o.clock.Advance(20 * 24 * time.Hour) // on the way; the timestamp outside has expired since
	next, err := o.read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Follows(f.Envelope); err != nil {
		t.Error(err)
	}
	if h := next.Heads(); len(h) != 1 || h[0].Size != 11 || h[0].Carried != 6 {
		t.Errorf("heads %+v", h)
	}
}

// TestRefused: one cause a row. The manifest is signed as it is after the change, unless the row says otherwise.
func TestRefused(t *testing.T) {
	stranger := tuftest.Key(t)
	other := newOutside(t)
	for _, tc := range []struct {
		name   string
		change func(o *outside, e *export)
		want   error
		says   string
	}{
		{"not signed", func(o *outside, e *export) { e.signers = nil }, airgap.ErrSignature, "0 of 1"},
		{"signed by a stranger", func(o *outside, e *export) {
			e.change = func(s *airgap.Envelope) { s.Signatures[0].KeyID = strings.Repeat("0", 64) }
		}, airgap.ErrSignature, "not one of theirs"},
		{"signature of other bytes", func(o *outside, e *export) {
			other := o.export(nil)
			other.manifest.Mirror = "https://other.example.com/tuf"
			if _, err := o.build(other); err != nil {
				o.t.Fatal(err)
			}
			e.change = func(s *airgap.Envelope) { s.Signatures = other.envelope.Signatures }
		}, airgap.ErrSignature, "changed after it was signed"},
		{"signed twice by one key", func(o *outside, e *export) {
			e.change = func(s *airgap.Envelope) { s.Signatures = append(s.Signatures, s.Signatures[0]) }
		}, airgap.ErrSignature, "twice"},
		{"a signature that is no base64", func(o *outside, e *export) {
			e.change = func(s *airgap.Envelope) { s.Signatures = []dsse.Signature{{KeyID: s.Signatures[0].KeyID, Sig: "?"}} }
		}, airgap.ErrSignature, "changed after it was signed"},
		{"of another instance", func(o *outside, e *export) {
			*e = *other.export(nil)
		}, airgap.ErrRoot, "not the one that is known"},
		{"root not signed by the one before", func(o *outside, e *export) {
			root := other.export(nil).parts["tuf/1.root.json"]
			root = bytes.Replace(root, []byte(`"version":1}`), []byte(`"version":2}`), 1)
			e.parts["tuf/2.root.json"] = root
			e.manifest.Parts = slices.Insert(e.manifest.Parts, 1, part("tuf/2.root.json", root))
			e.signers = nil
		}, airgap.ErrRepository, "root version 2"},
		{"over", func(o *outside, e *export) { o.clock.Advance(90 * 24 * time.Hour) }, airgap.ErrExpired, "good until"},
		{"from the future", func(o *outside, e *export) {
			e.manifest.Made, e.manifest.GoodUntil = e.manifest.Made.Add(time.Hour), e.manifest.GoodUntil.Add(time.Hour)
		}, airgap.ErrClock, "clocks"},
		{"good for longer than its targets", func(o *outside, e *export) {
			o.clock.Advance(3600 * 24 * time.Hour)
			if err := o.repo.Refresh(o.t.Context()); err != nil {
				o.t.Fatal(err)
			}
			*e = *o.export(nil)
		}, airgap.ErrRepository, "expire"},
		{"good for more than a year", func(o *outside, e *export) {
			e.manifest.GoodUntil = e.manifest.Made.Add(367 * 24 * time.Hour)
		}, airgap.ErrForm, "good until"},
		{"timestamp that had expired", func(o *outside, e *export) {
			o.clock.Advance(20 * 24 * time.Hour)
			e.manifest.Made = o.clock.Now()
		}, airgap.ErrRepository, "timestamp"},
		{"snapshot of other targets", func(o *outside, e *export) {
			m := tuftest.Material(o.t, "https://sigstore.example.com", start)
			o.publish(m)
			e.replace("tuf/targets.json", o.export(nil).parts["tuf/targets.json"])
		}, airgap.ErrRepository, "targets"},
		{"a target with other bytes", func(o *outside, e *export) { e.replace("targets/rekor.pub", []byte("other")) }, airgap.ErrRepository, "rekor.pub"},
		{"a target that is missing", func(o *outside, e *export) { e.drop("targets/rekor.pub") }, airgap.ErrRepository, "targets"},
		{"versions that are not those of the files", func(o *outside, e *export) { e.manifest.Versions.Targets = 9 }, airgap.ErrRepository, "versions"},
		{"an address that would write on a terminal", func(o *outside, e *export) { e.manifest.Mirror = "https://a\x1b[2Jb" }, airgap.ErrForm, "mirror"},
		{"a log name that would write on a terminal", func(o *outside, e *export) { e.manifest.Logs[0].Name = "a\nb" }, airgap.ErrForm, "log 1"},
		{"no timestamp", func(o *outside, e *export) { e.drop("tuf/timestamp.json") }, airgap.ErrForm, "not whole"},
		{"no root", func(o *outside, e *export) { e.drop("tuf/1.root.json") }, airgap.ErrForm, "not whole"},
		{"roots with a gap", func(o *outside, e *export) { e.rename("tuf/1.root", "tuf/2.root.json") }, airgap.ErrForm, "gap"},
		{"checkpoint of another key", func(o *outside, e *export) {
			e.manifest.Logs[0].Checkpoint = o.note(stranger, o.leaves)
		}, airgap.ErrLog, "rekor-v1"},
		{"log that the trusted root does not name", func(o *outside, e *export) {
			l := logOf(o.t, stranger.Public(), o.note(stranger, o.leaves))
			l.Held, l.Range = e.manifest.Logs[0].Held, e.manifest.Logs[0].Range
			e.manifest.Logs[0] = l
			e.rename("entries/", "entries/"+l.ID)
		}, airgap.ErrLog, "no such key"},
		{"an entry that was changed", func(o *outside, e *export) {
			name := "entries/" + e.manifest.Logs[0].ID
			e.replace(name, bytes.Replace(e.parts[name], []byte("entry 3"), []byte("entry X"), 1))
		}, airgap.ErrLog, "not those of its checkpoint"},
		{"entries and a range that the log has not signed", func(o *outside, e *export) {
			forged := slices.Clone(o.leaves)
			forged[3] = []byte("entry X")
			e.manifest.Logs[0].Range, _ = tree(o.t, forged)
			e.replace("entries/"+e.manifest.Logs[0].ID, entriesOf(o.t, forged))
		}, airgap.ErrLog, "not those of its checkpoint"},
		{"a range that is not that of the entries", func(o *outside, e *export) {
			e.manifest.Logs[0].Range, _ = tree(o.t, append(slices.Clone(o.leaves[1:]), o.leaves[0]))
		}, airgap.ErrLog, "not those of its checkpoint"},
		{"an ID of another log", func(o *outside, e *export) {
			e.manifest.Logs[0].ID = strings.Repeat("0", 64)
			e.rename("entries/", "entries/"+e.manifest.Logs[0].ID)
		}, airgap.ErrForm, "log 1"},
		{"an entry that is missing", func(o *outside, e *export) {
			name := "entries/" + e.manifest.Logs[0].ID
			e.replace(name, e.parts[name][:len(e.parts[name])-11])
		}, airgap.ErrLog, "not those of its checkpoint"},
		{"an entry that is cut", func(o *outside, e *export) {
			name := "entries/" + e.manifest.Logs[0].ID
			e.replace(name, append(bytes.Clone(e.parts[name]), 0, 0))
		}, airgap.ErrLog, "not those of its checkpoint"},
		{"an entry of 4 GiB", func(o *outside, e *export) {
			e.replace("entries/"+e.manifest.Logs[0].ID, []byte("\xff\xff\xff\xff"))
		}, airgap.ErrTooLarge, "leaf"},
		{"entries that are said to be there", func(o *outside, e *export) { e.drop("entries/" + e.manifest.Logs[0].ID) }, airgap.ErrLog, "not what the file has"},
		{"entries of no log", func(o *outside, e *export) { e.manifest.Logs = nil }, airgap.ErrLog, "of no log"},
		{"more entries than are allowed", func(o *outside, e *export) {
			e.parts["bundles/z"] = make([]byte, 1<<20)
			e.manifest.Parts = append(e.manifest.Parts, part("bundles/z", e.parts["bundles/z"]))
		}, airgap.ErrTooLarge, "allowed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOutside(t)
			e := o.export(nil)
			tc.change(o, e)
			raw, err := o.build(e)
			if err == nil {
				_, err = o.read(raw)
			}
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want %v with %q", err, tc.want, tc.says)
			}
		})
	}
}

// TestRefusedArchives: the manifest is right and signed, and the archive is not what it says.
func TestRefusedArchives(t *testing.T) {
	all := func(h []*tar.Header) (order []int) {
		for i := range h {
			order = append(order, i)
		}
		return order
	}
	for _, tc := range []struct {
		name   string
		change func(h []*tar.Header, c [][]byte) []int
	}{
		{"a path that leaves the directory", func(h []*tar.Header, c [][]byte) []int { h[len(h)-1].Name = "../../app"; return all(h) }},
		{"a path from the root", func(h []*tar.Header, c [][]byte) []int { h[len(h)-1].Name = "/etc/app"; return all(h) }},
		{"a link", func(h []*tar.Header, c [][]byte) []int {
			h[len(h)-1].Typeflag, h[len(h)-1].Linkname = tar.TypeSymlink, "/etc/passwd"
			return all(h)
		}},
		{"a hard link", func(h []*tar.Header, c [][]byte) []int {
			h[len(h)-1].Typeflag, h[len(h)-1].Linkname = tar.TypeLink, "snapshot.key"
			return all(h)
		}},
		{"a directory", func(h []*tar.Header, c [][]byte) []int { h[len(h)-1].Typeflag = tar.TypeDir; return all(h) }},
		{"a file of a kind of its own", func(h []*tar.Header, c [][]byte) []int { h[len(h)-1].Typeflag = tar.TypeCont; return all(h) }},
		{"a device", func(h []*tar.Header, c [][]byte) []int { h[len(h)-1].Typeflag = tar.TypeChar; return all(h) }},
		{"an entry twice", func(h []*tar.Header, c [][]byte) []int { return append(all(h), len(h)-1) }},
		{"an entry that is missing", func(h []*tar.Header, c [][]byte) []int { return all(h)[:len(h)-1] }},
		{"entries in another order", func(h []*tar.Header, c [][]byte) []int { o := all(h); o[1], o[2] = o[2], o[1]; return o }},
		{"the manifest is not first", func(h []*tar.Header, c [][]byte) []int { o := all(h); o[0], o[1] = o[1], o[0]; return o }},
		{"an entry that is longer", func(h []*tar.Header, c [][]byte) []int { c[3] = append(c[3], ' '); return all(h) }},
		{"an entry with other bytes", func(h []*tar.Header, c [][]byte) []int { c[len(c)-1] = []byte("[]"); return all(h) }},
		{"metadata with other bytes", func(h []*tar.Header, c [][]byte) []int { c[2] = bytes.ToUpper(c[2]); return all(h) }},
		{"extended headers", func(h []*tar.Header, c [][]byte) []int {
			h[1].Format, h[1].PAXRecords = tar.FormatPAX, map[string]string{"SIGBOX.x": "y"}
			return all(h)
		}},
		{"a manifest that is no JSON", func(h []*tar.Header, c [][]byte) []int { c[0] = []byte("{"); return all(h) }},
		{"a manifest that is null", func(h []*tar.Header, c [][]byte) []int { c[0] = []byte("null\n"); return all(h) }},
		{"a manifest of 5 MiB", func(h []*tar.Header, c [][]byte) []int { c[0] = bytes.Repeat([]byte(" "), 5<<20); return all(h) }},
		{"a manifest with a member twice", func(h []*tar.Header, c [][]byte) []int {
			c[0] = bytes.Replace(c[0], []byte(`{"payloadType"`), []byte(`{"payload":"","payloadType"`), 1)
			return all(h)
		}},
		{"a manifest with a member that nobody knows", func(h []*tar.Header, c [][]byte) []int {
			c[0] = bytes.Replace(c[0], []byte(`{"payloadType"`), []byte(`{"x":1,"payloadType"`), 1)
			return all(h)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOutside(t)
			e := o.export(nil)
			e.entries = tc.change
			raw, err := o.build(e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := o.read(raw); !errors.Is(err, airgap.ErrForm) && !errors.Is(err, airgap.ErrTooLarge) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestRefusedNames: what is in the manifest becomes a file name, and so can be nothing else.
func TestRefusedNames(t *testing.T) {
	o := newOutside(t)
	for _, name := range []string{
		"bundles/../../app", "bundles/..", "bundles/.hidden", "bundles/a/b", `bundles/a\b`, "bundles/a\x00b", "bundles/", "bundles/é", "/bundles/a", "other/a", "",
		"bundles/" + strings.Repeat("a", 91), "entries/" + strings.Repeat("A", 64), "targets/a?b", "targets/a#b", "tuf/01.root.json", "tuf/0.root.json", "bundles/app.sigstore.json",
	} {
		e := o.export(nil)
		e.manifest.Parts = append(e.manifest.Parts, part(name, []byte("x")))
		if _, err := o.build(e); !errors.Is(err, airgap.ErrForm) {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

// TestTruncated cuts a file at every block, and in blocks, and puts something behind it.
func TestTruncated(t *testing.T) {
	o := newOutside(t)
	raw, err := o.build(o.export(nil))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(raw); n += 256 {
		if _, err := o.read(raw[:n]); !errors.Is(err, airgap.ErrForm) {
			t.Errorf("the first %d of %d bytes: %v", n, len(raw), err)
		}
	}
	for _, more := range [][]byte{{0}, make([]byte, 512), []byte("more")} {
		if _, err := o.read(append(bytes.Clone(raw), more...)); !errors.Is(err, airgap.ErrForm) {
			t.Errorf("%d bytes behind it: %v", len(more), err)
		}
	}
}

// TestFollows: one cause a row, of a file that is good by itself.
func TestFollows(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(o *outside, e *export)
		want   error
	}{
		{"as it is", func(*outside, *export) {}, nil},
		{"one is missing between", func(o *outside, e *export) { e.manifest.Number++ }, airgap.ErrGap},
		{"the same number", func(o *outside, e *export) { e.manifest.Number = 1; e.manifest.After = "" }, airgap.ErrOld},
		{"follows another", func(o *outside, e *export) { e.manifest.After = strings.Repeat("0", 64) }, airgap.ErrFork},
		{"made before", func(o *outside, e *export) { e.manifest.Made = start.Add(-time.Minute) }, airgap.ErrOld},
		{"log that is shorter", func(o *outside, e *export) {
			short := o.leaves[:3]
			l := &e.manifest.Logs[0]
			l.Checkpoint, l.From, l.Proof, l.First, l.FirstRange, l.Held = o.note(o.log, short), 0, nil, 0, nil, 3
			l.Range, _ = tree(o.t, short)
			e.replace("entries/"+l.ID, entriesOf(o.t, short))
		}, airgap.ErrOld},
		{"log with another history", func(o *outside, e *export) {
			forked := slices.Clone(o.leaves)
			forked[2] = []byte("another")
			l := &e.manifest.Logs[0]
			l.Checkpoint, l.Held, l.Range, l.Proof = o.note(o.log, forked), l.First, l.FirstRange, consistency(o.t, forked, int(l.From))
			e.drop("entries/" + l.ID)
		}, airgap.ErrFork},
		{"proof from another size", func(o *outside, e *export) {
			l := &e.manifest.Logs[0]
			l.From, l.Proof = 4, consistency(o.t, o.leaves, 4)
		}, airgap.ErrGap},
		{"no proof", func(o *outside, e *export) { e.manifest.Logs[0].Proof = nil }, airgap.ErrFork},
		{"entries with a gap", func(o *outside, e *export) {
			l := &e.manifest.Logs[0]
			l.First = 7
			l.FirstRange, _ = tree(o.t, o.leaves[:7])
			e.replace("entries/"+l.ID, entriesOf(o.t, o.leaves[7:]))
		}, airgap.ErrGap},
		{"log that is gone", func(o *outside, e *export) {
			e.drop("entries/" + e.manifest.Logs[0].ID)
			e.manifest.Logs = nil
		}, airgap.ErrGap},
		{"log under another origin", func(o *outside, e *export) {
			e.drop("entries/" + e.manifest.Logs[0].ID)
			e.manifest.Logs = []airgap.Log{logOf(o.t, o.log.Public(), o.otherOrigin(6))}
		}, airgap.ErrGap},
		{"one more log with the same key, as shards of Rekor v1 have", func(o *outside, e *export) {
			e.manifest.Logs = append(e.manifest.Logs, logOf(o.t, o.log.Public(), o.otherOrigin(6)))
			slices.SortFunc(e.manifest.Logs, func(a, b airgap.Log) int { return strings.Compare(a.ID, b.ID) })
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := newOutside(t)
			first := o.export(nil)
			if _, err := o.build(first); err != nil {
				t.Fatal(err)
			}
			o.grow(6)
			o.clock.Advance(time.Hour)
			e := o.export(first.envelope)
			tc.change(o, e)
			raw, err := o.build(e)
			if err != nil {
				t.Fatal(err)
			}
			f, err := o.read(raw)
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Follows(first.envelope); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err := f.Follows(nil); e.manifest.Number > 1 && !errors.Is(err, airgap.ErrGap) {
				t.Errorf("as the first: %v", err)
			}
		})
	}
}

func entriesOf(t *testing.T, leaves [][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, l := range leaves {
		if err := airgap.WriteLeaf(&out, l); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// TestSign: who is no holder cannot sign, and nobody twice.
func TestSign(t *testing.T) {
	o := newOutside(t)
	e := o.export(nil)
	e.signers = nil
	raw, err := o.build(e)
	if err != nil {
		t.Fatal(err)
	}
	f, err := airgap.Read(bytes.NewReader(raw), airgap.ReadOptions{Now: o.clock.Now(), Unsigned: true, Max: 1 << 20})
	if err != nil || f.Have != 0 || f.Want != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, row := range []struct {
		name string
		key  crypto.Signer
		want error
	}{
		{"a stranger", tuftest.Key(t), airgap.ErrUnknownKey}, {"the key of snapshot", o.cfg.Keys.Snapshot, airgap.ErrUnknownKey},
		{"a holder", o.cfg.Keys.Targets, nil}, {"again", o.cfg.Keys.Targets, airgap.ErrSigned},
	} {
		if err := f.Sign(row.key, f.Root()); !errors.Is(err, row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	var out bytes.Buffer
	if err := airgap.Resigned(&out, bytes.NewReader(raw), f.Envelope); err != nil {
		t.Fatal(err)
	}
	if f, err = o.read(out.Bytes()); err != nil || f.Have != 1 {
		t.Errorf("signed afterwards: %v", err)
	}
}

// TestNothingLargeInMemory: entries and bundles go to who keeps them in pieces, and are refused before they are read
// where they are more than is allowed.
func TestNothingLargeInMemory(t *testing.T) {
	o := newOutside(t)
	e := o.export(nil)
	e.add("bundles/large", make([]byte, 8<<20))
	raw, err := o.build(e)
	if err != nil {
		t.Fatal(err)
	}
	largest, kept := 0, map[string]int{}
	_, err = airgap.Read(bytes.NewReader(raw), airgap.ReadOptions{Now: o.clock.Now(), Max: 9 << 20, Save: func(p airgap.Part) (io.WriteCloser, error) {
		return pieces(func(b []byte) { largest = max(largest, len(b)); kept[p.Name] += len(b) }), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if largest > 64<<10 || kept["bundles/large"] != 8<<20 || len(kept) != 3 {
		t.Errorf("largest piece %d, kept %v", largest, kept)
	}
}

type pieces func([]byte)

func (p pieces) Write(b []byte) (int, error) { p(b); return len(b), nil }
func (pieces) Close() error                  { return nil }

// TestFollowsVersions: no file of the TUF repository goes back.
func TestFollowsVersions(t *testing.T) {
	o := newOutside(t)
	first := o.export(nil)
	for role, raise := range map[string]func(*tuf.Versions){
		tuf.Root: func(v *tuf.Versions) { v.Root++ }, tuf.Targets: func(v *tuf.Versions) { v.Targets++ },
		tuf.Snapshot: func(v *tuf.Versions) { v.Snapshot++ }, tuf.Timestamp: func(v *tuf.Versions) { v.Timestamp++ },
	} {
		was := first.manifest
		raise(&was.Versions)
		last, err := was.Seal()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := o.build(o.export(last))
		if err != nil {
			t.Fatal(err)
		}
		f, err := o.read(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Follows(last); !errors.Is(err, airgap.ErrOld) || !strings.Contains(err.Error(), "versions") {
			t.Errorf("%s: %v", role, err)
		}
	}
}
