package pkcs11

import (
	"reflect"
	"strings"
	"testing"
)

const end = "?module-path=/m.so"

func slot(n uint) *uint { return &n }

func TestParseURI(t *testing.T) {
	for _, row := range []struct {
		name, uri string
		want      URI
	}{
		{"usual", "pkcs11:token=sigbox;object=ca?module-path=/usr/lib/m.so&pin-source=file:/etc/sigbox/pin",
			URI{Token: "sigbox", Object: "ca", Module: "/usr/lib/m.so", PINSource: "/etc/sigbox/pin"}},
		{"scheme in capitals", "PKCS11:token=a;object=b" + end, URI{Token: "a", Object: "b", Module: "/m.so"}},
		{"percent", "pkcs11:token=a%20b%3b%C3%A4;object=%70" + end, URI{Token: "a b;ä", Object: "p", Module: "/m.so"}},
		{"plus is a plus", "pkcs11:token=a+b;object=b" + end, URI{Token: "a+b", Object: "b", Module: "/m.so"}},
		{"id of any bytes", "pkcs11:token=a;id=%00%FF7" + end, URI{Token: "a", ID: []byte{0, 0xff, '7'}, Module: "/m.so"}},
		{"slot", "pkcs11:slot-id=0;object=b" + end, URI{Slot: slot(0), Object: "b", Module: "/m.so"}},
		{"as p11tool prints it", "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=84ba;token=a;id=%01;object=b;type=private" + end,
			URI{Token: "a", Serial: "84ba", Manufacturer: "SoftHSM project", Model: "SoftHSM v2", Object: "b", ID: []byte{1}, Module: "/m.so"}},
		{"PIN file as a path", "pkcs11:token=a;object=b?pin-source=/pin&module-path=/m.so", URI{Token: "a", Object: "b", Module: "/m.so", PINSource: "/pin"}},
		{"PIN file with two slashes more", "pkcs11:token=a;object=b?pin-source=file:///pin&module-path=/m.so", URI{Token: "a", Object: "b", Module: "/m.so", PINSource: "/pin"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := ParseURI(row.uri)
			if err != nil || !reflect.DeepEqual(got, row.want) {
				t.Errorf("%+v (%v), want %+v", got, err, row.want)
			}
			again, err := ParseURI(got.String())
			if err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%s is %+v (%v)", got, again, err)
			}
		})
	}
}

// TestParseURIRefuses: each row has one fault and its own words. No error shows a value.
func TestParseURIRefuses(t *testing.T) {
	const ok = "pkcs11:token=a;object=b"
	for _, row := range []struct{ name, uri, want string }{
		{"another scheme", "pkcs12:token=a;object=b" + end, "begins with pkcs11:"},
		{"nothing", "", "begins with pkcs11:"},
		{"too long", ok + end + strings.Repeat("m", maxURI), "at most 4096 bytes"},
		{"no key", "pkcs11:token=a" + end, "names no key"},
		{"no token", "pkcs11:object=b" + end, "names no token"},
		{"no module", ok, "names no module"},
		{"PIN in it", ok + end + "&pin-value=1234secret", "pin-value puts the PIN where"},
		{"PIN in the path", ok + ";pin-value=1234secret" + end, "pin-value belongs after the ?"},
		{"PIN of a program", ok + end + "&pin-source=%7Ccat%20/1234secret", "pin-source is a program"},
		{"PIN file not absolute", ok + end + "&pin-source=file:1234secret", "pin-source want a file by its absolute path"},
		{"PIN file of another host", ok + end + "&pin-source=file://host/1234secret", "pin-source want a file by its absolute path"},
		{"PIN over the network", ok + end + "&pin-source=https://1234secret", "pin-source want a file by its absolute path"},
		{"module by name", ok + "?module-name=m", "module-name is searched for"},
		{"module not absolute", ok + "?module-path=m.so", "module-path want an absolute path"},
		{"module not in one form", ok + "?module-path=/a/../m.so", "module-path want an absolute path"},
		{"PIN file with four slashes", ok + end + "&pin-source=file:////1234secret", "pin-source want a file by its absolute path"},
		{"module with a line break", ok + "?module-path=/m%0A.so", "module-path want an absolute path"},
		{"attribute twice", ok + ";token=a" + end, "token twice"},
		{"attribute twice in the query", ok + end + "&module-path=/n.so", "module-path twice"},
		{"attribute unknown", ok + ";slot-description=x" + end, "slot-description is not an attribute"},
		{"attribute of a vendor", ok + ";x-vendor=x" + end, "x-vendor is not an attribute"},
		{"attribute unknown in the query", ok + end + "&max-sessions=1", "max-sessions is not an attribute"},
		{"attribute in capitals", "pkcs11:Token=a;object=b" + end, "Token is not an attribute"},
		{"attribute without a value", ok + ";id" + end, "not NAME=VALUE"},
		{"attribute without a name", ok + ";=1" + end, "not NAME=VALUE"},
		{"attribute empty", "pkcs11:token=;object=b" + end, "token is empty"},
		{"semicolon at the end", ok + ";" + end, "not NAME=VALUE"},
		{"public object", ok + ";type=public" + end, "type is for another object"},
		{"slot no number", "pkcs11:slot-id=x;object=b" + end, "slot-id is not a number"},
		{"slot negative", "pkcs11:slot-id=-1;object=b" + end, "slot-id is not a number"},
		{"slot of 33 bits", "pkcs11:slot-id=4294967296;object=b" + end, "slot-id is not a number"},
		{"slot with a zero before it", "pkcs11:slot-id=01;object=b" + end, "slot-id is not a number"},
		{"percent and nothing", ok + ";id=%" + end, "id ends within a %XX"},
		{"percent and one digit", "pkcs11:object=b;token=a%4" + end, "token ends within a %XX"},
		{"percent and no digits", ok + ";id=%zz" + end, "id has a % without two"},
		{"label with NUL", "pkcs11:token=a%00;object=b" + end, "token is not a text"},
		{"label not UTF-8", "pkcs11:token=a;object=%FF" + end, "object is not a text"},
		{"label too long", "pkcs11:object=b;token=" + strings.Repeat("a", 33) + end, "token is longer than 32"},
		{"id too long", ok + ";id=" + strings.Repeat("a", 1025) + end, "id is longer than 1024"},
		{"space", "pkcs11:token=a b;object=b" + end, "at byte 14"},
		{"line break at the end", ok + end + "\n", "must be written as %XX"},
		{"fragment", ok + end + "#1234secret", "must be written as %XX"},
		{"letter beyond ASCII", "pkcs11:token=ä;object=b" + end, "must be written as %XX"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := ParseURI(row.uri)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("error %v, want %q", err, row.want)
			}
			if strings.Contains(err.Error(), "1234secret") {
				t.Errorf("the error shows a value: %v", err)
			}
		})
	}
}

// FuzzParseURI: what is taken has one form, which is taken for the same.
func FuzzParseURI(f *testing.F) {
	f.Add("pkcs11:token=sigbox;object=ca;id=%00%FF;slot-id=3?module-path=/usr/lib/m.so&pin-source=file:/etc/sigbox/pin")
	f.Add("pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=84ba;token=a;id=%01;object=b;type=private?module-path=/m")
	f.Add("pkcs11:token=%C3%A4;object=+&;id==?pin-source=file:///p?q&module-path=//m;n")
	f.Add("pkcs11:;;?&&")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		again, err := ParseURI(u.String())
		if len(u.String()) > maxURI {
			return // escapes are longer than what they stand for
		}
		if err != nil || !reflect.DeepEqual(again, u) {
			t.Fatalf("%q is %q, which is %+v (%v), want %+v", s, u, again, err, u)
		}
	})
}

// TestParseToken: a URI of a token has all but the key.
func TestParseToken(t *testing.T) {
	for _, row := range []struct{ name, uri, want string }{
		{"token", "pkcs11:token=a" + end + "&pin-source=file:/pin", ""},
		{"with a label", "pkcs11:token=a;object=b" + end, "names a key"},
		{"with an id", "pkcs11:token=a;id=%00" + end, "names a key"},
		{"no token", "pkcs11:" + end, "names no token"},
		{"no module", "pkcs11:token=a", "names no module"},
		{"with a PIN", "pkcs11:token=a" + end + "&pin-value=1", "pin-value puts the PIN where"},
	} {
		t.Run(row.name, func(t *testing.T) {
			u, err := ParseToken(row.uri)
			if row.want == "" && (err != nil || u.Token != "a" || u.PINSource != "/pin") {
				t.Errorf("%+v (%v)", u, err)
			}
			if row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}
