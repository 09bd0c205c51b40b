package tokenwire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/tokenwire"
)

// TestRoundTrip: what is written is read, one frame after the other.
func TestRoundTrip(t *testing.T) {
	var pipe bytes.Buffer
	slot := uint(7)
	sent := []tokenwire.Request{
		{ID: 1, Op: tokenwire.Open, Module: "/m.so", Token: &tokenwire.Token{Label: "a", Slot: &slot}},
		{ID: 2, Op: tokenwire.Sign, Key: &tokenwire.Key{ID: []byte{0}}, Input: bytes.Repeat([]byte{0xff}, 32<<10)},
	}
	for _, r := range sent {
		if err := tokenwire.Write(&pipe, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range sent {
		var got tokenwire.Request
		if err := tokenwire.Read(&pipe, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read %+v (%v), want %+v", got, err, want)
		}
	}
	if err := tokenwire.Read(&pipe, new(tokenwire.Request)); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// TestBounds: a frame that is too long, cut off or no JSON is an error, before memory is spent on it.
func TestBounds(t *testing.T) {
	frame := func(length uint32, text string) io.Reader {
		return strings.NewReader(string(binary.BigEndian.AppendUint32(nil, length)) + text)
	}
	for _, row := range []struct {
		name string
		from io.Reader
		want string
	}{
		{"one byte too long", frame(tokenwire.MaxFrame+1, strings.Repeat(" ", tokenwire.MaxFrame+1)), "is announced"},
		{"4 GiB", frame(1<<32-1, ""), "is announced"},
		{"cut off in its length", strings.NewReader("\x00\x00"), "unexpected EOF"},
		{"cut off in its text", frame(10, `{"id":`), "cut off"},
		{"what a module prints", frame(5, "hello"), "not understood"},
		{"another type", frame(9, `{"id":"1"`), "not understood"},
		{"nothing in it", frame(0, ""), "not understood"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := tokenwire.Read(row.from, new(tokenwire.Response)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
	var out bytes.Buffer
	if err := tokenwire.Write(&out, tokenwire.Request{Input: make([]byte, tokenwire.MaxFrame)}); err == nil || out.Len() != 0 {
		t.Errorf("a frame too long was written: %v, %d bytes", err, out.Len())
	}
	whole := `{"id":7}` + strings.Repeat(" ", tokenwire.MaxFrame-8)
	var r tokenwire.Response
	if err := tokenwire.Read(frame(tokenwire.MaxFrame, whole), &r); err != nil || r.ID != 7 {
		t.Errorf("the longest frame: %v", err)
	}
}
