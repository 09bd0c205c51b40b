package entry

import (
	"bytes"
	"encoding/base64"
)

// encodePEM is pem.EncodeToMemory for a block without headers, at a fifth of its cost.
func encodePEM(typ string, der []byte) []byte {
	const line = 64
	n := base64.StdEncoding.EncodedLen(len(der))
	b := make([]byte, 0, len("-----BEGIN -----\n-----END -----\n")+2*len(typ)+n+n/line+1)
	b = append(b, "-----BEGIN "...)
	b = append(b, typ...)
	b = append(b, "-----\n"...)
	for len(der) > 0 {
		part := der[:min(len(der), line/4*3)]
		b = base64.StdEncoding.AppendEncode(b, part)
		b = append(b, '\n')
		der = der[len(part):]
	}
	b = append(b, "-----END "...)
	b = append(b, typ...)
	return append(b, "-----\n"...)
}

// strict takes one text for each sequence of bytes, but for line breaks, which it skips.
var strict = base64.StdEncoding.Strict()

// plainPEM reads one block of a type that is in canonical form already, but for its final newline, as nearly all
// are. ok is false for all else, which is for package pem. canonical is a part of data where that has the newline.
//
// The form has one text for each DER: lines of 64 characters and a shorter one or none, each of which is decoded
// alone into the number of bytes that its length says, so that there is no line break in it.
func plainPEM(typ string, data []byte) (der, canonical []byte, ok bool) {
	const line = 64
	text, begins := bytes.CutPrefix(data, []byte("-----BEGIN "+typ+"-----\n"))
	canonical = data[:len(data):len(data)]
	if rest, ends := bytes.CutSuffix(text, []byte("\n")); ends {
		text = rest
	} else {
		canonical = append(canonical, '\n')
	}
	text, ends := bytes.CutSuffix(text, []byte("\n-----END "+typ+"-----"))
	if !begins || !ends || len(text) == 0 {
		return nil, nil, false
	}
	der = make([]byte, 0, base64.StdEncoding.DecodedLen(len(text)))
	for more := true; more; {
		part := text[:min(len(text), line)]
		text = text[len(part):]
		want := base64.StdEncoding.DecodedLen(len(part))
		if more = len(text) > 0; more {
			if text[0] != '\n' || len(text) == 1 {
				return nil, nil, false
			}
			text = text[1:]
		} else {
			want -= len(part) - len(bytes.TrimRight(part, "="))
		}
		before := len(der)
		var err error
		if der, err = strict.AppendDecode(der, part); err != nil || len(der) != before+want || len(part)%4 != 0 {
			return nil, nil, false
		}
	}
	return der, canonical, true
}
