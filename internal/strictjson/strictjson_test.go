package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/strictjson"
)

// asEncodingJSON is what encoding/json makes of a value.
func asEncodingJSON(data []byte) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err = dec.Decode(&v); err == nil && dec.More() {
		err = errors.New("more")
	}
	return v, err
}

// samples of every part of the grammar, and what is almost one. That package httpx refuses what it should, it tests.
var samples = []string{
	`null`, `true`, ` false `, `0`, `-0`, `-1.5e+10`, `1E-9`, `1e999999`, `[]`, `{}`, `[ ]`, `{ }`, `""`, `"x"`, `[1,"a",null,{"b":[true]}]`,
	`{"a":{"b":{"c":"d"}},"e":""}`, `"\"\\\/\b\f\n\r\t"`, `"a\u00e9b\u2028c"`, `"\ud83d\ude00"`, `"\uD83D\uDE00 é 😀"`, `"\ufffd"`, `{"\u0061b":"\u0041"}`,
	`"\n` + strings.Repeat(`abc\"`, 100) + `"`, `"` + strings.Repeat("x", 5000) + `"`, "\t[\r\n1 ,\n2 ]", `{"a" : 1 , "b":2}`,
	`"\ud800"`, `"\ud800x"`, `"\ud800\u0041"`, `"\udc00\ud800"`, `"\ud800\ud800\udc00"`, `"\ud800\`, `"\ud800\u"`, `"\ud800\uzzzz"`,
	``, `-`, `+1`, `01`, `1.`, `.5`, `1e`, `1e+`, `0x1`, `--1`, `tru`, `nulll`, `truex`, `[1,]`, `[,1]`, `[1 2]`, `[1`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`,
	`{1:2}`, `{"a" 1}`, `{"a":1 "b":2}`, `"`, `"\`, `"\"`, `"\x"`, `"\u12"`, `"\u123g"`, "\"\n\"", "\"\x1f\"", "\"a\\n\x01\"", "\"\x7f\"", `1 2`, `{}x`, "\x00", "[\x00]", `'a'`,
	`{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"k":1,"\u212a":2}`, strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65),
}

// TestParse: values are those of encoding/json, and what it refuses is refused.
func TestParse(t *testing.T) {
	for _, s := range samples {
		same(t, []byte(s))
	}
}

func same(t *testing.T, data []byte) {
	t.Helper()
	want, wantErr := asEncodingJSON(data)
	got, err := strictjson.Parse(data)
	if checked := strictjson.Check(data); !errors.Is(err, checked) {
		t.Errorf("%.60q: parsed with %v, checked with %v", data, err, checked)
	}
	loose, looseErr := strictjson.ParseLoose(data)
	if err == nil && (looseErr != nil || !reflect.DeepEqual(got, loose)) {
		t.Errorf("%.60q: loosely %v, %v", data, loose, looseErr)
	}
	stricter := errors.Is(looseErr, strictjson.ErrDuplicate) || errors.Is(looseErr, strictjson.ErrDeep) || errors.Is(looseErr, strictjson.ErrUTF8)
	switch {
	case looseErr == nil && (wantErr != nil || !reflect.DeepEqual(loose, want)):
		t.Errorf("%.60q: %v, encoding/json has %v, %v", data, loose, want, wantErr)
	case looseErr != nil && wantErr == nil && !stricter && !errors.Is(looseErr, strictjson.ErrTrailing):
		t.Errorf("%.60q: refused with %v, encoding/json has %v", data, looseErr, want)
	case errors.Is(err, strictjson.ErrUTF8) && looseErr == nil && !bytes.Contains(data, []byte(`\u`)):
		t.Errorf("%.60q: half a surrogate pair, where there is no escape", data)
	}
}

func TestMember(t *testing.T) {
	v, err := strictjson.Parse([]byte(`{"Spec":1,"KIND":2,"ſ":3}`))
	if err != nil {
		t.Fatal(err)
	}
	o := v.(map[string]any)
	for name, want := range map[string]any{"spec": json.Number("1"), "kind": json.Number("2"), "s": json.Number("3"), "Spec": json.Number("1"), "speck": nil} {
		if got := strictjson.Member(o, name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestParseSome(t *testing.T) {
	const in = `{"Subject":[{"a":1}],"predicate":{"x":{"materials":2},"materials":[3,{"y":null}],"z":"\n"},"more":{"subject":4}}`
	v, err := strictjson.ParseSome([]byte(in), strictjson.Pick{{Name: "subject"}, {Name: "predicate", Pick: strictjson.Pick{{Name: "materials"}}}})
	got, jsonErr := json.Marshal(v)
	if want := `[{"Name":"Subject","Value":[{"a":1}]},{"Name":"predicate","Value":[{"Name":"materials","Value":[3,{"y":null}]}]}]`; string(got) != want || errors.Join(err, jsonErr) != nil {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	for name, want := range map[string]string{"subject": "[map[a:1]]", "SUBJECT": "[map[a:1]]", "\u017fubject": "[map[a:1]]", "more": "<nil>", "": "<nil>"} {
		if got := fmt.Sprint(v.(strictjson.Some).Member(name)); got != want {
			t.Errorf("member %q: %s, want %s", name, got, want)
		}
	}
	all, err := strictjson.ParseSome([]byte(`{"a":"b","c":{"d":1},"e":null}`), strictjson.Pick{})
	if want := (strictjson.Some{{"a", "b"}, {"c", map[string]any{"d": json.Number("1")}}, {"e", nil}}); err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("all members: %v, %v, want %v", all, err, want)
	}
	for in, want := range map[string]error{
		`{"more":{"a":1,"A":2}}`: strictjson.ErrDuplicate, `{"more":[1,]}`: strictjson.ErrSyntax, `{"more":"\x"}`: strictjson.ErrSyntax, `{"more":1} x`: strictjson.ErrTrailing,
		`{"more":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`: strictjson.ErrDeep, `{"subject":1,"more":1,"SUBJECT":2}`: strictjson.ErrDuplicate,
	} {
		if v, err := strictjson.ParseSome([]byte(in), strictjson.Pick{{Name: "subject"}}); !errors.Is(err, want) {
			t.Errorf("%.40s: %v, %v, want %v", in, v, err, want)
		}
	}
}

// TestMany: what is made is bounded, and so are the names of the objects around a value; what is only checked is not.
func TestMany(t *testing.T) {
	const most = 1 << 17
	values := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("0,", n), ",") + "]" }
	named := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%d":[],`, i)
		}
		return "{" + strings.TrimSuffix(b.String(), ",") + "}"
	}
	for name, tc := range map[string]struct {
		in         string
		want, some error // of Parse and Check, and of ParseSome, which wants none of it
	}{
		"values":                       {`{"more":` + values(most-2) + `}`, nil, nil},
		"one value more":               {`{"more":` + values(most-1) + `}`, strictjson.ErrMany, nil},
		"names":                        {`{"more":` + named(most-2) + `}`, nil, nil},
		"a name more":                  {`{"more":` + named(most) + `}`, strictjson.ErrMany, strictjson.ErrMany},
		"names, one object at a time":  {`{"more":[` + strings.TrimSuffix(strings.Repeat(named(10_000)+",", 20), ",") + `]}`, strictjson.ErrMany, nil},
		"17 names, the first again":    {`{"more":` + strings.TrimSuffix(named(17), "}") + `,"0":1}}`, strictjson.ErrDuplicate, strictjson.ErrDuplicate},
		"17 names, one in two cases":   {`{"more":` + strings.TrimSuffix(named(17), "}") + `,"spec":1,"\u017fPEC":1}}`, strictjson.ErrDuplicate, strictjson.ErrDuplicate},
		"17 names, K and the kelvin":   {`{"more":` + strings.TrimSuffix(named(17), "}") + `,"K":1,"\u212a":1}}`, strictjson.ErrDuplicate, strictjson.ErrDuplicate},
		"the 17th open name again":     {`{"0":{` + strings.TrimPrefix(strings.TrimSuffix(named(15), "}"), "{") + `,"more":{"x":1,"y":2},"X":1,"x":1}}`, strictjson.ErrDuplicate, strictjson.ErrDuplicate},
		"an inner 17th name outside":   {`{"0":{` + strings.TrimPrefix(strings.TrimSuffix(named(15), "}"), "{") + `,"more":{"x":1,"y":2},"x":1,"y":1}}`, nil, nil},
		"the 16th open name again":     {`{"0":{` + strings.TrimPrefix(strings.TrimSuffix(named(14), "}"), "{") + `,"x":{"y":{"z":1}},"X":1}}`, strictjson.ErrDuplicate, strictjson.ErrDuplicate},
		"behind an inner 18th name":    {strings.TrimSuffix(named(14), "}") + `,"more":{"a":1,"b":{"p":1,"q":1},"X":1,"x":1}}`, strictjson.ErrDuplicate, strictjson.ErrDuplicate},
		"a name of the object around":  {`{"more":{"more":1,"x":{"more":1}},"x":{}}`, nil, nil},
		"a name after an inner object": {`{"x":1,"more":{"y":1},"X":1}`, strictjson.ErrDuplicate, strictjson.ErrDuplicate},
	} {
		_, err := strictjson.Parse([]byte(tc.in))
		_, some := strictjson.ParseSome([]byte(tc.in), strictjson.Pick{{Name: "subject"}})
		if checked := strictjson.Check([]byte(tc.in)); !errors.Is(err, tc.want) || !errors.Is(checked, tc.want) || !errors.Is(some, tc.some) {
			t.Errorf("%s: parsed with %v, checked with %v, in part with %v; want %v and %v", name, err, checked, some, tc.want, tc.some)
		}
	}
}

// TestTake: strings stay what they are while others are read, whatever has become of the places between them.
func TestTake(t *testing.T) {
	in := `{"a\n\"":"\ud83d\ude00 x \\","b":["\u00e9","plain","\/\t"],"\u0063":{"d":-1.5e+10,"e":"` + strings.Repeat(`\"q\u2028`, 1000) + `"},"f":"g"}`
	var want any
	want, err := asEncodingJSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	got, err := strictjson.Take([]byte(in))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v\nwant %v", got, err, want)
	}
	data := []byte(in)
	if _, err := strictjson.Parse(data); err != nil || string(data) != in {
		t.Errorf("Parse has changed what it read: %s, %v", data, err)
	}
	if v, err := strictjson.ParseLoose(data); err != nil || string(data) != in || !reflect.DeepEqual(v, want) {
		t.Errorf("ParseLoose has changed what it read, or %v is not %v: %v", v, want, err)
	}
}

// TestPlaces: what ends a string, or stands for something else in it, is found at every place of a long one.
func TestPlaces(t *testing.T) {
	for n := range 100 {
		before := strings.Repeat("a", n)
		for _, in := range []string{`"` + before + `"`, `"` + before + `\n\"` + before + `"`, `"` + before + "\x1f" + before + `"`, `["` + before + `","\t` + before + `é"]`, `"` + before} {
			same(t, []byte(in))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { same(t, data) })
}
